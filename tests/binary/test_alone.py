"""One save at a time in a folder."""

import errno
import os
import time
from pathlib import Path

import pytest

from warmstart.binary import alone
from warmstart.binary.alone import alone_in


def test_another_process_waits(tmp_path: Path) -> None:
    heard, said = os.pipe()
    child = os.fork()
    if child == 0:
        with alone_in(tmp_path):
            os.write(said, b"1")
            time.sleep(0.2)
            (tmp_path / "done").touch()
        os._exit(0)
    os.read(heard, 1)
    with alone_in(tmp_path):
        assert (tmp_path / "done").exists()
    os.waitpid(child, 0)


def test_a_child_made_meanwhile_holds_nobody_up(tmp_path: Path) -> None:
    gone_on, told = os.pipe()
    with alone_in(tmp_path):
        child = os.fork()
        if child == 0:
            os.read(gone_on, 1)
            os._exit(0)
    with alone_in(tmp_path):
        os.write(told, b"1")
    os.waitpid(child, 0)


def test_without_locks_or_a_folder_nobody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, how: int) -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    with alone_in(tmp_path / "gone"):
        monkeypatch.setattr(alone.fcntl, "flock", refuse)
        with alone_in(tmp_path), alone_in(tmp_path):
            monkeypatch.setattr(alone, "fcntl", None)
            with alone_in(tmp_path):
                assert list(tmp_path.iterdir()) == []
