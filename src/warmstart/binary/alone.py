"""One save at a time, of all processes, in a folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process is in such a block for *folder*, and run it.

    The folder itself is locked, so that nothing is left behind.  Where that is not possible (there
    is no such folder, a network file system) nobody waits, and nothing is promised.
    """
    descriptor = -1
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if descriptor >= 0:
            with suppress(OSError):
                if fcntl is not None:  # a child made meanwhile has the file open as well
                    fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)
