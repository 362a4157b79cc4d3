"""Frames of zstd: room is made for what is expected, whatever a frame claims."""

import pytest
import zstandard

from warmstart.binary import zstd
from warmstart.errors import CorruptCheckpoint

VALUES = bytes(range(256)) * 4000
STREAMED = zstandard.ZstdCompressor(write_content_size=False).compress(VALUES)
FRAMES = {"that says its size": zstandard.compress(VALUES), "that does not": STREAMED}


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame(kind: str) -> None:
    room = bytearray(len(VALUES))
    zstd.unpack_into(FRAMES[kind], memoryview(room), "it")
    assert room == VALUES
    assert zstd.unpacked(FRAMES[kind], len(VALUES), "it") == VALUES


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_of_another_size(kind: str) -> None:
    frame = FRAMES[kind]
    with pytest.raises(CorruptCheckpoint, match=r"it unpacks to more than 1023999 bytes, where"):
        zstd.unpack_into(frame, memoryview(bytearray(len(VALUES) - 1)), "it")
    with pytest.raises(CorruptCheckpoint, match=r"it unpacks to 1024000 bytes, where 1024001 are"):
        zstd.unpack_into(frame, memoryview(bytearray(len(VALUES) + 1)), "it")
    with pytest.raises(CorruptCheckpoint, match="it unpacks to more than 0 bytes"):
        zstd.unpack_into(frame, memoryview(b""), "it")


def test_a_frame_that_holds_more_than_allowed() -> None:
    with pytest.raises(CorruptCheckpoint, match="it claims to unpack to 1024000 bytes; 1000 can"):
        zstd.unpacked(FRAMES["that says its size"], 1000, "it")
    with pytest.raises(CorruptCheckpoint, match="it is not a zstd frame of at most 1000 bytes"):
        zstd.unpacked(STREAMED, 1000, "it")


def test_room_that_no_frame_of_its_size_could_fill() -> None:
    """The room is the caller's; memory is taken only where something is written to it."""
    with pytest.raises(CorruptCheckpoint, match="it has 4 bytes, which cannot hold 1000000"):
        zstd.unpack_into(b"1234", memoryview(bytearray(1_000_000)), "it")


def test_bytes_that_are_no_frame() -> None:
    with pytest.raises(CorruptCheckpoint, match=r"it is not a zstd frame: .*Unknown frame"):
        zstd.unpack_into(b"no frame at all", memoryview(bytearray(100)), "it")


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_cut_short(kind: str) -> None:
    frame = FRAMES[kind]
    for size in range(1, len(frame) - 4, 7):
        with pytest.raises(CorruptCheckpoint, match="it "):
            zstd.unpack_into(frame[:size], memoryview(bytearray(len(VALUES))), "it")
        with pytest.raises(CorruptCheckpoint, match="it "):
            zstd.unpacked(frame[:size], len(VALUES), "it")
