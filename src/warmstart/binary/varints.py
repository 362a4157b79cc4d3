"""Many varints back to back, as protobuf packs the numbers of a repeated field."""

from collections.abc import Iterator

import numpy as np

from ..errors import CorruptCheckpoint

#: Bytes decoded at a time: what is made of them on the way stays in the processor's cache.
CHUNK = 1 << 17
LONGEST = 10  # bytes of a varint

#: By the length of a varint: the bits of its first eight bytes that say its value.
VALUE_BITS = np.array([0x7F7F7F7F7F7F7F7F & (1 << 8 * min(n, 8)) - 1 for n in range(LONGEST + 1)],
                      np.uint64)  # fmt: skip
#: How groups of 7 bits, each in 8, are moved together: twice as many at each step.
STEPS = (
    (0x007F007F007F007F, 0x7F007F007F007F00, 1),
    (0x00003FFF00003FFF, 0x3FFF00003FFF0000, 2),
    (0x000000000FFFFFFF, 0x0FFFFFFF00000000, 4),
)


def count_varints(data: memoryview) -> int:
    """Return how many varints *data* holds, refusing it when the last one is cut off.

    >>> count_varints(memoryview(b"\\x01\\xac\\x02"))
    2
    """
    if len(data) and data[-1] > 0x7F:
        raise CorruptCheckpoint(f"{len(data)} bytes of packed numbers end inside a number")
    return int(np.count_nonzero(np.frombuffer(data, np.int8) >= 0))


def decode_varints(data: memoryview) -> Iterator[np.ndarray]:
    """Yield the varints in *data*, which end where one does, as uint64, some at a time.

    A negative number is there as two's complement.

    >>> [part.tolist() for part in decode_varints(memoryview(b"\\x01\\xac\\x02"))]
    [[1, 300]]
    """
    raw, at = np.frombuffer(data, np.uint8), 0
    while at < raw.size:
        end = end_before(raw, at + CHUNK)
        yield decoded(raw[at:end])
        at = end


def end_before(raw: np.ndarray, at: int) -> int:
    """Return where the last number that ends at *at* or before does."""
    if at >= raw.size:
        return int(raw.size)
    ends = np.flatnonzero(raw[at - LONGEST : at] < 0x80)
    if not ends.size:
        raise CorruptCheckpoint(f"a packed number takes more than 10 bytes, before byte {at}")
    return int(at - LONGEST + ends[-1] + 1)


def decoded(raw: np.ndarray) -> np.ndarray:
    """Return the numbers in *raw*, which ends where one does."""
    ends = np.flatnonzero(raw < 0x80)
    if ends.size == raw.size:
        return raw.astype(np.uint64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    longest = int(lengths.max())
    if longest > LONGEST:
        raise CorruptCheckpoint(f"a packed number takes {longest} bytes, where 10 is the most")
    padded = np.concatenate([raw, np.zeros(8, np.uint8)])
    at_each_byte: np.ndarray = np.ndarray(raw.size, "<u8", padded, strides=(1,))
    values: np.ndarray = at_each_byte[starts] & VALUE_BITS[lengths]
    for low, high, shift in STEPS:
        values = values & np.uint64(low) | (values & np.uint64(high)) >> np.uint64(shift)
    for place in range(8, longest):
        rows = np.flatnonzero(lengths > place)
        bits = (raw[starts[rows] + place] & 0x7F).astype(np.uint64)
        values[rows] |= bits << np.uint64(7 * place)
    return values
