"""What is left after a save that did not come to its end: a kill, a full or a failing disk.

    template/                     a folder as it is before the save, an old checkpoint in it
    save(folder)                  saves a new one there
    find(folder)                  returns what can be loaded there, the old or the new

    for trial in trials(template, save, find, Fault.KILLED, scratch):
        assert trial.found in (old, new)

A point is a call by which the save changes a file: of `os`, of an unbuffered file, or of `open`.
Each trial runs on a fresh copy of *template* and stops the save at one point: before the call, or
in the middle of a write.  To be killed, the save runs in a forked child that kills itself for real,
so that no `finally` and no `except` of the save can tidy up.

Writes by extension modules are not seen: `record` tells the bytes that were, to be compared with
the size of the files.  Nothing is really synced, which only a power cut would show; `undurable`
tells from the order of the calls what one could undo.
"""

import builtins
import errno
import io
import os
import shutil
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any
from unittest import mock

from ..binary import folder as folders
from ..binary import lock, stream
from ..errors import CheckpointError

EXCHANGE = "exchange"  # of two folders' names
RENAMES = ("rename", "replace", "link", "symlink")
REMOVALS = ("unlink", "remove", "rmdir")
SYNCS = ("fsync", "fdatasync")
WRITES = ("write", "pwrite", "writev")
#: The functions of `os` that change files or folders, besides `open` and the writes.
CHANGES = (
    *RENAMES, *REMOVALS, *SYNCS, "ftruncate", "truncate", "posix_fallocate", "mkdir", "sendfile",
    "copy_file_range",
)  # fmt: skip


class Fault(Enum):
    """How a save is stopped at a point."""

    FULL = "the disk is full: the call fails"
    FAILING = "the disk fails: the call does, a sync or a removal too"
    READ_ONLY = "from the call on the system lets nothing be changed, as it does when a disk fails"
    SHORT = "the system takes half of a write, and the rest when it is asked again"
    KILLED = "the process is killed before the call"
    TORN = "the process is killed when half of a write is done"
    CUT_OFF = "the same as killed, as far as files can tell, for what cannot be forked"


class CutOff(BaseException):
    """Raised at every call from the one on at which the process would have been killed."""


#: What the system says to a fault.
ERRORS = {Fault.FULL: errno.ENOSPC, Fault.FAILING: errno.EIO, Fault.READ_ONLY: errno.EROFS}
#: Faults that do not pass.
LASTING = (Fault.READ_ONLY, Fault.CUT_OFF)


@dataclass(frozen=True, slots=True)
class Point:
    """One call that changes the file at *path*; a rename changes its name to *to*."""

    index: int
    call: str
    path: str
    nbytes: int = 0
    to: str = ""

    def allows(self, fault: Fault) -> bool:
        """Return whether *fault* can happen here: a full disk does not hinder a removal."""
        if fault is Fault.FULL:
            return self.call not in REMOVALS
        return fault not in (Fault.SHORT, Fault.TORN) or self.nbytes >= 2


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of a save stopped at *point*: its error, what was found, the files there."""

    point: Point
    error: CheckpointError | None
    found: Any
    files: tuple[str, ...]


def record(save: Callable[[], object]) -> list[Point]:
    """Return the points of *save*, which runs to its end."""
    watch = Watch()
    with watching(watch):
        save()
    return watch.points


def trials(
    template: Path,
    save: Callable[[Path], object],
    find: Callable[[Path], Any],
    fault: Fault,
    scratch: Path,
    *,
    stride: int = 1,
    points: Sequence[Point] | None = None,
) -> Iterator[Trial]:
    """Yield a trial for every point of *save* that allows *fault*, or every *stride*-th of them.

    The save may raise CheckpointError, which the trial holds; any other error goes through.
    *points* are those of the save where they are known; else it runs to its end first.
    """
    if points is None:
        whole = copied(template, scratch)
        points = record(lambda: save(whole))
    for point in [point for point in points if point.allows(fault)][::stride]:
        folder = copied(template, scratch)
        watch = Watch(fault, point.index)
        run = killed if fault in (Fault.KILLED, Fault.TORN) else stopped
        error = run(save, folder, watch)
        files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))
        yield Trial(point, error, find(folder), tuple(files))


def copied(template: Path, folder: Path) -> Path:
    """Return *folder*, made anew as a copy of *template*."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder, symlinks=True)
    return folder


def stopped(save: Callable[[Path], object], folder: Path, watch: "Watch") -> CheckpointError | None:
    """Return what *save* raises in this process."""
    try:
        with watching(watch):
            save(folder)
    except CheckpointError as error:
        return error
    except CutOff:
        lock.forget_all()  # as the system does for a process that is killed
    return None


def killed(save: Callable[[Path], object], folder: Path, watch: "Watch") -> None:
    """Run *save* in a child that *watch* kills."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # to fork beside threads
        child = os.fork()
    if child == 0:
        try:
            with watching(watch):
                save(folder)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
        raise RuntimeError(f"the save was not killed at its point; its exit status is {status}")


def undurable(points: Iterable[Point]) -> list[str]:
    """Return what a power cut could undo or mix, by the order of the calls.

    A file has to be synced before it gets its name, the folder after, and only then may what was
    there before be removed.
    """
    faults, unsynced, pending = [], set[str](), dict[str, str]()
    for point in points:
        if point.nbytes:
            unsynced.add(point.path)
        if point.call in SYNCS:
            unsynced.discard(point.path)
            pending.pop(point.path, None)
        if point.call in (*RENAMES, EXCHANGE):
            if any(f == point.path or f.startswith(point.path + os.sep) for f in unsynced):
                faults.append(f"{point.to} got its name before it was synced")
            pending[os.path.dirname(point.to)] = point.to
        if point.call in REMOVALS and pending:
            faults.append(f"{point.path} was removed before {', '.join(pending.values())} was safe")
    return faults + [f"the folder {folder} was not synced" for folder in pending]


class Watch:
    """Counts the calls, and lets *fault* happen at the one with the number *stop*."""

    def __init__(self, fault: Fault | None = None, stop: int = -1) -> None:
        self.points: list[Point] = []
        self._fault = fault
        self._stop = stop

    def passes(self, call: str, place: Any, nbytes: int = 0, to: Any = "") -> bool:
        """Note a call; return False if only half of its bytes shall be written."""
        point = Point(len(self.points), call, path_of(place), nbytes, os.fsdecode(to))
        self.points.append(point)
        lasts = self._fault in LASTING and 0 <= self._stop < point.index
        if point.index != self._stop and not lasts:
            return True
        if self._fault in ERRORS:
            code = ERRORS[self._fault]
            raise OSError(code, os.strerror(code), point.path)
        if self._fault is Fault.CUT_OFF:
            raise CutOff(point)
        if self._fault is Fault.KILLED:
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    def write(self, call: str, place: Any, data: Any, write: Callable[[Any], int]) -> int:
        """Do what *write* does, or half of it."""
        flat = memoryview(data).cast("B")
        if self.passes(call, place, len(flat)):
            return write(flat)
        written = write(flat[: len(flat) // 2])
        if self._fault is Fault.TORN:
            os.kill(os.getpid(), signal.SIGKILL)
        return written


def path_of(place: Any) -> str:
    """Return the path of an open descriptor, or the path itself."""
    return os.readlink(f"/proc/self/fd/{place}") if isinstance(place, int) else os.fsdecode(place)


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Send every call that changes a file past *watch*."""
    file_class = watched_file(watch)
    opener = watched_open(file_class)
    modules = [m for name, m in list(sys.modules.items()) if name.partition(".")[0] == "warmstart"]
    with ExitStack() as stack:

        def patch(owner: Any, name: str, new: Any) -> None:
            stack.enter_context(mock.patch.object(owner, name, new))

        for name in CHANGES:
            patch(os, name, watched_change(watch, name))
        for name in WRITES:
            patch(os, name, watched_write(watch, name))
        patch(os, "open", watched_os_open(watch))
        patch(io, "open", opener)
        patch(builtins, "open", opener)
        patch(stream, "reserve", watched_reserve(watch))
        patch(folders, "exchange_at_once", watched_exchange(watch))
        for module in modules:
            if vars(module).get("FileIO") is io.FileIO:
                patch(module, "FileIO", file_class)
        yield


def watched_change(watch: Watch, name: str) -> Callable[..., Any]:
    """Return the function *name* of `os`, watched; a sync is noted and not done."""
    real = getattr(os, name)

    def change(place: Any, *args: Any, **options: Any) -> Any:
        watch.passes(name, place, to=args[0] if name in RENAMES else "")
        return None if name in SYNCS else real(place, *args, **options)

    return change


def watched_write(watch: Watch, name: str) -> Callable[..., int]:
    """Return `os.write` or one of its kind, watched; several buffers are written as one."""
    real = getattr(os, name)

    def write(descriptor: int, data: Any, *offset: int) -> int:
        def some(flat: memoryview) -> int:
            written: int = real(descriptor, [flat] if name == "writev" else flat, *offset)
            return written

        whole = b"".join(map(bytes, data)) if name == "writev" else data
        return watch.write(name, descriptor, whole, some)

    return write


def watched_os_open(watch: Watch) -> Callable[..., int]:
    """Return `os.open`, watched where it opens for writing."""
    real = os.open

    def open_(path: Any, flags: int, *args: Any, **options: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
            watch.passes("open", path)
        return real(path, flags, *args, **options)

    return open_


def watched_reserve(watch: Watch) -> Callable[[int, int], None]:
    """Return `reserve` of the streams, watched; it goes past `os`."""
    real = stream.reserve

    def reserve(descriptor: int, nbytes: int) -> None:
        watch.passes("fallocate", descriptor)
        real(descriptor, nbytes)

    return reserve


def watched_exchange(watch: Watch) -> Callable[[Path, Path], bool]:
    """Return the exchange of two folders, watched; it goes past `os`."""
    real = folders.exchange_at_once

    def exchange(new: Path, path: Path) -> bool:
        watch.passes(EXCHANGE, new, to=path)
        return real(new, path)

    return exchange


def watched_file(watch: Watch) -> type[io.FileIO]:
    """Return the class of unbuffered files, watched."""

    class WatchedFile(io.FileIO):
        def __init__(self, file: Any, mode: str = "r", *args: Any, **options: Any) -> None:
            if not isinstance(file, int) and mode != "r":
                watch.passes("open", file)
            super().__init__(file, mode, *args, **options)

        def write(self, data: Any) -> int:
            return watch.write("write", self.fileno(), data, super().write)

        def truncate(self, size: int | None = None) -> int:
            watch.passes("ftruncate", self.fileno())
            return super().truncate(size)

    return WatchedFile


def watched_open(file_class: type[io.FileIO]) -> Callable[..., Any]:
    """Return `open`, whose files for writing are on *file_class*."""
    real = io.open

    def open_(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        if not set(mode) & set("wax+"):
            return real(file, mode, *args, **options)
        names = ("buffering", "encoding", "errors", "newline", "closefd", "opener")
        options |= zip(names, args, strict=False)
        buffering = options.pop("buffering", -1)
        raw_options = {n: options.pop(n) for n in ("closefd", "opener") if n in options}
        raw = file_class(file, mode.replace("b", "").replace("t", ""), **raw_options)
        if buffering == 0:
            return raw
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        if "b" in mode:
            return buffered
        return io.TextIOWrapper(buffered, **options, line_buffering=buffering == 1)

    return open_
