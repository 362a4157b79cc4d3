"""MessagePack, read by structure alone: bytes and extensions are said by place, never copied.

    value = kind byte, sometimes with a number in it | a length or a value | content

    00-7f  e0-ff   small integers       c0 c2 c3   nil, false, true
    80-8f  de df   map                  90-9f  dc dd   array
    a0-bf  d9-db   text                 c4-c6   bytes
    c7-c9  d4-d8   extension: a code of one byte, and bytes
    ca cb          float32, float64     cc-d3   integers of 1, 2, 4 and 8 bytes

All numbers are big-endian.
Source: https://github.com/msgpack/msgpack/blob/master/spec.md.
"""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import CorruptCheckpoint, UnsupportedCheckpoint
from .window import FileBytes

MAX_DEPTH = 100
#: Values in one file: each takes some 200 bytes of memory, and may take a single one of the file.
MAX_VALUES = 2_000_000

NIL, FALSE, TRUE, BIN, EXT, FLOAT32, FLOAT64 = 0xC0, 0xC2, 0xC3, 0xC4, 0xC7, 0xCA, 0xCB
UNSIGNED, SIGNED, FIXEXT, TEXT, ARRAY, MAP = 0xCC, 0xD0, 0xD4, 0xD9, 0xDC, 0xDE
CONSTANTS = {NIL: None, FALSE: False, TRUE: True}


@dataclass(frozen=True, slots=True)
class Place:
    """Bytes in the file, half-open; of an extension if they have a *code*."""

    begin: int
    end: int
    code: int | None = None


def parse(
    file: FileBytes,
    begin: int = 0,
    end: int | None = None,
    *,
    on_map: Callable[[dict[Any, Any]], Any] = lambda value: value,
    on_extension: Callable[[Place], Any] = lambda place: place,
) -> Any:
    """Return the one value that is *file* from *begin* to *end*, all of it.

    Maps are dicts, arrays lists; bytes are a `Place`, and so are extensions unless *on_extension*
    says otherwise.  What *on_map* makes of a map stands for it.
    """
    parser = Parser(file, begin, len(file) if end is None else end, on_map, on_extension)
    value = parser.value(MAX_DEPTH)
    if parser.at != parser.end:
        raise CorruptCheckpoint(
            f"the value ends at byte {parser.at}, and {parser.end - parser.at} bytes follow it"
        )
    return value


class Parser:
    """Walks from one value to the next; `at` is the byte it has come to."""

    def __init__(
        self,
        file: FileBytes,
        begin: int,
        end: int,
        on_map: Callable[[dict[Any, Any]], Any],
        on_extension: Callable[[Place], Any],
    ) -> None:
        self.at = begin
        self.end = end
        self._file = file
        self._on_map = on_map
        self._on_extension = on_extension
        self._values = 0

    def value(self, depth: int) -> Any:
        """Return the next value, in which others lie *depth* deep at most."""
        begin = self._skip(1)
        kind = self._file[begin : begin + 1][0]
        self._values += 1
        if self._values > MAX_VALUES:
            raise UnsupportedCheckpoint(f"the file holds more than {MAX_VALUES} values")
        if 0x80 <= kind < 0xC0:
            return self._short(kind, depth)
        if EXT <= kind < EXT + 3:  # most values of a checkpoint
            return self._extension(1 << kind - EXT)
        if 0xC0 <= kind < 0xE0:
            return self._long(kind, depth)
        return kind if kind < 0x80 else kind - 0x100

    def _short(self, kind: int, depth: int) -> Any:
        """Return a value whose length is in its *kind*."""
        if kind >= 0xA0:
            return self._text(kind & 0x1F)
        length = kind & 0x0F
        return self._array(length, depth) if kind >= 0x90 else self._map(length, depth)

    def _long(self, kind: int, depth: int) -> Any:
        """Return a value of a *kind* that says no length."""
        if kind in CONSTANTS:
            return CONSTANTS[kind]
        if kind == 0xC1:
            raise CorruptCheckpoint(f"byte {self.at - 1} is c1, which begins no value")
        if FIXEXT <= kind < TEXT:
            return self._extension(0, 1 << kind - FIXEXT)
        if FLOAT32 <= kind < FIXEXT:
            return self._fixed(kind)
        return self._sized(kind, depth)

    def _fixed(self, kind: int) -> int | float:
        """Return a number whose *kind* says how many bytes it takes."""
        if kind >= UNSIGNED:
            return self._number(1 << (kind & 3), signed=kind >= SIGNED)
        code, nbytes = (">f", 4) if kind == FLOAT32 else (">d", 8)
        value: float = struct.unpack(code, self._take(nbytes))[0]
        return value

    def _sized(self, kind: int, depth: int) -> Any:
        """Return a value whose length follows its *kind*."""
        if kind >= MAP:
            return self._map(self._number(2 << kind - MAP), depth)
        if kind >= ARRAY:
            return self._array(self._number(2 << kind - ARRAY), depth)
        if kind >= TEXT:
            return self._text(self._number(1 << kind - TEXT))
        return self._place(self._number(1 << kind - BIN))

    def _take(self, nbytes: int) -> memoryview:
        """Return the next *nbytes*."""
        begin = self._skip(nbytes)
        return self._file[begin : self.at]

    def _skip(self, nbytes: int) -> int:
        """Pass over *nbytes*, and return where they begin."""
        begin, left = self.at, self.end - self.at
        if nbytes > left:
            raise CorruptCheckpoint(
                f"{nbytes} bytes are to follow byte {begin}, where {left} are left"
            )
        self.at = begin + nbytes
        return begin

    def _number(self, nbytes: int, *, signed: bool = False) -> int:
        return int.from_bytes(self._take(nbytes), "big", signed=signed)

    def _text(self, nbytes: int) -> str:
        try:
            return str(self._take(nbytes), "utf-8")
        except UnicodeDecodeError as error:
            raise CorruptCheckpoint(f"the text before byte {self.at} is not UTF-8") from error

    def _place(self, nbytes: int) -> Place:
        return Place(self._skip(nbytes), self.at)

    def _extension(self, size: int, nbytes: int = 0) -> Any:
        """Return an extension of *nbytes*, or of as many as a number of *size* bytes says."""
        header = self._take(size + 1)
        code = header[size]
        begin = self._skip(nbytes or int.from_bytes(header[:size], "big"))
        return self._on_extension(Place(begin, self.at, code - 0x100 if code >= 0x80 else code))

    def _inner(self, length: int, depth: int) -> int:
        """Return the depth that is left below a container of *length*."""
        if depth == 0:
            raise CorruptCheckpoint(f"values lie more than {MAX_DEPTH} deep in one another")
        if length > self.end - self.at:
            raise CorruptCheckpoint(
                f"{length} values are to follow byte {self.at}, where {self.end - self.at} bytes "
                "are left"
            )
        return depth - 1

    def _array(self, length: int, depth: int) -> list[Any]:
        inner = self._inner(length, depth)
        return [self.value(inner) for _ in range(length)]

    def _map(self, length: int, depth: int) -> Any:
        inner = self._inner(length, depth)
        found: dict[Any, Any] = {}
        for _ in range(length):
            at, key = self.at, self.value(inner)
            if type(key) is not str and not is_key(key):
                raise CorruptCheckpoint(f"the key at byte {at} is no text and no number")
            if key in found:
                raise CorruptCheckpoint(f"the key {key!r} stands twice in one map, at byte {at}")
            found[key] = self.value(inner)
        return self._on_map(found)


def is_key(value: object) -> bool:
    """Return whether *value* can be a key that is found again."""
    if isinstance(value, float):
        return not math.isnan(value)
    return value is None or isinstance(value, str | int)


def packed(value: Any) -> bytes:
    """Return a plain value as the reference writes it: in the fewest bytes.

    >>> packed({"a": [1, None, "x"]}).hex(" ")
    '81 a1 61 93 01 c0 a1 78'
    """
    if value is None or isinstance(value, bool):
        return bytes([NIL if value is None else TRUE if value else FALSE])
    if isinstance(value, int):
        return packed_integer(value)
    if isinstance(value, float):
        return struct.pack(">Bd", FLOAT64, value)
    if isinstance(value, str):
        raw = value.encode()
        return text_header(len(raw)) + raw
    if isinstance(value, list | tuple):
        return array_header(len(value)) + b"".join(map(packed, value))
    if isinstance(value, dict):
        parts = [packed(part) for item in value.items() for part in item]
        return map_header(len(value)) + b"".join(parts)
    raise TypeError(f"a {type(value).__name__} has no place in MessagePack")


def packed_integer(value: int) -> bytes:
    """Return an integer of up to 64 bits.

    >>> [packed_integer(n).hex() for n in (127, -32, -33, 200, 70000, 2**64 - 1)]
    ['7f', 'e0', 'd0df', 'ccc8', 'ce00011170', 'cfffffffffffffffff']
    """
    if -32 <= value < 128:
        return (value & 0xFF).to_bytes()
    first = SIGNED if value < 0 else UNSIGNED
    for power in range(4):
        bits = 8 << power
        if (-(1 << bits - 1) if value < 0 else 0) <= value < 1 << bits:
            return bytes([first + power]) + (value & (1 << bits) - 1).to_bytes(1 << power)
    raise OverflowError(f"{value} takes more than 64 bits")


def sized(length: int, short: int, shorts: int, kind: int, smallest: int) -> bytes:
    """Return a header that says *length*: in one byte below *shorts*, else after *kind*."""
    if length < shorts:
        return bytes([short | length])
    size = next((n for n in (1, 2) if n >= smallest and length < 1 << 8 * n), 4)
    return bytes([kind + (size // smallest).bit_length() - 1]) + length.to_bytes(size)


def text_header(nbytes: int) -> bytes:
    """Return what stands before text of *nbytes*."""
    return sized(nbytes, 0xA0, 32, TEXT, 1)


def array_header(length: int) -> bytes:
    """Return what stands before the values of an array."""
    return sized(length, 0x90, 16, ARRAY, 2)


def map_header(length: int) -> bytes:
    """Return what stands before the keys and values of a map."""
    return sized(length, 0x80, 16, MAP, 2)


def bytes_header(nbytes: int) -> bytes:
    """Return what stands before bytes."""
    return sized(nbytes, 0, 0, BIN, 1)


def extension_header(code: int, nbytes: int) -> bytes:
    """Return what stands before the *nbytes* of an extension of *code*."""
    if nbytes in (1, 2, 4, 8, 16):
        return bytes([FIXEXT + nbytes.bit_length() - 1, code])
    return sized(nbytes, 0, 0, EXT, 1) + bytes([code])
