"""Everything in a file before its data: pairs of metadata, and where each tensor lies."""

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ...binary.window import FileBytes
from ...errors import CorruptCheckpoint, UnsupportedCheckpoint
from ...spec import TensorSpec, checked_nbytes
from .types import MAGIC, TYPES, Type

ALIGNMENT = "general.alignment"
MAX_DEPTH = 16  # arrays in arrays
FIRST_LOOK = 1 << 20  # bytes

TEXT, ARRAY, BOOL, F32 = 8, 9, 7, 6
#: kind of value -> its letter for `struct`.
CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", F32: "f", BOOL: "B",
         10: "Q", 11: "q", 12: "d"}  # fmt: skip
SIZES = {kind: struct.calcsize("<" + code) for kind, code in CODES.items()}


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a tensor lies: bytes from the begin of the file; *shape* is that of its elements."""

    spec: TensorSpec
    type: Type
    shape: tuple[int, ...]
    begin: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a file holds; `pairs` say where the value of each key lies in `raw`, and its kind."""

    version: int
    order: str  # "<" or ">"
    pairs: dict[str, tuple[int, int]]
    entries: list[Entry]
    alignment: int
    data: int  # the offset where the data begin
    raw: "Cursor"


class CutOff(CorruptCheckpoint):
    """The bytes end before what they should hold."""


class Cursor:
    """A place in the bytes of a header, from which it is read on."""

    def __init__(self, raw: memoryview, order: str, wide: bool, at: int) -> None:
        self.raw = raw
        self.order = order
        self.at = at
        self._length = struct.Struct(order + ("Q" if wide else "I"))

    def copy(self, at: int) -> "Cursor":
        """Return a cursor at *at* in the same bytes."""
        return Cursor(self.raw, self.order, self._length.size == 8, at)

    def need(self, nbytes: int) -> None:
        """Raise unless *nbytes* follow."""
        if nbytes > len(self.raw) - self.at:
            raise CutOff(
                f"the header needs {nbytes} bytes at byte {self.at}, where "
                f"{len(self.raw) - self.at} are left"
            )

    def numbers(self, codes: str) -> tuple[Any, ...]:
        """Return the numbers that *codes* of `struct` stand for."""
        layout = self.order + codes
        self.need(struct.calcsize(layout))
        found = struct.unpack_from(layout, self.raw, self.at)
        self.at += struct.calcsize(layout)
        return found

    def length(self, least: int = 1) -> int:
        """Return a count of things that take *least* bytes each, which must follow."""
        self.need(self._length.size)
        n: int = self._length.unpack_from(self.raw, self.at)[0]
        self.at += self._length.size
        self.need(n * least)
        return n

    def bytes(self) -> memoryview:
        """Return the bytes of a text."""
        n = self.length()
        self.at += n
        return self.raw[self.at - n : self.at]

    def text(self, what: str) -> str:
        """Return a text; *what* it is for."""
        raw = bytes(self.bytes())
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise CorruptCheckpoint(f"{what} is not UTF-8: {raw[:80]!r}") from error

    def skip(self, kind: int, depth: int = MAX_DEPTH) -> None:
        """Go past a value of *kind*."""
        if kind in SIZES:
            self.need(SIZES[kind])
            self.at += SIZES[kind]
        elif kind == TEXT:
            self.bytes()
        elif kind == ARRAY:
            item = self.numbers("I")[0]
            self.skip_items(item, self.length(self.least(item)), depth - 1)
        else:
            raise CorruptCheckpoint(f"a value at byte {self.at} has the unknown kind {kind}")

    def least(self, kind: int) -> int:
        """Return the bytes that a value of *kind* takes at least."""
        return SIZES.get(kind, self._length.size)

    def skip_items(self, kind: int, count: int, depth: int) -> None:
        """Go past the values of an array."""
        if depth == 0:
            raise CorruptCheckpoint(f"arrays lie more than {MAX_DEPTH} deep in one another")
        if kind in SIZES:
            self.at += count * SIZES[kind]  # `length` has seen that they are there
        elif kind == TEXT:
            self._skip_texts(count)
        else:
            for _ in range(count):
                self.skip(kind, depth)

    def _skip_texts(self, count: int) -> None:
        """Go past *count* texts: a vocabulary has some 100,000."""
        raw, at, width, unpack = self.raw, self.at, self._length.size, self._length.unpack_from
        last = len(raw) - width
        for _ in range(count):
            if at > last:
                break
            at += width + unpack(raw, at)[0]
        else:
            self.need(at - self.at)
            self.at = at
            return
        self.need(at + width - self.at)


def read_header(file: FileBytes) -> Header:
    """Return the header of *file*, whose tensors are proved to lie in it one beside the other."""
    size = FIRST_LOOK if not isinstance(file, memoryview) else len(file)
    while size < len(file):
        try:
            return parse(file[:size], len(file))
        except CutOff:
            size *= 4
    return parse(file[: len(file)], len(file))


def parse(raw: memoryview, file_size: int) -> Header:
    """Return the header that *raw* begins with, of a file of *file_size* bytes."""
    cursor, version = opened(raw)
    least = 8 if version == 1 else 16
    n_tensors, n_pairs = cursor.length(least), cursor.length()
    pairs = parse_pairs(cursor, n_pairs)
    alignment = alignment_of(cursor, pairs)
    infos = [parse_info(cursor, version) for _ in range(n_tensors)]
    data = -(-cursor.at // alignment) * alignment
    entries = [placed(name, shape, type_, data + offset) for name, shape, type_, offset in infos]
    check_places(entries, file_size)
    return Header(version, cursor.order, pairs, entries, alignment, data, cursor)


def opened(raw: memoryview) -> tuple[Cursor, int]:
    """Return a cursor after the version, and the version."""
    if raw[:4] != MAGIC:
        raise CorruptCheckpoint(f"the file begins with {bytes(raw[:4])!r}, not with {MAGIC!r}")
    start = Cursor(raw, "<", True, 4)
    version = start.numbers("I")[0]
    order = "<" if version & 0xFFFF else ">"
    if order == ">":
        version = int.from_bytes(raw[4:8], "big")
    if version not in (1, 2, 3):
        raise UnsupportedCheckpoint(f"the file is of version {version}; known are 1, 2 and 3")
    return Cursor(raw, order, version > 1, 8), version


def parse_pairs(cursor: Cursor, count: int) -> dict[str, tuple[int, int]]:
    """Return where the value of each key lies, and its kind."""
    pairs: dict[str, tuple[int, int]] = {}
    for _ in range(count):
        key = cursor.text("a key of the metadata")
        if key in pairs:
            raise CorruptCheckpoint(f"the metadata have the key {key!r} twice")
        kind = cursor.numbers("I")[0]
        pairs[key] = kind, cursor.at
        cursor.skip(kind)
    return pairs


def alignment_of(cursor: Cursor, pairs: dict[str, tuple[int, int]]) -> int:
    """Return what the begin of every tensor is a multiple of."""
    kind, at = pairs.get(ALIGNMENT, (None, 0))
    if kind is None:
        return 32
    value = struct.unpack_from(cursor.order + "I", cursor.raw, at)[0] if kind == 4 else 0
    if value == 0 or value & (value - 1):
        raise CorruptCheckpoint(f"{ALIGNMENT} is no power of 2 in an unsigned integer")
    return int(value)


def parse_info(cursor: Cursor, version: int) -> tuple[str, tuple[int, ...], int, int]:
    """Return the name of a tensor, the shape of its elements, its type's number, its offset."""
    name = cursor.text("the name of a tensor")
    rank = cursor.numbers("I")[0]
    sizes = cursor.numbers(f"{rank}{'I' if version == 1 else 'Q'}")
    number, offset = cursor.numbers("IQ")
    return name, sizes[::-1], number, offset


def placed(name: str, shape: tuple[int, ...], number: int, begin: int) -> Entry:
    """Return the tensor *name* as it lies in the file, with a spec of what is read of it."""
    if number not in TYPES:
        known = ", ".join(type_.name for type_ in TYPES.values())
        raise UnsupportedCheckpoint(f"{name!r} has the unknown type {number}; known: {known}")
    type_ = TYPES[number]
    packed = packed_shape(name, shape, type_)
    spec = TensorSpec(name, type_.dtype or "uint8", packed)
    return Entry(spec, type_, shape, begin, checked_nbytes(spec.dtype, packed))


def packed_shape(name: str, shape: tuple[int, ...], type_: Type) -> tuple[int, ...]:
    """Return the shape of a tensor as it is read: that of a quantised one ends in bytes."""
    if type_.dtype is not None:
        checked_nbytes(type_.dtype, shape)
        return shape
    if not shape or shape[-1] % type_.elements:
        raise CorruptCheckpoint(
            f"{name!r} has rows that are no whole blocks: its shape is {shape}, "
            f"and a block of {type_.name} has {type_.elements} elements"
        )
    checked_nbytes("float32", shape)
    return (*shape[:-1], shape[-1] // type_.elements * type_.nbytes)


def check_places(entries: list[Entry], file_size: int) -> None:
    """Refuse tensors of one name, over one another, or beyond the end of the file.

    An overlap lets a small file ask for a large memory.
    """
    names = {entry.spec.name for entry in entries}
    if len(names) < len(entries):
        counts = Counter(entry.spec.name for entry in entries)
        twice = [name for name, count in counts.items() if count > 1]
        raise CorruptCheckpoint(f"two tensors have one name: {', '.join(map(repr, twice))}")
    end = 0
    for entry in sorted(entries, key=lambda entry: (entry.begin, entry.nbytes)):
        if entry.nbytes and entry.begin < end:
            raise CorruptCheckpoint(
                f"{entry.spec.name!r} begins at byte {entry.begin}, in another that ends at {end}"
            )
        end = max(end, entry.begin + entry.nbytes)
        if end > file_size:
            raise CorruptCheckpoint(
                f"{entry.spec.name!r} ends at byte {end}; the file has {file_size}"
            )


def gaps(header: Header, file: FileBytes) -> Iterator[tuple[int, int]]:
    """Yield the runs of bytes (begin, end) among the data that are neither a tensor nor padding.

    Padding is zeros up to the next multiple of the alignment.
    """
    end = header.raw.at
    places = sorted((e.begin, e.begin + e.nbytes) for e in header.entries if e.nbytes)
    for begin, next_end in [*places, (len(file), len(file))]:
        padding = min(-end % header.alignment, begin - end)
        if begin - end > padding or any(file[end:begin]):
            yield end, begin
        end = max(end, next_end)
