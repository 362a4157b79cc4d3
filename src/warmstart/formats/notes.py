"""What a checkpoint of ours says about its tensors: roles, aliases of tied ones, metadata.

One JSON object, kept where the format has a place for it (a string tensor `_RUN/state` in a bundle,
a member of a zip, the metadata of a safetensors header):

    {"warmstart": 1,
     "roles": {"trainable": ["fc.weight", ...], "slot": [...]},
     "aliases": {"decoder.weight": "encoder.weight"},
     "derived": ["layers/0/vars/0", ...],                     aliases that are no ties
     "metadata": {"run": "..."},
     "dtypes": {"bfloat16": ["fc.weight", ...]}}

Empty parts are left out, and a source that says nothing leaves no note at all.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..errors import CorruptCheckpoint
from ..source import Source

VERSION = 1

#: Names beyond which they stay in lists until more than FEW have been asked for.
VERY_MANY, FEW = 50_000, 4

HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")  # JSON can write one alone, which is no text


@dataclass(frozen=True, slots=True)
class Notes:
    """The note of one checkpoint; `roles` is by name.

    `dtypes`, by name too, is for a format that has only raw bytes for some of them.
    """

    roles: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    dtypes: Mapping[str, str] = field(default_factory=dict)
    derived: Set[str] = frozenset()  # those of the aliases that are no tied tensor's


def notes_of(source: Source) -> Notes:
    """Return what *source* says about its tensors."""
    roles = {name: spec.role for name, spec in source.specs.items() if spec.role is not None}
    aliases, derived = dict(source.aliases), frozenset(source.derived)
    return Notes(roles, aliases, dict(source.metadata), derived=derived & aliases.keys())


def encode(notes: Notes, *, always: bool = False) -> str | None:
    """Return *notes* as JSON, one text for the same notes; None when there is nothing to say.

    With *always* an empty note is written too: it says that this library wrote the file.
    """
    parts = {
        "roles": grouped(notes.roles),
        "aliases": dict(notes.aliases),
        "metadata": dict(notes.metadata),
        "dtypes": grouped(notes.dtypes),
        "derived": sorted(notes.derived),
    }
    said = {key: part for key, part in parts.items() if part}
    if not said and not always:
        return None
    return json.dumps({"warmstart": VERSION, **said}, sort_keys=True, ensure_ascii=False)


def grouped(by_name: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the names of each value, sorted.

    >>> grouped({"b": "slot", "a": "slot"})
    {'slot': ['a', 'b']}
    """
    groups: dict[str, list[str]] = {}
    for name in sorted(by_name):
        groups.setdefault(by_name[name], []).append(name)
    return groups


def decode(text: str | bytes) -> Notes:
    """Return the notes in *text*; whatever is not as `encode` writes it is refused."""
    try:
        value = parse_json(text if isinstance(text, str) else str(text, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise CorruptCheckpoint("the note on roles and run state is not JSON") from error
    if not isinstance(value, dict) or value.get("warmstart") != VERSION:
        raise CorruptCheckpoint(
            f"the note on roles and run state is not of version {VERSION}: {str(text)[:60]!r}"
        )
    aliases = texts(value.get("aliases", {}), "aliases")
    derived = value.get("derived", [])
    if not is_strings(derived):
        raise CorruptCheckpoint("the derived names in the note are no list of names")
    return Notes(
        roles=ungrouped(value.get("roles", {}), "roles"),
        aliases=aliases,
        metadata=texts(value.get("metadata", {}), "metadata"),
        dtypes=ungrouped(value.get("dtypes", {}), "dtypes"),
        derived=frozenset(derived) & aliases.keys(),
    )


def parse_json(text: str, pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """Return the value in *text*; half a surrogate pair, which no file holds, is a ValueError."""
    value = json.loads(text, object_pairs_hook=pairs_hook)
    if HALF_PAIR.search(text):
        json.dumps(value, ensure_ascii=False).encode()
    return value


def parse_object(raw: bytes | memoryview, what: str) -> dict[str, object]:
    """Return the JSON object in *raw*; a key that stands there twice is refused."""

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            counts = Counter(key for key, _ in pairs)
            twice = sorted(key for key, count in counts.items() if count > 1)
            raise CorruptCheckpoint(
                f"{what} has keys more than once: {', '.join(map(repr, twice))}"
            )
        return found

    try:
        text = str(raw, "utf-8")
        value = parse_json(text, unique)
    except (ValueError, RecursionError) as error:
        raise CorruptCheckpoint(f"{what} is not JSON in UTF-8") from error
    if not isinstance(value, dict) or not text.startswith("{"):
        raise CorruptCheckpoint(f"{what} is not a JSON object from its first byte on")
    return value


def ungrouped(groups: object, what: str) -> Mapping[str, str]:
    """Return value by name, for what `grouped` made."""
    if not isinstance(groups, dict) or not all(is_strings(names) for names in groups.values()):
        raise CorruptCheckpoint(f"the {what} in the note are not lists of names")
    values = ByLists(groups)
    return values if sum(map(len, groups.values())) > VERY_MANY else values.whole


class ByLists(Mapping[str, str]):
    """Values by name, where each has a list of very many names.

    The first few names are looked for in the lists: a dict of a million takes longer to make than
    all else that it takes to read one tensor.
    """

    def __init__(self, groups: dict[str, list[str]]) -> None:
        self._groups = groups
        self._asked = 0

    def __getitem__(self, name: str) -> str:
        self._asked += 1
        if self._asked > FEW:
            return self.whole[name]
        for value in reversed(self._groups):
            if name in self._groups[value]:
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.whole)

    def __len__(self) -> int:
        return len(self.whole)

    @cached_property
    def whole(self) -> dict[str, str]:
        """All of it; a name in several lists has the last one's value."""
        return {name: value for value, names in self._groups.items() for name in names}


def texts(value: object, what: str) -> dict[str, str]:
    """Return *value* if it maps text to text."""
    if not isinstance(value, dict) or not is_strings(list(value.values())):
        raise CorruptCheckpoint(f"the {what} in the note do not map text to text")
    return value


def checked(notes: Notes, names: Container[str]) -> Notes:
    """Return *notes* if their aliases fit a file of tensors called *names*.

    A role for a name that is not there says nothing, and is left alone: tools that drop tensors
    from a file keep its metadata.
    """
    wrong = {a: n for a, n in notes.aliases.items() if a in names or n not in names}
    if wrong:
        listed = ", ".join(f"{alias!r} for {name!r}" for alias, name in wrong.items())
        raise CorruptCheckpoint(f"the note has aliases that the tensors contradict: {listed}")
    return notes


def is_strings(value: object) -> bool:
    """Return whether *value* is a list of nothing but text."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
