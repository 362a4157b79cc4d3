"""The metadata of a file as text, each made when it is looked at."""

import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from .header import ARRAY, BOOL, CODES, F32, SIZES, TEXT, Cursor, Header

#: Items of an array that are put into words at once.
AT_ONCE = 4096

MAX_F32 = 3.4e38


class Metadata(Mapping[str, str]):
    """Key to text: a text as it is, anything else as JSON, a vocabulary of 100,000 words too."""

    def __init__(self, header: Header) -> None:
        self._pairs = header.pairs
        self._cursor = header.raw

    def __getitem__(self, key: str) -> str:
        kind, at = self._pairs[key]
        cursor = self._cursor.copy(at)
        if kind == TEXT:
            return shown(cursor)
        return "".join(words(kind, cursor))

    def __contains__(self, key: object) -> bool:
        return key in self._pairs

    def __iter__(self) -> Iterator[str]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)


def shown(cursor: Cursor) -> str:
    """Return a text; bytes that are no UTF-8, as some tokens are, as Python shows them."""
    return str(cursor.bytes(), "utf-8", "backslashreplace")


def words(kind: int, cursor: Cursor) -> Iterator[str]:
    """Yield the JSON of the value at *cursor* in pieces; `skip` has seen that it is whole."""
    if kind != ARRAY:
        yield in_json(values(kind, 1, cursor), kind)[1:-1]
        return
    item = cursor.numbers("I")[0]
    count = cursor.length()
    yield "["
    step = 1 if item == ARRAY else AT_ONCE
    for done in range(0, count, step):
        yield ", " if done else ""
        if item == ARRAY:
            yield from words(ARRAY, cursor)
        else:
            yield in_json(values(item, min(step, count - done), cursor), item)[1:-1]
    yield "]"


def values(kind: int, count: int, cursor: Cursor) -> list[Any]:
    """Return *count* values of *kind*, which is no array."""
    if kind == TEXT:
        return [shown(cursor) for _ in range(count)]
    cursor.at += count * SIZES[kind]
    found = struct.unpack_from(
        f"{cursor.order}{count}{CODES[kind]}", cursor.raw, cursor.at - count * SIZES[kind]
    )
    return list(map(bool, found)) if kind == BOOL else list(found)


def in_json(items: list[Any], kind: int) -> str:
    """Return *items* as JSON."""
    return json.dumps(list(map(shortest, items)) if kind == F32 else items, ensure_ascii=False)


def shortest(value: float) -> float:
    """Return the number with the fewest digits that is *value* as a float32.

    >>> shortest(0.10000000149011612)
    0.1
    """
    exact = struct.pack("<d", value)
    for digits in (6, 7, 8) if abs(value) < MAX_F32 else ():
        found = float(f"{value:.{digits}g}")
        if struct.pack("<d", *struct.unpack("<f", struct.pack("<f", found))) == exact:
            return found
    return value
