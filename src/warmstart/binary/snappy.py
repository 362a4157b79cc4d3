"""Snappy's raw form, in which old tables compress their blocks; only reading.

    varint n | element*                 n: bytes when decompressed
    element = tag, by its two low bits
        00  literal: length - 1 in the high six bits; from 60 on in 1 to 4 bytes that follow
        01  copy: length - 4 in three bits, offset in the three high ones and a byte: 11 bits
        10  copy: length - 1 in six bits, offset in two bytes
        11  copy: the same, offset in four bytes

A copy repeats *length* bytes from *offset* bytes back; it may reach into what it writes itself.
Source: https://github.com/google/snappy, format_description.txt.
"""

from ..errors import CorruptCheckpoint
from .wire import read_varint

#: No element makes more of its bytes than a copy of 64 bytes out of three.
MAX_EXPANSION = 64 / 3


def decompressed(data: bytes) -> bytes:
    """Return what *data* holds, which takes no more memory than it can truly stand for."""
    size, at = read_varint(data, 0)
    if size > MAX_EXPANSION * len(data):
        raise CorruptCheckpoint(
            f"{len(data)} compressed bytes claim to hold {size}; at most "
            f"{int(MAX_EXPANSION * len(data))} can be in them"
        )
    out = bytearray()
    while at < len(data) and len(out) <= size:
        tag = data[at]
        if tag & 3:
            at = copy(data, at, out)
            continue
        length = (tag >> 2) + 1
        at += 1
        if length > 60:
            width = length - 60
            length = int.from_bytes(data[at : at + width], "little") + 1
            at += width
        if at + length > len(data):
            raise CorruptCheckpoint(f"compressed bytes break off in a literal of {length} bytes")
        out += data[at : at + length]
        at += length
    if len(out) != size:
        raise CorruptCheckpoint(f"compressed bytes hold {len(out)} bytes, where {size} are stated")
    return bytes(out)


def copy(data: bytes, at: int, out: bytearray) -> int:
    """Carry out the copy whose tag stands at *at* in *data*; return where it ends."""
    tag = data[at]
    width = (0, 1, 2, 4)[tag & 3]
    end = at + 1 + width
    if end > len(data):
        raise CorruptCheckpoint("compressed bytes break off in a copy")
    offset, length = int.from_bytes(data[at + 1 : end], "little"), (tag >> 2) + 1
    if width == 1:
        offset, length = offset | tag >> 5 << 8, (tag >> 2 & 7) + 4
    begin = len(out) - offset
    if offset == 0 or begin < 0:
        raise CorruptCheckpoint(
            f"compressed bytes copy from {offset} bytes back, where {len(out)} came before"
        )
    repeated = out[begin : begin + length]
    if offset < length:
        repeated = (repeated * (length // offset + 1))[:length]
    out += repeated
    return end
