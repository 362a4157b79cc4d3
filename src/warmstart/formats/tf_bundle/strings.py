"""The bytes of a string tensor.

    varint length * n | u32 masked CRC-32C of the lengths | the strings, back to back

That checksum runs over each length as a u32 (a u64 beyond 4 GiB), not over the varints; the
entry's runs on over the four bytes as stored and the strings.
Source: TensorFlow 2.21, core/util/tensor_bundle/tensor_bundle.cc, WriteStringTensor.
"""

import struct
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from ...binary.checksum import crc32c, mask
from ...binary.wire import read_varint, varint
from ...errors import CorruptCheckpoint
from ...source import Index

if TYPE_CHECKING:
    import numpy as np


def encode_strings(strings: Sequence[bytes]) -> tuple[bytes, int]:
    """Return the payload of *strings*, and the entry's checksum, not masked."""
    lengths = [len(s) for s in strings]
    running = crc32c(packed_lengths(lengths))
    checksum = mask(running).to_bytes(4, "little")
    text = b"".join(strings)
    payload = b"".join(map(varint, lengths)) + checksum + text
    return payload, crc32c(text, crc32c(checksum, running))


class Strings:
    """The payload of a string tensor, whose lengths were read and found to fit."""

    def __init__(
        self, payload: bytes | memoryview, count: int, *, big_endian: bool = False
    ) -> None:
        """Take the *payload* of *count* strings; the checksum of their lengths must be right."""
        self._payload = payload
        self._lengths, end = lengths_in(payload, count)
        self._running = crc32c(packed_lengths(self._lengths, big_endian))
        self._lengths_end = end if payload else 0
        self._begin = end + 4 if payload else 0
        size = self._begin + sum(self._lengths)
        if size != len(payload):
            raise CorruptCheckpoint(
                f"{count} strings of {sum(self._lengths)} bytes in all should take {size}, "
                f"where {len(payload)} are stored"
            )
        stated = mask(self._running).to_bytes(4, "big" if big_endian else "little")
        if payload and payload[end : end + 4] != stated:
            raise CorruptCheckpoint("the checksum of the strings' lengths is not the one written")

    def crc(self) -> int:
        """Return the checksum that the tensor's entry must have, not masked."""
        return crc32c(self._payload[self._lengths_end :], self._running)

    def all(self) -> list[bytes]:
        """Return every string."""
        return self._cut(pairwise(accumulate(self._lengths, initial=self._begin)))

    def array(self, shape: tuple[int, ...]) -> "np.ndarray":
        """Return the strings as an array of objects."""
        return array_of(self.all(), shape)

    def part(self, shape: tuple[int, ...], index: Index) -> "np.ndarray":
        """Return `array(shape)[index]`, of which alone the strings are made."""
        import numpy as np

        numbers = np.asarray(np.arange(len(self._lengths)).reshape(shape)[index])
        ends = list(accumulate(self._lengths, initial=self._begin))
        places = ((ends[n], ends[n + 1]) for n in numbers.ravel().tolist())
        return array_of(self._cut(places), numbers.shape)

    def _cut(self, places: Iterable[tuple[int, int]]) -> list[bytes]:
        return [bytes(self._payload[begin:end]) for begin, end in places]


def array_of(strings: list[bytes], shape: tuple[int, ...]) -> "np.ndarray":
    """Return *strings* as an array of objects."""
    import numpy as np

    array = np.empty(len(strings), object)
    array[:] = strings
    return array.reshape(shape)


def lengths_in(payload: bytes | memoryview, count: int) -> tuple[list[int], int]:
    """Return the lengths of *count* strings in *payload*, and where these end."""
    if count > len(payload):  # before anything is made of a number from outside
        raise CorruptCheckpoint(f"{count} strings cannot stand in {len(payload)} bytes")
    lengths, at = [], 0
    for _ in range(count):
        length, at = read_varint(payload, at)
        lengths.append(length)
    return lengths, at


def packed_lengths(lengths: Sequence[int], big_endian: bool = False) -> bytes:
    """Return *lengths* as the checksum sees them."""
    order = ">" if big_endian else "<"
    if max(lengths, default=0) < 1 << 32:
        return struct.pack(f"{order}{len(lengths)}I", *lengths)
    return b"".join(struct.pack(order + ("I" if n < 1 << 32 else "Q"), n) for n in lengths)
