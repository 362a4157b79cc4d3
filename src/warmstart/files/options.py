"""The options of reading, where one call reads or writes several checkpoints of different kinds.

An option goes to every side whose format takes it; that no side takes it is an error.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypedDict

from ..errors import UnsupportedCheckpoint
from ..formats import OPTIONS, format_named, locate, option_words, refuse_unknown


class Reading(TypedDict, total=False):
    """The options of `open` beside *verify*, which every function that reads a path takes."""

    mmap: bool
    untrusted: bool
    like: str | Path | None
    dequantize: bool


#: Options that can be asked of every checkpoint on disk.
FOR_ALL = frozenset({"mmap", "untrusted"})


def divided(
    options: Mapping[str, Any], *sides: tuple[str, Collection[str]]
) -> list[dict[str, Any]]:
    """Return which of *options* each of *sides* is given; a side is its name and what it takes."""
    refuse_unknown(options.keys() - FOR_ALL)
    asked = {name for name in options.keys() & OPTIONS if options[name] != OPTIONS[name][0]}
    idle = asked.difference(*(taken for _, taken in sides))
    if idle:
        names = list(dict.fromkeys(name for name, _ in sides))
        take = "takes" if len(names) == 1 else "take"
        raise UnsupportedCheckpoint(f"{' and '.join(names)} {take} no option {option_words(idle)}")
    return [{name: options[name] for name in options.keys() & taken} for _, taken in sides]


def reader(tensors: Any) -> tuple[str, Collection[str]]:
    """Return the format of *tensors* and the options it takes when it is opened."""
    if not isinstance(tensors, str | Path):
        return type(tensors).__name__, FOR_ALL  # is open, or no file: they mean nothing for it
    name = locate(tensors)[0]
    return name, FOR_ALL | getattr(format_named(name), "OPTIONS", frozenset())


def writer(format: str) -> tuple[str, Collection[str]]:
    """Return *format* and the options that saving in it takes."""
    return format, getattr(format_named(format), "SAVE_OPTIONS", frozenset())
