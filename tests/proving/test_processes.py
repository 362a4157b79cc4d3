"""A command and all below it, held and killed at one blow."""

import os
import sys
import time
from pathlib import Path

import pytest

from warmstart.proving import processes
from warmstart.proving.processes import everything_under, last_lines, started

#: Starts a child in a session of its own, as a launcher does with its workers, and works itself.
LAUNCHER = """
import pathlib, subprocess, sys, time
child = "import time, pathlib\\nwhile True:\\n    pathlib.Path('child').touch(); time.sleep(.01)"
subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
while True:
    pathlib.Path("parent").touch()
    time.sleep(0.01)
"""


def moves(path: Path) -> bool:
    """Return whether the file is touched within a third of a second."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    time.sleep(0.3)
    return path.exists() and path.stat().st_mtime_ns != before


def test_it_is_held_goes_on_and_dies_with_all_below_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    parent, child = tmp_path / "parent", tmp_path / "child"
    with started([sys.executable, "-c", LAUNCHER], tmp_path / "log", 60, {}) as process:
        while not child.exists():
            time.sleep(0.01)
        process.hold()
        assert not moves(parent)
        process.release()
        assert moves(parent)
        assert len(everything_under(process.popen.pid)) == 2
        process.kill()
        assert (moves(parent), moves(child)) == (False, False)
        assert process.code() == -9


def test_the_end_of_the_block_kills_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with started([sys.executable, "-c", LAUNCHER], tmp_path / "log", 60, {}):
        while not (tmp_path / "child").exists():
            time.sleep(0.01)
    assert not moves(tmp_path / "child")


def test_without_proc_it_is_the_process_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "PROC", tmp_path / "nowhere")
    assert everything_under(12) == [-12]
    with started(["sleep", "60"], tmp_path / "log", 60, {}) as process:
        process.kill()
        assert process.code() == -9


def test_one_that_is_gone_is_under_nobody(tmp_path: Path) -> None:
    with started(["true"], tmp_path / "log", 60, {}) as process:
        while process.code() is None:
            time.sleep(0.01)
        assert everything_under(process.popen.pid) == []
    assert os.getpid() in everything_under(os.getpid())


def test_the_end_of_what_was_printed(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"a\n" * 20 + b"1 %\r2 %\nlast\n\n")
    assert last_lines(tmp_path / "log", 3) == "    a\n    2 %\n    last"


def test_of_much_that_was_printed_the_end_is_read(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"x" * 2 * processes.TAIL)
    assert last_lines(tmp_path / "log") == "    " + "x" * processes.TAIL
