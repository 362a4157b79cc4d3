"""Files mapped into memory, read-only: only the pages that are looked at are read."""

import mmap
import os
from pathlib import Path

from ..errors import CheckpointError, CheckpointNotFound

Mapped = mmap.mmap | bytes

#: Linux's MADV_POPULATE_READ (5.14): map all pages at once instead of one fault for each few.
POPULATE_READ = 22


def map_file(path: Path) -> Mapped:
    """Return the bytes of *path*, mapped; they stay valid when the file is replaced or removed."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            if os.fstat(descriptor).st_size == 0:
                return b""
            return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise CheckpointNotFound(f"{path} is not there") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error


def populate(data: Mapped) -> None:
    """Map all pages of *data* now, where the system can; worth it when all will be read."""
    if isinstance(data, mmap.mmap) and hasattr(data, "madvise"):
        try:
            data.madvise(POPULATE_READ)
        except OSError:  # an older kernel: each page is mapped when it is touched
            return
