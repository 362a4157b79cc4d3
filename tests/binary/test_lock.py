"""One run at a time saves into a folder, whatever the other process, host or file system."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from warmstart.binary import holder, lock
from warmstart.binary.holder import Holder, is_gone, parsed, this_process
from warmstart.binary.lock import NAME, flocked, hold, holder_of, remove_left
from warmstart.errors import SaveError

GONE = 2**22 + 1  # more than the system ever gives
PARENT = {"pid": os.getppid(), "started": holder.started(os.getppid())}
PROGRAM = """
import sys
from pathlib import Path
from warmstart.binary.lock import hold
lock = hold(Path(sys.argv[1]), None)
lock.announce("model-20", "model-15", "{}")
print("held", flush=True)
sys.stdin.read()
lock.release()
"""


@contextmanager
def another(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Yield a process that holds *folder* until its standard input ends."""
    command = [sys.executable, "-c", PROGRAM, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "held\n"
        yield process


def left(folder: Path, **words: object) -> Holder:
    """Leave in *folder* the lock of a holder like this process but for *words*."""
    holder = replace(this_process(), **words)  # type: ignore[arg-type]
    (folder / NAME).write_text(json.dumps(asdict(holder)) + "\n")
    return holder


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without locks."""

    def refuse(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    monkeypatch.setattr(lock, "PAUSE", 0.0)


def test_another_process_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    with another(tmp_path) as first:
        expected = (
            f"is being saved into by another run: process {first.pid} on host "
            rf"{socket.gethostname()}, since \d{{4}}-\d\d-\d\d .*; stop that one, or save into "
            "another folder$"
        )
        with pytest.raises(SaveError, match=expected):
            hold(tmp_path, None)
        first.communicate("")
    hold(tmp_path, None).release()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_holds_nothing_and_what_it_was_saving_is_known(tmp_path: Path) -> None:
    with another(tmp_path) as first:
        first.kill()
    told = holder_of(tmp_path)
    assert told is not None
    assert (told.pid, told.saving, told.after) == (first.pid, "model-20", "model-15")
    mine = hold(tmp_path, None)
    assert (mine.holder.pid, mine.holder.saving) == (os.getpid(), "model-20")
    mine.announce("model-4", "")
    told = holder_of(tmp_path)
    assert told is not None
    assert (told.saving, told.after, told.note) == ("model-4", "", "")
    mine.release()


def test_of_two_that_come_after_a_killed_one_the_first_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left(tmp_path, pid=GONE)
    with (tmp_path / NAME).open("rb") as first:
        flocked(first.fileno())  # and says so a moment later
        monkeypatch.setattr(lock.time, "sleep", lambda seconds: left(tmp_path, **PARENT))
        with pytest.raises(SaveError, match=f"another run: process {os.getppid()} on host"):
            hold(tmp_path, None)


def test_what_came_in_place_of_a_killed_ones_is_not_removed(tmp_path: Path) -> None:
    left(tmp_path, pid=GONE)
    with (tmp_path / NAME).open("rb") as old:
        (tmp_path / NAME).unlink()
        mine = hold(tmp_path, None)
        remove_left(old.fileno(), tmp_path / NAME)
        assert holder_of(tmp_path) == mine.holder
        mine.release()


def test_workers_that_outlive_a_killed_process_do_not_hold_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "PAUSE", 0.0)
    left(tmp_path, pid=GONE)
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:  # has the file open and locked, as after a fork that Python did not see
        flocked(os.open(tmp_path / NAME, os.O_RDWR))
        os.write(ready[1], b"1")
        os.read(done[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    hold(tmp_path, None).release()
    os.write(done[1], b"1")
    os.waitpid(child, 0)


def test_a_forked_child_holds_nothing(tmp_path: Path) -> None:
    mine = hold(tmp_path, None)
    child = os.fork()
    if child == 0:
        os._exit(int(bool(lock.HELD)))
    assert os.waitpid(child, 0)[1] == 0
    assert f"another run: process {os.getpid()} on host" in error_of_another(tmp_path)
    mine.release()


def error_of_another(folder: Path) -> str:
    """Return what another process says that wants *folder*."""
    command = [sys.executable, "-c", PROGRAM, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def test_one_owner_may_hold_it_twice_and_another_may_not(tmp_path: Path) -> None:
    owner = object()
    first, second = hold(tmp_path, owner), hold(tmp_path / ".", owner)
    first.release()
    with pytest.raises(SaveError, match=r"another run of this very process, since .*; let that"):
        hold(tmp_path, object())
    second.release()
    hold(tmp_path, object()).release()


def test_a_linked_folder_is_the_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    mine = hold(tmp_path / "link", None)
    with pytest.raises(SaveError, match="another run of this very process"):
        hold(tmp_path / "real", object())
    mine.release()


@pytest.mark.usefixtures("no_flock")
class TestWithoutLocks:
    """The words in the file decide."""

    def test_the_first_holds_it(self, tmp_path: Path) -> None:
        hold(tmp_path, None).release()
        assert list(tmp_path.iterdir()) == []

    def test_a_running_process_is_respected(self, tmp_path: Path) -> None:
        left(tmp_path, **PARENT)
        with pytest.raises(SaveError, match=f"another run: process {os.getppid()} on host"):
            hold(tmp_path, None)

    def test_what_this_process_could_not_give_back_it_may_take_again(self, tmp_path: Path) -> None:
        left(tmp_path)
        hold(tmp_path, None).release()

    @pytest.mark.parametrize(
        "words",
        [{"pid": GONE}, {"pid": 2**70}, {"started": "1"}, {"boot": "another", "space": "x"}],
        ids=["gone", "impossible", "its number used again", "the host started anew"],
    )
    def test_one_that_is_gone_is_taken_over(self, words: dict[str, object], tmp_path: Path) -> None:
        left(tmp_path, **words, saving="model-5")
        mine = hold(tmp_path, None)
        mine.make_sure()
        mine.release()

    @pytest.mark.parametrize(
        "words", [{"host": "node7", "boot": "another"}, {"space": "pid:[1]"}], ids=str
    )
    def test_one_that_cannot_be_seen_from_here_is_respected(
        self, words: dict[str, object], tmp_path: Path
    ) -> None:
        left(tmp_path, **words)
        with pytest.raises(SaveError, match=f"if it does not run any more, delete .*{NAME}"):
            hold(tmp_path, None)

    @pytest.mark.parametrize("words", ["", '{"host": "nod'])
    def test_a_file_that_a_kill_kept_from_naming_anybody_is_taken_over(
        self, words: str, tmp_path: Path
    ) -> None:
        (tmp_path / NAME).write_text(words)
        hold(tmp_path, None).release()

    def test_a_file_that_is_just_being_written_is_waited_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / NAME).touch()
        monkeypatch.setattr(lock.time, "sleep", lambda seconds: left(tmp_path, **PARENT))
        with pytest.raises(SaveError, match=f"another run: process {os.getppid()} on host"):
            hold(tmp_path, None)


def test_one_who_locks_and_does_not_say_who_it_is_is_respected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "PAUSE", 0.0)
    with (tmp_path / NAME).open("w") as file:
        flocked(file.fileno())
        with pytest.raises(SaveError, match=r"a process that does not say which; .* delete"):
            hold(tmp_path, None)


def test_one_of_another_host_whose_lock_is_free_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left(tmp_path, host="node7", boot="another")
    hold(tmp_path, None).release()
    assert "on host node7, since" in caplog.text
    assert "which did not give it back; if it still runs, stop it" in caplog.text


def test_a_run_that_was_taken_over_saves_no_more(tmp_path: Path) -> None:
    mine = hold(tmp_path, None)
    (tmp_path / NAME).unlink()
    with another(tmp_path) as other:
        with pytest.raises(SaveError, match=f"another run: process {other.pid} on host"):
            mine.announce("model-5", "")
        other.kill()
    mine.release()
    assert (tmp_path / NAME).exists()  # it is not this run's to remove


def test_a_lock_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    mine = hold(tmp_path, None)
    (tmp_path / NAME).unlink()
    mine.announce("model-5", "")
    assert f"another run: process {os.getpid()} on host" in error_of_another(tmp_path)
    mine.release()


def test_a_lock_that_is_made_again_says_whose_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "flocked", lambda descriptor: None)  # words alone decide
    mine = hold(tmp_path, None)
    (tmp_path / NAME).unlink()
    mine.make_sure()
    mine.make_sure()
    assert holder_of(tmp_path) == mine.holder
    mine.release()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_removed_is_made_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    mine = hold(folder, None)
    (folder / NAME).unlink()
    folder.rmdir()
    mine.announce("model-5", "")
    assert "log was removed during the run, and is made again" in caplog.text
    mine.release()
    assert list(folder.iterdir()) == []


def test_a_file_that_was_given_back_in_between_is_asked_for_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = lock.flocked, []

    def flocked(descriptor: int) -> bool | None:
        calls.append(descriptor)
        if len(calls) == 1:
            (tmp_path / NAME).unlink()
        return real(descriptor)

    monkeypatch.setattr(lock, "flocked", flocked)
    monkeypatch.setattr(lock, "PAUSE", 0.0)
    hold(tmp_path, None).release()
    assert len(calls) == 2


@pytest.mark.parametrize("function", ["open", "pwrite"])
def test_a_folder_that_cannot_be_written_is_refused_at_once(
    function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(lock.os, function, refuse)
    with pytest.raises(SaveError, match=r"nothing can be saved into .*: Read-only file system; wh"):
        hold(tmp_path, None)
    assert not lock.HELD


def test_shorter_words_leave_nothing_of_longer_ones(tmp_path: Path) -> None:
    mine = hold(tmp_path, None)
    mine.announce("model-5", "model-4" * 100)
    mine.announce("model-5", "")
    assert (tmp_path / NAME).read_text().count("\n") == 1
    mine.release()


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"1", b'{"pid": 1}', b"\xff", b"[" * 9999,
            b'{"host": "a", "pid": "1", "since": ""}', b'{"host": 1, "pid": 1, "since": ""}']
)  # fmt: skip
def test_what_names_nobody(raw: bytes) -> None:
    assert parsed(raw) is None


def test_a_process_that_ended_and_was_not_asked_how_is_gone(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        alive = replace(this_process(), pid=process.pid, started=holder.started(process.pid))
        assert not is_gone(alive, rebooted=False)
        os.kill(process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert is_gone(alive, rebooted=False)


def test_where_the_system_tells_little_the_host_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holder, "boot", lambda: "")
    monkeypatch.setattr(holder, "space", lambda: "")
    assert holder.is_here(this_process())
    assert not holder.is_here(replace(this_process(), host="node7"))
