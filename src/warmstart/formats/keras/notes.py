"""What this library notes in a Keras file: two attributes of its root, which Keras ignores.

"warmstart"        formats.notes: roles, aliases, metadata
"warmstart_names"  {path of a dataset: its name}, where they differ
"""

import json
from collections.abc import Mapping
from typing import Any

from ...errors import CorruptCheckpoint
from ...source import Source
from ..hdf5.opened import Hdf5File
from ..notes import Notes, decode, encode, notes_of, parse_json, texts

NOTE, NAMES = "warmstart", "warmstart_names"


def noted(file: Hdf5File) -> tuple[Notes, dict[str, str]] | None:
    """Return the note in *file* and the names it gives; None for a file that is not ours."""
    note, names = file.attribute("", NOTE), file.attribute("", NAMES)
    if note is None:
        return None
    return decode(text_of(note)), texts(parsed(names or "{}", "the note of names"), "names")


def attributes_of(source: Source, names: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes that note of *source* what a file has no place for, *names* by path."""
    note = encode(notes_of(source), always=True) or ""
    return {NOTE: note, NAMES: json.dumps(dict(names), sort_keys=True, ensure_ascii=False)}


def parsed(text: object, what: str) -> Any:
    """Return the JSON value in an attribute or a member called *what*."""
    try:
        return parse_json(text_of(text))
    except (ValueError, RecursionError) as error:
        raise CorruptCheckpoint(f"{what} is not JSON") from error


def text_of(value: object) -> str:
    """Return an attribute's text, which is bytes in files of Keras 2."""
    if isinstance(value, bytes | bytearray | memoryview):
        try:
            return str(value, "utf-8")
        except UnicodeDecodeError as error:
            raise CorruptCheckpoint("a text in the file is not UTF-8") from error
    if not isinstance(value, str):
        raise CorruptCheckpoint(f"a text in the file is {type(value).__name__}, not text")
    return value
