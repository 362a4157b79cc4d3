"""Room for arrays that goes back to the system at once."""

import errno
import mmap
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from warmstart.binary.room import LARGE, array_room

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what the process takes")


@pytest.mark.parametrize("shape", [(), (0, 5), (3, 5), (LARGE,)])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.bool_])
def test_room_is_an_array_like_any_other(shape: tuple[int, ...], dtype: type) -> None:
    room = array_room(shape, np.dtype(dtype))
    assert (room.shape, room.dtype) == (shape, dtype)
    assert room.flags.writeable
    assert room.flags.c_contiguous
    room[...] = 1
    assert (room == 1).all()


@pytest.mark.parametrize(("count", "error"), [(2**48, MemoryError), (2**62, ValueError)])
def test_more_than_there_is_fails_as_with_numpy(count: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        array_room((count,), np.dtype("float32"))


@LINUX
def test_large_room_begins_at_a_page_and_goes_back_at_once() -> None:
    before = resident()
    rooms = [array_room((LARGE,), np.dtype("int8")) for _ in range(40)]
    assert all(room.ctypes.data % mmap.PAGESIZE == 0 for room in rooms)
    for room in rooms:
        room[...] = 1
    full = resident()
    assert full > before + 36_000
    del room, rooms[:-1]
    assert resident() < full - 36_000


@LINUX
def test_a_system_without_huge_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", -1)
    assert array_room((LARGE,), np.dtype("int8")).nbytes == LARGE
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE")
    assert array_room((LARGE,), np.dtype("int8")).nbytes == LARGE


def test_a_process_that_has_as_many_maps_as_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", refuse)
    room = array_room((LARGE,), np.dtype("int8"))
    room[...] = 1
    assert room.sum() == LARGE


def resident() -> int:
    """Return the anonymous memory of this process, in kB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    raise AssertionError("RssAnon is missing")
