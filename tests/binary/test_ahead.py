"""Files read ahead of whoever needs them."""

import os
import threading
from pathlib import Path

import pytest

from warmstart.binary import ahead
from warmstart.binary.ahead import is_cached, reading_ahead


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return where blocks of 10 bytes are asked for, of which every second is in the cache."""
    places: list[int] = []

    def cached(descriptor: int, begin: int) -> bool:
        places.append(begin)
        return begin % 20 == 0

    monkeypatch.setattr(ahead, "is_cached", cached)
    monkeypatch.setattr(ahead, "BLOCK", 10)
    monkeypatch.setattr(ahead, "WORTH_READING_AHEAD", 50)
    return places


def files(folder: Path, *sizes: int) -> list[Path]:
    for i, size in enumerate(sizes):
        (folder / str(i)).write_bytes(bytes(size))
    return [folder / str(i) for i in range(len(sizes))]


def wait_for_threads() -> None:
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.daemon:
            thread.join(10)


def test_every_block_is_asked_for_once(
    asked: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    preadv = os.preadv
    monkeypatch.setattr(os, "preadv", lambda d, b, at: read.append(at) or preadv(d, b, at))
    with reading_ahead(files(tmp_path, 95, 0, 31)):
        wait_for_threads()
    assert sorted(asked) == sorted([*range(0, 95, 10), *range(0, 31, 10)])
    assert sorted(read) == [10, 10, 30, 30, 50, 70, 90]


def test_it_ends_with_the_block(
    asked: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = threading.Event()

    def slow(descriptor: int, begin: int) -> bool:
        asked.append(begin)
        first.set()
        return stopping.wait(10)

    stopping = threading.Event()
    monkeypatch.setattr(ahead, "is_cached", slow)
    before = set(threading.enumerate())
    with reading_ahead(files(tmp_path, 1000)):
        first.wait(10)
        threading.Timer(0.05, stopping.set).start()
    assert len(asked) <= ahead.THREADS
    assert {t for t in threading.enumerate() if t.daemon} <= before


@pytest.mark.parametrize("memory", [10, 0])
def test_more_than_the_memory_holds_is_left_alone(
    memory: int, asked: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "memory", lambda: memory)
    with reading_ahead(files(tmp_path, 100)):
        wait_for_threads()
    assert asked == []


def test_little_is_left_alone(asked: list[int], tmp_path: Path) -> None:
    with reading_ahead([*files(tmp_path, 49), tmp_path / "gone", tmp_path]):
        wait_for_threads()
    assert asked == []


def test_a_file_that_goes_is_no_fault(
    asked: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "size_of", lambda path: 100)
    with reading_ahead([tmp_path / "gone"]):
        wait_for_threads()
    assert asked == []


def test_what_was_just_written_is_cached(tmp_path: Path) -> None:
    (path,) = files(tmp_path, 5000)
    with path.open("rb") as file:
        assert is_cached(file.fileno(), 0)


def test_a_descriptor_that_cannot_tell_counts_as_cached() -> None:
    assert is_cached(-1, 0)
