"""Every tensor of a bundle at once: a model has many that are alike, thousands of one shape.

Entries alike have their fields at the same bytes, so they are decoded as the columns of a matrix,
and tensors of one shape that lie at equal distances are the rows of one array.  Whatever does not
fit, for a good reason or a bad one, is left to the reader, which takes entries one by one and says
what is wrong.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ...binary.checksum import crc32c, masked
from ...binary.wire import read_varint
from ...spec import checked_nbytes, numpy_dtype
from .protos import Heads, head_end
from .shards import Shards

#: Larger tensors are hashed by several threads, one after another.
SMALL = 1 << 20
#: Fewer entries alike than this are as fast one by one.
MANY = 16

CRC = 0x35  # the tag of the checksum, and those of shard, offset and size, which are varints
NUMBERS = (0x18, 0x20, 0x28)


class Alike(NamedTuple):
    """Entries that differ only in their place: a row each."""

    rows: np.ndarray  # their numbers among all entries
    dtype: str
    shape: tuple[int, ...]
    offset: np.ndarray
    crc: np.ndarray
    shard: int


def read_alike(
    messages: Sequence[bytes], heads: Heads, shards: Shards, *, verify: bool
) -> "list[np.ndarray | None]":
    """Return the array of each entry in *messages*, None for those left to the reader."""
    arrays: list[np.ndarray | None] = [None] * len(messages)
    for rows, matrix in alike(messages):
        for group in decoded(rows, matrix, heads):
            mapped = shards.populated(group.shard)
            if mapped is not None and is_plain(group.dtype, group.shape):
                for row, array in zip(*read_group(group, mapped, verify=verify), strict=True):
                    arrays[row] = array
    return arrays


def is_plain(dtype: str, shape: tuple[int, ...]) -> bool:
    """Return whether such tensors can be read as rows of one array.

    A scalar taken from an array would be no array, and NumPy has at most 64 dimensions.
    """
    return 0 < checked_nbytes(dtype, shape) < SMALL and 0 < len(shape) < 32


def alike(messages: Sequence[bytes]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield row numbers and bytes of messages that have one length and, nearly always, one head."""
    for rows in grouped(np.fromiter(map(len, messages), np.int64, len(messages))):
        chosen = rows.tolist()
        matrix = np.frombuffer(b"".join([messages[row] for row in chosen]), np.uint8)
        matrix = matrix.reshape(len(rows), -1)
        for part in grouped(matrix[:, 3]) if matrix.shape[1] > 3 else ():  # the shape's length
            end = head_end(messages[chosen[part[0]]])
            for same in grouped(hashes(matrix[part, :end])):
                yield rows[part[same]], matrix[part[same]]


def hashes(matrix: np.ndarray) -> np.ndarray:
    """Return a number for each row of *matrix*, the same for equal rows."""
    weights = np.arange(1, 2 * matrix.shape[1], 2, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return matrix @ weights


def grouped(keys: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the positions of equal *keys*, for each key that many share."""
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    order = np.argsort(inverse, kind="stable")
    for part in np.split(order, np.cumsum(counts)[:-1]):
        if len(part) >= MANY:
            yield part


def decoded(rows: np.ndarray, matrix: np.ndarray, heads: Heads) -> Iterator[Alike]:
    """Yield the entries in *matrix* whose bytes mean the same as those of the first row do."""
    first = matrix[0].tobytes()
    end = head_end(first)
    columns = columns_of(first, end)
    if columns is None:
        return
    meaning = np.full(len(first), 0xFF, np.uint8)  # the bits that must agree
    for tag, places in columns.items():
        meaning[places] = 0 if tag == CRC else 0x80
    fits = ((matrix & meaning) == (matrix[0] & meaning)).all(axis=1)
    rows, matrix = rows[fits], matrix[fits]
    dtype, shape = heads[first[:end]]
    shards, offset, size = (number_in(matrix[:, columns.get(t, slice(0))]) for t in NUMBERS)
    crc = np.ascontiguousarray(matrix[:, columns[CRC]]).view("<u4").reshape(-1)
    right = size == checked_nbytes(dtype, shape)
    for shard in np.unique(shards):
        here = np.flatnonzero(right & (shards == shard))
        yield Alike(rows[here], dtype, shape, offset[here], crc[here], int(shard))


def columns_of(message: bytes, at: int) -> dict[int, slice] | None:
    """Return the bytes of each number in the entry *message* from *at*; None for an unusual one."""
    columns: dict[int, slice] = {}
    while at < len(message):
        tag, begin = message[at], at + 1
        if tag == CRC:
            at = begin + 4
        elif tag in NUMBERS:
            _, at = read_varint(message, begin)
        else:
            return None
        if tag in columns or at > len(message) or at - begin > 8:
            return None
        columns[tag] = slice(begin, at)
    return columns if CRC in columns else None


def number_in(matrix: np.ndarray) -> np.ndarray:
    """Return the varint in each row of *matrix*."""
    powers = np.left_shift(1, 7 * np.arange(matrix.shape[1]), dtype=np.int64)
    return (matrix & 0x7F).astype(np.int64) @ powers


def read_group(
    group: Alike, mapped: memoryview, *, verify: bool
) -> tuple[list[int], list[np.ndarray]]:
    """Return the rows of *group* that can be read together, and their arrays."""
    dtype, size = numpy_dtype(group.dtype), checked_nbytes(group.dtype, group.shape)
    fits = group.offset + size <= len(mapped)
    if verify:
        fits[fits] = masked_crcs(mapped, group.offset[fits], size) == group.crc[fits]
    rows, offsets = group.rows[fits].tolist(), group.offset[fits]
    if not rows or np.bitwise_or.reduce(offsets) % dtype.alignment:
        return [], []
    step = int(offsets[1] - offsets[0]) if len(rows) > 1 else size
    if step < size or (np.diff(offsets) != step).any():
        at = offsets.tolist()
        return rows, [locked(np.ndarray(group.shape, dtype, mapped, begin)) for begin in at]
    one = np.ndarray(group.shape, dtype, mapped, offsets[0])
    shape, strides = (len(rows), *group.shape), (step, *one.strides)
    return rows, list(locked(np.ndarray(shape, dtype, mapped, offsets[0], strides)))


def locked(array: np.ndarray) -> np.ndarray:
    """Return *array*, made read-only, and with it the views that are taken of it."""
    array.flags.writeable = False
    return array


def masked_crcs(mapped: memoryview, offsets: np.ndarray, size: int) -> np.ndarray:
    """Return the masked checksum of *size* bytes from each offset."""
    crc = np.array([crc32c(mapped[at : at + size]) for at in offsets.tolist()], np.uint32)
    return masked(crc)
