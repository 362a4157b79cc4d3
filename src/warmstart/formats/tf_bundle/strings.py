"""The bytes of a string tensor.

    varint length * n | u32 masked CRC-32C of the lengths | the strings, back to back

That checksum runs over each length as a u32 (a u64 beyond 4 GiB), not over the varints; the
entry's runs on over the four bytes as stored and the strings.
Source: TensorFlow 2.21, core/util/tensor_bundle/tensor_bundle.cc, WriteStringTensor.
"""

import struct
from collections.abc import Sequence

from ...binary.checksum import crc32c, mask
from ...binary.wire import read_varint, varint
from ...errors import CorruptCheckpoint


def encode_strings(strings: Sequence[bytes]) -> tuple[bytes, int]:
    """Return the payload of *strings*, and the entry's checksum, not masked."""
    lengths = [len(s) for s in strings]
    running = crc32c(packed_lengths(lengths))
    checksum = mask(running).to_bytes(4, "little")
    text = b"".join(strings)
    payload = b"".join(map(varint, lengths)) + checksum + text
    return payload, crc32c(text, crc32c(checksum, running))


def decode_strings(payload: bytes, count: int, *, big_endian: bool = False) -> list[bytes]:
    """Return the *count* strings in *payload*, whose lengths' checksum must be right."""
    return split_strings(payload, count, big_endian)[0]


def crc_of_strings(payload: bytes, count: int, *, big_endian: bool = False) -> int:
    """Return the checksum that the entry of *payload* must have, not masked."""
    _, running, lengths_end = split_strings(payload, count, big_endian)
    return crc32c(payload[lengths_end:], running)


def split_strings(payload: bytes, count: int, big_endian: bool) -> tuple[list[bytes], int, int]:
    """Return the strings, the checksum of their lengths, and where the lengths end."""
    if count > len(payload):  # before anything is made of a number from outside
        raise CorruptCheckpoint(f"{count} strings cannot stand in {len(payload)} bytes")
    lengths, at = [], 0
    for _ in range(count):
        length, at = read_varint(payload, at)
        lengths.append(length)
    lengths_end = at
    running = crc32c(packed_lengths(lengths, big_endian))
    if count == 0 and not payload:
        return [], running, 0
    at += 4
    if at + sum(lengths) != len(payload):
        raise CorruptCheckpoint(
            f"{count} strings of {sum(lengths)} bytes in all should take {at + sum(lengths)}, "
            f"where {len(payload)} are stored"
        )
    if payload[at - 4 : at] != mask(running).to_bytes(4, "big" if big_endian else "little"):
        raise CorruptCheckpoint("the checksum of the strings' lengths is not the one written")
    strings = []
    for length in lengths:
        strings.append(payload[at : at + length])
        at += length
    return strings, running, lengths_end


def packed_lengths(lengths: Sequence[int], big_endian: bool = False) -> bytes:
    """Return *lengths* as the checksum sees them."""
    order = ">" if big_endian else "<"
    if max(lengths, default=0) < 1 << 32:
        return struct.pack(f"{order}{len(lengths)}I", *lengths)
    return b"".join(struct.pack(order + ("I" if n < 1 << 32 else "Q"), n) for n in lengths)
