"""Streams: the same bytes however they are cut, and what the system refuses."""

import errno
from collections.abc import Callable
from io import FileIO
from pathlib import Path

import numpy as np
import pytest

from warmstart.binary import stream
from warmstart.binary.checksum import crc32c
from warmstart.binary.stream import LARGE, Stream


@pytest.fixture
def file(tmp_path: Path) -> FileIO:
    with FileIO(tmp_path / "file", "w+") as opened:
        yield opened


def content(file: FileIO) -> bytes:
    file.seek(0)
    return file.readall()


@pytest.fixture(params=[1, 100, 1 << 20])
def large(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take buffers of so many bytes, and more, for large ones."""
    monkeypatch.setattr(stream, "LARGE", request.param)
    monkeypatch.setattr(stream, "WRITEBACK", 1000)
    monkeypatch.setattr(stream, "GATHERED", 7)


@pytest.mark.usefixtures("large")
def test_any_buffers_in_a_row(file: FileIO) -> None:
    pieces = [bytes([i]) * (i * 13) for i in range(100)]
    written = Stream(file)
    for piece in pieces:
        written.write(piece)
    written.flush()
    assert content(file) == b"".join(pieces)
    assert written.position == sum(map(len, pieces))


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("nbytes", [0, 1, 64, 99, 128, 5000])
def test_aligned_buffers(nbytes: int, file: FileIO) -> None:
    buffers = [np.full(nbytes, i, np.uint8) for i in range(5)]
    written = Stream(file, expected=10)
    written.write(b"before")
    offsets, crcs = written.write_aligned(buffers, nbytes, 64)
    written.flush()
    raw = content(file)
    assert [offset % 64 for offset in offsets] == [0] * 5
    assert [raw[offset : offset + nbytes] for offset in offsets] == [b.tobytes() for b in buffers]
    assert list(crcs) == [crc32c(buffer) for buffer in buffers]
    assert len(raw) == offsets[-1] + nbytes == written.position


def test_a_write_that_is_taken_in_part(file: FileIO, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(descriptor: int, buffers: list[bytes]) -> int:
        return file.write(b"".join(buffers)[:5])

    monkeypatch.setattr("os.writev", half)
    written = Stream(file)
    written.write(b"abcd")
    written.write(np.frombuffer(b"efgh", "<u2"))
    written.flush()
    assert content(file) == b"abcdefgh"


def c_library(result: int, code: int) -> Callable[..., object]:
    """Return a stand-in for `c_function` whose functions return *result* and set *code*."""
    import ctypes

    def function(*arguments: int) -> int:
        ctypes.set_errno(code)
        return result

    return lambda *names: function


def test_a_full_disk_is_found_out_at_once(file: FileIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "c_function", c_library(-1, errno.ENOSPC))
    with pytest.raises(OSError, match="No space left on device"):
        Stream(file, expected=1000)


def test_a_file_system_that_cannot_reserve(file: FileIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "c_function", c_library(-1, errno.EOPNOTSUPP))
    assert Stream(file, expected=1000).position == 0


def test_a_system_without_these_calls(file: FileIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "c_function", lambda *names: None)
    stream.start_writeback.cache_clear()
    written = Stream(file, expected=1000)
    written.write(b"x" * 10)
    written.flush()
    stream.start_writeback.cache_clear()
    assert content(file) == b"x" * 10


def test_a_function_that_the_c_library_does_not_have() -> None:
    assert stream.c_function("no_such_function_anywhere") is None


@pytest.mark.parametrize("nbytes", [0, 1, LARGE - 1, LARGE, 3 * LARGE + 1])
def test_something_reckoned_beside_the_write(nbytes: int, tmp_path: Path) -> None:
    data = bytes(range(251)) * (nbytes // 251) + bytes(nbytes % 251)
    with FileIO(tmp_path / "file", "w") as file:
        stream = Stream(file)
        assert stream.write_beside(data, crc32c) == crc32c(data)
        stream.flush()
        assert stream.position == nbytes
    assert (tmp_path / "file").read_bytes() == data
