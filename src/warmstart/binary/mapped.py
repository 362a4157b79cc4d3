"""Files mapped into memory, read-only: only the pages that are looked at are read."""

import mmap
import os
import stat
import sys
from pathlib import Path

from ..errors import CheckpointError, CheckpointNotFound
from .remote import fetched

Mapped = mmap.mmap | bytes

#: Linux's MADV_POPULATE_READ (5.14): map all pages at once instead of one fault for each few.
POPULATE_READ = 22
#: Linux's MAP_NORESERVE, by number: not every Python names it.
NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)


def map_file(path: Path, *, private: bool = False) -> Mapped:
    """Return the bytes of *path*, mapped; they stay valid when the file is replaced or removed.

    A *private* map may be written to, which copies the page written and never changes the file.
    A pipe or a device is refused at once: nobody may be at the other end.  All of a remote file
    is fetched first.
    """
    path = fetched(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise CheckpointError(f"{path} cannot be read: it is no regular file")
            if status.st_size == 0:
                return b""
            return map_privately(descriptor) if private else map_shared(descriptor)
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise CheckpointNotFound(f"{path} is not there") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error


def map_shared(descriptor: int) -> mmap.mmap:
    """Map an open file read-only."""
    return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)


def map_privately(descriptor: int) -> mmap.mmap:
    """Map an open file copy-on-write; read-only where the system is afraid of the copies.

    Without NORESERVE Linux refuses a file larger than the memory, as if all would be written to.
    """
    try:
        if sys.platform != "linux":
            return mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)
        protection = mmap.PROT_READ | mmap.PROT_WRITE
        return mmap.mmap(descriptor, 0, flags=mmap.MAP_PRIVATE | NORESERVE, prot=protection)
    except OSError:
        return map_shared(descriptor)


def populate(data: Mapped) -> None:
    """Map all pages of *data* now, where the system can; worth it when all will be read."""
    if isinstance(data, mmap.mmap) and hasattr(data, "madvise"):
        try:
            data.madvise(POPULATE_READ)
        except OSError:  # an older kernel: each page is mapped when it is touched
            return
