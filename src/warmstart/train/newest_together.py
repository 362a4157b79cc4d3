"""The checkpoint to go on from, found out by several processes: each reads its share of the bytes.

Process 0 looks at the folder and asks the others to read their shares of one candidate after the
other, until one is sound.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NoReturn, TypeVar

from ..errors import CheckpointError, CorruptCheckpoint, ProcessError, full_text
from ..formats import open_as
from ..processes import Processes
from ..source import Source
from .snapshot import saved_state

#: Reads all of a checkpoint, given its format and its path; returns whether it is that of a run.
Read = Callable[[str, Path], bool]

T = TypeVar("T")

WHAT = "looking for the newest sound checkpoint"


def led(processes: Processes, choose: Callable[[Read], T]) -> T:
    """Return what *choose* returns, given what reads with the help of all; in process 0."""
    try:
        found = choose(partial(read_together, processes))
    except ProcessError:
        raise
    except BaseException as error:
        with suppress(type(error)):
            processes.agree(WHAT, partial(raised, error))
        raise
    processes.agree(WHAT, bytes)  # that was all
    return found


def follow(processes: Processes) -> None:
    """Read what process 0 asks for, until it has found what it looks for; in the other ones."""
    while request := processes.agree(WHAT, bytes):
        format, path = json.loads(request)
        settle(processes, format, Path(path))


def raised(error: BaseException) -> NoReturn:
    """Raise *error*."""
    raise error


def read_together(processes: Processes, format: str, path: Path) -> bool:
    """Let every process read its share of the checkpoint *path*; return whether it is a run's.

    Raise CorruptCheckpoint for what one of them found wrong.
    """
    processes.agree(WHAT, lambda: json.dumps([format, str(path)]).encode())
    fault = settle(processes, format, path)
    if fault:
        raise CorruptCheckpoint(fault)
    with open_as(format, path) as source:
        return saved_state(source) is not None


def settle(processes: Processes, format: str, path: Path) -> str:
    """Read the share of this process; return what one of them found wrong, or ""."""

    def first(said: Sequence[bytes]) -> bytes:
        return next(filter(None, said), b"")

    say = partial(fault_in_share, processes, format, path)
    return processes.settle(f"reading {path.name}", say, first).decode()


def fault_in_share(processes: Processes, format: str, path: Path) -> bytes:
    """Return what is wrong with the share of this process, or b""."""
    try:
        # Not mapped: a disk that cannot give a page would end the process.
        with open_as(format, path, mmap=False) as source:
            if processes.first:  # what is missing need not be read
                source.check(source.specs)
            for name in share_of(source, processes):
                source.read(name)
    except (CheckpointError, OSError) as error:
        return full_text(error).encode()
    return b""


def share_of(source: Source, processes: Processes) -> Iterator[str]:
    """Yield the tensors of *source* that this process reads: a run of them, of as many bytes."""
    specs = dict(source.specs.items())
    total = sum(spec.nbytes for spec in specs.values()) + len(specs)
    begin = 0
    for name in source.read_order():
        if begin * processes.count // total == processes.rank:
            yield name
        begin += specs[name].nbytes + 1
