"""Mapped files."""

import mmap
import os
import sys
from pathlib import Path

import pytest

from warmstart.binary.mapped import map_file, populate
from warmstart.errors import CheckpointError, CheckpointNotFound


@pytest.mark.parametrize("private", [False, True])
def test_the_bytes_of_a_file_outlive_it(private: bool, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    mapped = map_file(path, private=private)
    populate(mapped)
    path.unlink()
    assert bytes(mapped) == b"content"


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    mapped = map_file(tmp_path / "file")
    populate(mapped)
    assert mapped == b""


def test_writing_to_a_private_map_changes_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    mapped = map_file(tmp_path / "file", private=True)
    memoryview(mapped)[:1] = b"X"
    assert (tmp_path / "file").read_bytes() == b"content"


def test_another_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "elsewhere")
    test_writing_to_a_private_map_changes_no_file(tmp_path)


def test_a_system_that_maps_only_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"content")
    monkeypatch.setattr("warmstart.binary.mapped.NORESERVE", mmap.MAP_SHARED)
    mapped = map_file(tmp_path / "file", private=True)
    assert memoryview(mapped).readonly


def test_a_kernel_without_populating(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"content")
    monkeypatch.setattr("warmstart.binary.mapped.POPULATE_READ", 12345)
    populate(map_file(tmp_path / "file"))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound, match="absent is not there"):
        map_file(tmp_path / "absent")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read: it is no regular file"):
        map_file(tmp_path)


def test_a_pipe_that_nobody_writes_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="pipe cannot be read: it is no regular file"):
        map_file(tmp_path / "pipe")
