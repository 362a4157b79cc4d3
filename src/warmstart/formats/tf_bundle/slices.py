"""Tensors stored in pieces: the keys of the pieces, and the whole.

    key = 00 | name, 00 -> 00 ff and ff -> ff 00, then 00 01 | number rank | rank * (start, length)

*number* is a count of bytes and that many, the highest first; start and length are signed, one to
ten bytes, the count in the leading bits, so that keys sort as what they say.  A dimension taken
whole is (0, -1).
Source: TensorFlow 2.21, core/lib/strings/ordered_code.cc, core/util/saved_tensor_slice_util.cc.
"""

import re
from collections.abc import Sequence

from ...boxes import Box
from ...errors import CorruptCheckpoint
from ...spec import shape_text
from .protos import Slice

#: What a signed number of n bytes begins with, by n - 1.
LEADING = [
    bytes.fromhex(h) for h in ("80", "c0", "e0", "f0", "f8", "fc", "fe", "ff", "ff80", "ffc0")
]

ESCAPES = {b"\x00": b"\x00\xff", b"\xff": b"\xff\x00"}


def slice_key(name: bytes, piece: Slice) -> bytes:
    """Return the key of *piece* of the tensor *name*.

    >>> slice_key(b"w", Slice((0,), (-1,))).hex(" ")
    '00 77 00 01 01 01 80 7f'
    """
    escaped = re.sub(rb"[\x00\xff]", lambda odd: ESCAPES[odd[0]], name)
    rank = len(piece.starts)
    size = (rank.bit_length() + 7) // 8
    key = b"\x00" + escaped + b"\x00\x01" + bytes([size]) + rank.to_bytes(size)
    for start, length in zip(piece.starts, piece.lengths, strict=True):
        key += signed_key(start) + signed_key(length)
    return key


def signed_key(value: int) -> bytes:
    """Return *value* as a signed number of a key.

    >>> [signed_key(n).hex() for n in (63, 64, -64, -65, 8192)]
    ['bf', 'c040', '40', '3fbf', 'e02000']
    """
    size = next(n for n in range(1, 11) if -(1 << 7 * n - 1) <= value < 1 << 7 * n - 1)
    leading = int.from_bytes(LEADING[size - 1].ljust(size, b"\0"))
    return (value & (1 << 8 * size) - 1 ^ leading).to_bytes(size)


def box_of(piece: Slice, shape: Sequence[int]) -> Box:
    """Return where *piece* stands in a tensor of *shape*, refusing one that is not inside."""
    sides = []
    for start, length, size in zip(piece.starts, piece.lengths, shape, strict=True):
        end = size if length == -1 else start + length
        if not 0 <= start <= end <= size or (length < 0 and (start, length) != (0, -1)):
            raise CorruptCheckpoint(
                f"a slice starts at {shape_text(piece.starts)} and is {shape_text(piece.lengths)} "
                f"long, which is not inside {shape_text(shape)}"
            )
        sides.append(slice(start, end))
    return tuple(sides)
