"""What a checkpoint of ours says about its tensors: roles, aliases of tied ones, metadata.

One JSON object, kept where the format has a place for it (a string tensor `_RUN/state` in a bundle,
a member of a zip, the metadata of a safetensors header):

    {"warmstart": 1,
     "roles": {"trainable": ["fc.weight", ...], "slot": [...]},
     "aliases": {"decoder.weight": "encoder.weight"},
     "metadata": {"run": "..."}}

Empty parts are left out, and a source that says nothing leaves no note at all.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import CorruptCheckpoint
from ..source import Source

VERSION = 1


@dataclass(frozen=True, slots=True)
class Notes:
    """The note of one checkpoint; `roles` is by name."""

    roles: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)


def notes_of(source: Source) -> Notes:
    """Return what *source* says about its tensors."""
    roles = {name: spec.role for name, spec in source.specs.items() if spec.role is not None}
    return Notes(roles, dict(source.aliases), dict(source.metadata))


def encode(notes: Notes) -> str | None:
    """Return *notes* as JSON, one text for the same notes; None when there is nothing to say."""
    by_role: dict[str, list[str]] = {}
    for name in sorted(notes.roles):
        by_role.setdefault(notes.roles[name], []).append(name)
    parts = {"roles": by_role, "aliases": dict(notes.aliases), "metadata": dict(notes.metadata)}
    said = {key: part for key, part in parts.items() if part}
    if not said:
        return None
    return json.dumps({"warmstart": VERSION, **said}, sort_keys=True, ensure_ascii=False)


def decode(text: str | bytes) -> Notes:
    """Return the notes in *text*; whatever is not as `encode` writes it is refused."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptCheckpoint("the note on roles and run state is not JSON") from error
    if not isinstance(value, dict) or value.get("warmstart") != VERSION:
        raise CorruptCheckpoint(
            f"the note on roles and run state is not of version {VERSION}: {str(text)[:60]!r}"
        )
    by_role = value.get("roles", {})
    if not isinstance(by_role, dict) or not all(is_strings(names) for names in by_role.values()):
        raise CorruptCheckpoint("the roles are not lists of names")
    aliases, metadata = value.get("aliases", {}), value.get("metadata", {})
    for part in (aliases, metadata):
        if not isinstance(part, dict) or not is_strings(list(part.values())):
            raise CorruptCheckpoint("the aliases or the metadata do not map text to text")
    roles = {name: role for role, names in by_role.items() for name in names}
    return Notes(roles, aliases, metadata)


def is_strings(value: object) -> bool:
    """Return whether *value* is a list of nothing but text."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
