"""Rule files: rules in TOML, kept beside a model or shared.

    description = "Our encoder, as the checkpoint of 2021 has it"
    include = ["heads.toml"]                    first the rules of these
    rules = [
      "drop optimizer/*",
      { "w_old" = "w", "emb" = ["a", "b"], "x" = [] },      names; [] drops
      "scope bert/encoder/layer_* -> encoder.layer.*",
      "vocab emb: old.txt -> new.txt",                      files beside this one
    ]

A file is named by its path, those that come with the library by their bare name.  Paths in a file
are relative to it.
"""

import json
import os
import tomllib
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import RuleError, number_of
from .encodings import utf8
from .slips import nearest

#: A line of a rule file: a rule, or a mapping of names.
Line = str | Mapping[str, Any]

#: Where the rule files are that come with the library.
READY = Path(__file__).parent / "ready"

#: What may stand in a file -> what it must be, in words.
KEYS = {
    "description": (str, "a string"),
    "include": (list, "a list of rule files"),
    "rules": (list, "a list of rules"),
}


def ready_names() -> list[str]:
    """Return the names of the rule files that come with the library."""
    return sorted(path.stem for path in READY.glob("*.toml"))


def is_file(text: str, verbs: Container[str]) -> bool:
    """Return whether *text* is the path or the name of a rule file, and not a rule."""
    return text in ready_names() or (
        text.endswith(".toml") and text.strip().partition(" ")[0] not in verbs
    )


def path_of(name: str | os.PathLike[str], beside: Path | None = None) -> Path:
    """Return the path of a rule file; one that is included may lie *beside* that which does.

    Raise RuleError, with the names of those that come with the library, if there is none.
    """
    if isinstance(name, str) and name in ready_names():
        return READY / f"{name}.toml"
    path = (beside or Path()) / Path(name).expanduser()
    if not path.is_file():
        ready = ", ".join(ready_names()) or "none"
        raise RuleError(
            f"there is no rule file {path}{nearest(os.fspath(name), ready_names())}; "
            f"those that come with the library: {ready}"
        )
    return path


@dataclass(frozen=True, slots=True)
class Place:
    """Where a line stands: paths in it are relative to the folder."""

    file: Path
    rank: int  # of the rule in it, from 1

    def __str__(self) -> str:
        return f"{self.file}, rule {self.rank}"


def lines_in(name: str | os.PathLike[str]) -> list[tuple[Place, Line]]:
    """Return the lines of a rule file and of those it includes, each with its place."""
    return list(read(path_of(name), ()))


def read(path: Path, above: tuple[Path, ...]) -> Iterator[tuple[Place, Line]]:
    """Yield the lines of the file at *path*, which those *above* include.  Raise RuleError."""
    path = path.resolve()
    if path in above:
        raise RuleError(f"{path} includes itself, by way of {number_of(len(above), 'file')}")
    contents = checked(parsed(path), path)
    for name in contents.get("include", ()):
        yield from read(path_of(name, path.parent), (*above, path))
    for rank, line in enumerate(contents.get("rules", ()), 1):
        yield Place(path, rank), line


def parsed(path: Path) -> dict[str, Any]:
    """Return what is in the TOML file at *path*."""
    try:
        return tomllib.loads(utf8(path.read_bytes(), f"the rule file {path}").decode())
    except (OSError, UnicodeDecodeError) as error:
        raise RuleError(f"the rule file {path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise RuleError(f"the rule file {path} is not TOML: {error}") from error


def checked(contents: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return *contents*, refusing keys and items that mean nothing here, all at once."""
    faults = [
        f"{key!r} means nothing here; known: {', '.join(KEYS)}"
        for key in contents
        if key not in KEYS
    ]
    faults += [
        f"{key} is {words}" for key, (kind, words) in KEYS.items()
        if not isinstance(contents.get(key, kind()), kind)
    ]  # fmt: skip
    if not faults:
        faults += [
            f"include {rank} is a string, not {item!r}"
            for rank, item in enumerate(contents.get("include", ()), 1)
            if not isinstance(item, str)
        ]
        faults += [
            f"rule {rank} is a string or a table of names, not {item!r}"
            for rank, item in enumerate(contents.get("rules", ()), 1)
            if not isinstance(item, str | dict)
        ]
    if faults:
        raise RuleError("\n".join([f"the rule file {path}:", *(f"  {f}" for f in faults)]))
    return contents


def written(lines: Iterable[Line], description: str = "") -> str:
    """Return the text of a rule file with *lines*."""
    head = [f"description = {quoted(description)}"] if description else []
    body = [f"  {as_toml(line)}," for line in lines]
    return "\n".join([*head, "rules = [", *body, "]", ""])


def as_toml(line: Line) -> str:
    """Return a rule as a rule file has it."""
    return quoted(line) if isinstance(line, str) else table(line)


def table(names: Mapping[str, Any]) -> str:
    """Return a mapping of names as an inline table."""
    items = []
    for old, new in names.items():
        several = isinstance(new, list | tuple) or new is None
        text = f"[{', '.join(map(quoted, new or ()))}]" if several else quoted(new)
        items.append(f"{quoted(old)} = {text}")
    return f"{{ {', '.join(items)} }}"


def quoted(text: str) -> str:
    """Return *text* as a string of TOML.

    >>> print(quoted('rename re:a\\\\d -> "b"'))
    "rename re:a\\\\d -> \\"b\\""
    """
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")
