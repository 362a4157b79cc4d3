"""What a child may use, and how it gives up the rest."""

import ctypes
import fcntl
import os
import resource
import signal
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MIB = 1 << 20

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one child: bytes of address space, seconds of processor time, open files.

    *patience* is in seconds too: how long a child may be silent before it counts as hanging.
    """

    memory: int
    seconds: int
    files: int = 128
    patience: float = 60.0

    def to_dict(self) -> dict[str, Any]:
        """Return the limits as JSON holds them."""
        return asdict(self)


def limits_for(nbytes: int) -> Limits:
    """Return the limits for reading a checkpoint of *nbytes*.

    NumPy with h5py or tensorstore takes some 300 MiB to 1 GiB of address space before anything is
    read; compressed values may be some times as large as the file.
    """
    return Limits(memory=2048 * MIB + 8 * nbytes, seconds=60 + nbytes // (4 * MIB))


def size_of(files: Iterable[Path]) -> int:
    """Return the bytes of all *files*."""
    return sum(file.stat().st_size for file in files)


def give_up(limits: Limits) -> None:
    """Limit this process for good."""
    for which, soft, hard in (
        (resource.RLIMIT_AS, limits.memory, limits.memory),
        (resource.RLIMIT_CPU, limits.seconds, limits.seconds + 5),  # a signal, then the end
        (resource.RLIMIT_NOFILE, limits.files, limits.files),
        (resource.RLIMIT_FSIZE, 0, 0),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        most = resource.getrlimit(which)[1]
        if most == resource.RLIM_INFINITY:
            most = hard
        resource.setrlimit(which, (min(soft, most), min(hard, most)))
    give_up_network()


def give_up_network() -> bool:
    """Leave the network where the system lets a process do so; return whether it did."""
    unshare = getattr(ctypes.CDLL(None), "unshare", None)
    if unshare is None:
        return False
    return any(unshare(flags) == 0 for flags in (CLONE_NEWNET, CLONE_NEWUSER | CLONE_NEWNET))


def end_with(descriptor: int) -> None:
    """End this process as soon as nobody holds the other end of the pipe *descriptor*.

    The system sends SIGIO then, which ends a process in the middle of a C library too.  (A parent's
    death signal, prctl, would be sent when the thread ends that started this process.)
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC | os.O_NONBLOCK)
    try:
        os.read(descriptor, 1)  # gone already, before a signal was asked for?
        os._exit(1)
    except BlockingIOError:
        return
