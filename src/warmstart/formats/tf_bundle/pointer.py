"""What stands in a folder of TensorFlow's, and where its file `checkpoint` points to.

Bundles and checkpoints of version 1 share that file, so it belongs to neither.
"""

import errno
import os
from pathlib import Path

from ...binary.table import MAGIC
from ...binary.window import opened
from ...errors import CheckpointError, noting
from .state import MAX_BYTES, is_state, parse_state

#: What the system says of a path where no folder can be looked into.
NO_FOLDER = (
    errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG,
)  # fmt: skip


def is_pointer(path: Path) -> bool:
    """Return whether *path* is a file like `checkpoint`, which points to a bundle."""
    return path.is_file() and is_state(read_from(path, 0, 4096))


def candidates(file: Path) -> list[Path]:
    """Return what *file*, like `checkpoint`, may point to.

    TensorFlow writes absolute paths into the folder itself.  When that was moved or copied they
    lead nowhere, or to the original, so what stands beside *file* under the same name comes first.
    """
    written = Path(latest_in(file))
    beside = file.parent / written.name
    return [beside, written] if written.is_absolute() else [file.parent / written, beside]


def latest_in(file: Path) -> str:
    """Return the path that *file*, like `checkpoint`, gives as the latest, as it is written."""
    with noting(f"while reading {file}"):
        return parse_state(read_from(file, 0, MAX_BYTES + 1)).latest


def is_table(path: Path) -> bool:
    """Return whether *path* is a file that ends as a table does."""
    return path.is_file() and read_from(path, -len(MAGIC), len(MAGIC)) == MAGIC


def read_from(path: Path, begin: int, nbytes: int) -> bytes:
    """Return *nbytes* of the file *path* from *begin*, counted from its end when negative."""
    try:
        with opened(path) as file:
            file.seek(max(0, begin if begin >= 0 else path.stat().st_size + begin))
            return file.read(nbytes)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error


def names_in(folder: Path) -> list[str]:
    """Return the names in *folder*, sorted; none when there is no such folder."""
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        if error.errno in NO_FOLDER:
            return []
        raise
