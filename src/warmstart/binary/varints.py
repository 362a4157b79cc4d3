"""Many varints back to back, as protobuf packs the numbers of a repeated field."""

import numpy as np

from ..errors import CorruptCheckpoint

#: Bytes decoded at a time: the positions of their numbers take eight times as much memory.
CHUNK = 1 << 20
LONGEST = 10  # bytes of a varint


def decode_varints(data: memoryview) -> np.ndarray:
    """Return the varints in *data* as uint64; a negative number is there as two's complement.

    >>> decode_varints(memoryview(b"\\x01\\xac\\x02")).tolist()
    [1, 300]
    """
    raw = np.frombuffer(data, np.uint8)
    if raw.size and raw[-1] > 0x7F:
        raise CorruptCheckpoint(f"{raw.size} bytes of packed numbers end inside a number")
    parts, at = [], 0
    while at < raw.size:
        end = end_before(raw, at + CHUNK)
        parts.append(decoded(raw[at:end]))
        at = end
    return np.concatenate(parts) if parts else np.zeros(0, np.uint64)


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
    values: np.ndarray = (raw[starts] & 0x7F).astype(np.uint64)
    for place in range(1, longest):
        rows = np.flatnonzero(lengths > place)
        bits = (raw[starts[rows] + place] & 0x7F).astype(np.uint64)
        values[rows] |= bits << np.uint64(7 * place)
    return values
