"""Files that appear whole or not at all, and stay after a power cut.

    with replacing(path) as file:      # a new file beside path
        file.write(...)
    # written, fsynced, renamed to path, and the folder fsynced

A reader of *path* sees the old file or the new one.  A failure of any kind leaves the old one and
removes the new; a kill leaves a file that ends in `TEMPORARY`, which `sweep` removes.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from ..errors import SaveError

TEMPORARY = ".warmstart-tmp"


@contextmanager
def replacing(
    path: Path, *, follow_link: bool = True, named: Callable[[], Path] | None = None
) -> Iterator[FileIO]:
    """Yield an unbuffered new file that takes the place of *path* when the block ends well.

    Or the place of what *named* returns then, in the same folder: for a name that depends on what
    was written.  A link keeps pointing at what is replaced; without *follow_link* it is replaced
    itself, which is right for a file that is only part of a checkpoint and may be shared with
    another one.
    An OSError (a full disk, a read-only folder) becomes a SaveError that names *path*.
    """
    path = Path(os.path.realpath(path)) if follow_link else path
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}{TEMPORARY}")
    with translating_os_errors(path):
        if path.exists() and not path.is_file():
            raise SaveError(f"{path} was not written: it is a folder, a pipe or a device; it stays")
        file = FileIO(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), "r+")
        try:
            with file:
                yield file
                os.fsync(file.fileno())
            os.replace(temporary, path if named is None else named())
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    try:
        sync(path.parent)
    except OSError as error:
        raise SaveError(
            f"{path} was written, but its folder could not be synced: {error.strerror}; "
            "a power cut may bring back what was there before"
        ) from error


def in_real_folder(path: Path) -> Path:
    """Return *path* without links above it; one that it is itself stays."""
    return Path(os.path.realpath(path.parent)) / path.name


@contextmanager
def translating_os_errors(path: Path) -> Iterator[None]:
    """Turn an OSError in the block into a SaveError that says what is left standing."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise SaveError(
            f"{path} was not written: {reason}; what was there before is kept"
        ) from error


def sync(path: Path) -> None:
    """Make what is in the file *path*, or the names in the folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, data: bytes) -> None:
    """Replace *path* by a file of *data*."""
    with replacing(path) as file:
        write_fully(file, data)


def write_fully(file: FileIO, data: bytes | memoryview) -> None:
    """Write all of *data*; an unbuffered write may take less than it was given."""
    view = memoryview(data).cast("B")
    while view:
        view = view[file.write(view) or 0 :]


def temporaries(folder: Path) -> list[Path]:
    """Return what killed processes left half written in *folder*: files, and folders."""
    names = sorted(os.listdir(folder))
    return [folder / name for name in names if name.endswith(TEMPORARY) and name.startswith(".")]


def sweep(folder: Path) -> None:
    """Remove what killed processes left half written in *folder*."""
    for path in temporaries(folder):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()
