"""What a reader must not do, whatever the bytes: tried on one input.

    outcome = tried(path, "gguf")      # "read" or "refused"; raises Finding for anything else

A finding is: an error that is no CheckpointError, values that are not what the specs say, memory
beyond a small multiple of the files, work without an end, a file opened outside the folder, code
run, a process started.
"""

import logging
import signal
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from warmstart import formats
from warmstart.errors import CheckpointError
from warmstart.source import Source
from warmstart.spec import TensorSpec, spec_of

#: Seconds that one input may take.
PATIENCE = 20
#: Bytes of memory that one input may take: so many, and so many times the size of its files.
MEMORY_BASE, MEMORY_TIMES = 24 << 20, 40

#: Tensors of one input that are read.
MOST_READ = 200

#: What no reader does.
FORBIDDEN = ("os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn",
             "subprocess.Popen", "exec", "compile", "import", "pickle.find_class", "ctypes.dlopen",
             "socket.connect", "os.remove", "os.rename", "os.mkdir", "shutil.rmtree")  # fmt: skip


#: What may be imported late: this library, and what it reads with.
OURS = {"warmstart", "numpy", "ml_dtypes", "encodings", "unicodedata", "crc32c", "isal"}


class Finding(Exception):
    """A reader did what it must not do."""


class TooLong(BaseException):
    """An input took longer than it may."""


class Guard:
    """The audit hook: what happens while an input is read."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.broken: list[str] = []
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folder is None:
            return
        if event == "open":
            self._opened(arguments)
        elif event in FORBIDDEN and not self._harmless(event, arguments):
            self.broken.append(f"{event} {str(arguments)[:200]}")

    def _opened(self, arguments: tuple[Any, ...]) -> None:
        path, mode = arguments[0], arguments[1]
        if isinstance(path, bytes):
            path = path.decode(errors="replace")
        if isinstance(path, str | Path) and not inside(Path(path), self.folder):
            self.broken.append(f"opened {path}")
        if isinstance(mode, str) and set(mode) & set("wax+"):
            self.broken.append(f"opened {path} to write")

    def _harmless(self, event: str, arguments: tuple[Any, ...]) -> bool:
        """Return whether the event is Python or this library at work, not a file's doing.

        `ast.literal_eval` compiles to a tree under the name "<unknown>", and runs nothing.
        """
        if event == "import":
            name = str(arguments[0])
            return name in sys.modules or name.partition(".")[0] in OURS
        if event == "compile":
            return arguments[1] == "<unknown>"
        if event == "exec":
            return inside(Path(arguments[0].co_filename), None)
        return False


def inside(path: Path, folder: Path | None) -> bool:
    """Return whether *path* lies in *folder*, or in Python itself (a module imported late)."""
    found = path.resolve()
    libraries = (Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve())
    here = folder is not None and found.is_relative_to(folder.resolve())
    return here or found.suffix in (".py", ".pyc") or any(map(found.is_relative_to, libraries))


@cache
def guard() -> Guard:
    """Return the guard of this process; an audit hook stays for good."""
    return Guard()


def tried(
    path: Path, format: str | None = None, *, verify: bool = True, traced: bool = True
) -> str:
    """Return whether what stands at *path* was "read" or "refused"; raise a Finding."""
    watch = guard()
    root = path.parent if not path.is_dir() else path
    size = sum(p.stat().st_size for p in root.rglob("*") if p.is_file())
    watch.broken.clear()
    watch.folder = None if format and in_child(format) else root
    try:
        with bounded(PATIENCE), measured(size, traced), quiet():
            return outcome_of(path, format, verify)
    except CheckpointError:
        return "refused"
    except TooLong as error:
        raise Finding(f"took longer than {PATIENCE} s") from error
    except Finding:
        raise
    except Exception as error:
        raise Finding(f"{type(error).__name__} escaped: {error}") from error
    finally:
        watch.folder = None
        if watch.broken:
            raise Finding("; ".join(watch.broken[:5]))


def in_child(format: str) -> bool:
    """Return whether files of *format* are read in a child process, which is started for them."""
    return hasattr(formats.format_named(format), "C_LIBRARY")


@contextmanager
def quiet() -> Iterator[None]:
    """Let no warning through in the block: those of each input are no news."""
    logger = logging.getLogger("warmstart")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def bounded(seconds: int) -> Iterator[None]:
    """Raise TooLong when the block takes longer than *seconds*."""

    def ring(number: int, frame: Any) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def measured(size: int, traced: bool) -> Iterator[None]:
    """Raise a Finding when the block takes more memory than files of *size* bytes allow."""
    if not traced:
        yield
        return
    tracemalloc.start()
    try:
        yield
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        if peak > MEMORY_BASE + MEMORY_TIMES * size:
            raise Finding(f"took {peak:,} bytes of memory for files of {size:,}")


def outcome_of(path: Path, format: str | None, verify: bool) -> str:
    """Do with *path* all that can be done; an error after opening concerns one thing only."""
    if format is None:
        format, path = formats.locate(path)
    else:
        found = formats.format_named(format).locate(path)
        if found is None:
            return "refused"
        path = found
    with formats.open_as(format, path, verify=verify, untrusted=True) as source:
        refused = [task for task in tasks(source) if not done(task)]
    return "refused" if refused else "read"


def tasks(source: Source) -> Iterator[Any]:
    """Yield all that is asked of a source, as functions."""
    specs = dict(list(source.specs.items()))
    yield lambda: dict(source.metadata)
    yield lambda: [source.read(alias).shape for alias in list(source.aliases)[:MOST_READ]]
    yield lambda: dict(source.stored)
    yield lambda: list(source.unclaimed() or ())
    yield lambda: list(source.read_order())
    yield lambda: source.check(specs)
    for name, spec in list(specs.items())[:MOST_READ]:
        yield lambda name=name, spec=spec: read(source, name, spec)


def done(task: Any) -> bool:
    """Return whether *task* was done, and not refused."""
    try:
        task()
    except CheckpointError:
        return False
    return True


def read(source: Source, name: str, spec: TensorSpec) -> None:
    """Read a tensor whole and in part, and compare both with what was said of it."""
    array = source.read(name)
    found = spec_of(name, array, spec.role)
    if found != spec:
        raise Finding(f"{name!r} is {found}, but was said to be {spec}")
    if spec.shape:
        part = source.read_slice(name, slice(0, 2))
        if part.shape != array[:2].shape or part.dtype != array.dtype:
            raise Finding(f"a part of {name!r} is {part.shape} {part.dtype}")
