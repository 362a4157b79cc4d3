"""Folders that appear whole or not at all, and stay after a power cut.

    with replacing_folder(path) as folder:     # a new folder beside path
        ...                                    # write files into it, in any way
    # everything synced, its name exchanged with path, the parent synced, the old folder removed

A reader of *path* sees the old folder or the new one.  A failure of any kind leaves the old one and
removes the new; a kill leaves a folder that ends in `TEMPORARY`, which `atomic.sweep` removes.
Where the system cannot exchange two names at once, the old folder is named aside for a moment: a
kill then leaves it so, and `standing` finds it.
"""

import ctypes
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

from ..errors import SaveError
from .atomic import TEMPORARY, sync, translating_os_errors
from .stream import c_function

ASIDE = ".warmstart-old"

AT_FDCWD = -100  # paths count from the current folder
RENAME_EXCHANGE = 2
#: What the system says where it, or the file system, cannot exchange.
CANNOT = (errno.ENOSYS, errno.EINVAL)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder that takes the place of *path* when the block ends well.

    A link keeps pointing at what is replaced.  What stands at *path* must be a folder, and whoever
    calls has made sure that it may go (`refuse_strangers`).  An OSError becomes a SaveError.
    """
    path = Path(os.path.realpath(path))
    mark = f"{os.getpid()}-{os.urandom(4).hex()}"
    temporary = path.with_name(f".{path.name}.{mark}{TEMPORARY}")
    with translating_os_errors(path):
        if path.exists() and not path.is_dir():
            raise SaveError(f"{path} was not written: it is no folder, and stays")
        os.mkdir(temporary)
        try:
            yield temporary
            sync_all(temporary)
            commit(temporary, path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    try:
        remove_replaced(temporary)
    except OSError as error:
        raise SaveError(
            f"{path} was written, but the folder that it replaced could not be removed: "
            f"{error.strerror}; what is left of it is {temporary}"
        ) from error


def sync_all(folder: Path) -> None:
    """Make every file and every name in *folder* survive a power cut."""
    for place, _, files in os.walk(folder):
        for file in files:
            sync(Path(place, file))
        sync(Path(place))


def commit(temporary: Path, path: Path) -> None:
    """Give the new folder *temporary* the name *path*, durably or not at all.

    What stood there is called *temporary* then.
    """
    undo: Callable[[Path, Path], None]
    change, undo = (exchange, exchange) if path.exists() else (os.rename, os.rename)
    change(temporary, path)
    try:
        sync(path.parent)
    except OSError:
        undo(path, temporary)
        raise


def exchange(new: Path, path: Path) -> None:
    """Swap the names of two folders: at once where the system can, else in three steps."""
    if exchange_at_once(new, path):
        return
    aside = aside_of(new)
    os.rename(path, aside)
    try:
        os.rename(new, path)
        try:
            os.rename(aside, new)
        except OSError:
            os.rename(path, new)
            raise
    except OSError:
        os.rename(aside, path)
        raise


def exchange_at_once(a: Path, b: Path) -> bool:
    """Swap the names *a* and *b* in one step; return False where the system cannot."""
    number, text = ctypes.c_int, ctypes.c_char_p
    call = c_function("renameat2", number, text, number, text, ctypes.c_uint)
    if call is None:
        return False
    if call(AT_FDCWD, os.fsencode(a), AT_FDCWD, os.fsencode(b), RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in CANNOT:
        return False
    raise OSError(code, os.strerror(code), str(a))


def aside_of(temporary: Path) -> Path:
    """Return what the folder that *temporary* replaces is called between the steps."""
    return temporary.with_name(temporary.name.removesuffix(TEMPORARY) + ASIDE)


def standing(path: Path) -> Path:
    """Return *path*, or the folder that a kill left aside just before its successor came there.

    Its successor is then still beside it.  Without one the folder was replaced, and later removed.
    """
    if path.exists() or not path.parent.is_dir():
        return path
    for temporary in sorted(path.parent.glob(f".{escape(path.name)}.*{TEMPORARY}")):
        if aside_of(temporary).is_dir():
            return aside_of(temporary)
    return path


def remove_replaced(temporary: Path) -> None:
    """Remove the folder that was replaced, if there was one."""
    with suppress(FileNotFoundError):
        shutil.rmtree(temporary)


def refuse_strangers(path: Path, is_ours: Callable[[str], bool]) -> None:
    """Raise when the folder *path* holds more than a checkpoint, which would be lost with it.

    *is_ours* says of a name in the folder whether it belongs to a checkpoint of its format.
    """
    if not path.is_dir():
        return
    strangers = sorted(name for name in os.listdir(path) if not is_ours(name))
    if strangers:
        shown = ", ".join(map(repr, strangers[:5])) + (", ..." if len(strangers) > 5 else "")
        raise SaveError(
            f"{path} was not written: {len(strangers)} of the names in that folder are not of a "
            f"checkpoint, and would be lost: {shown}; move them, or save under another name"
        )
