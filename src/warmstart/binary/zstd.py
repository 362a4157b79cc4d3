"""Zstandard frames, unpacked into no more room than whoever asks has for them.

The size in the header of a frame is a claim: it is compared with what is expected before any room
is made.  Through the package zstandard, which is looked for when it is first needed.
Source: RFC 8878.
"""

from functools import cache
from importlib import import_module
from typing import Any

from ..errors import CorruptCheckpoint

Buffer = bytes | memoryview

#: Bytes that one byte of a frame can stand for, with room to spare: a block of 128 KiB takes four.
MAX_RATIO = 40_000


@cache
def library() -> Any:
    """Return the package zstandard, None where it is not installed."""
    try:
        return import_module("zstandard")
    except ModuleNotFoundError:
        return None


def unpacked(frame: Buffer, limit: int, what: str) -> bytes:
    """Return what *frame* holds, at most *limit* bytes; errors are about *what*."""
    zstd = library()
    try:
        claimed = zstd.frame_content_size(frame)  # -1 where the header does not say
        if claimed <= limit:
            found: bytes = zstd.ZstdDecompressor().decompress(
                frame, max_output_size=limit, allow_extra_data=False
            )
            return found
    except zstd.ZstdError as error:
        raise CorruptCheckpoint(f"{what} is not a zstd frame of at most {limit} bytes") from error
    raise CorruptCheckpoint(f"{what} claims to unpack to {claimed} bytes; {limit} can be")


def unpack_into(frame: Buffer, room: memoryview, what: str) -> None:
    """Fill *room*, which is to be all that *frame* holds; errors are about *what*."""
    zstd = library()
    if len(room) > MAX_RATIO * len(frame):
        raise CorruptCheckpoint(f"{what} has {len(frame)} bytes, which cannot hold {len(room)}")
    done, more = 0, True
    try:
        with zstd.ZstdDecompressor().stream_reader(frame) as reader:
            while done < len(room) and (n := reader.readinto(room[done:])):
                done += n
            more = bool(reader.read(1))
    except zstd.ZstdError as error:
        raise CorruptCheckpoint(f"{what} is not a zstd frame: {error}") from error
    if more or done < len(room):
        raise CorruptCheckpoint(
            f"{what} unpacks to {'more than ' * more}{done} bytes, where {len(room)} are expected"
        )
