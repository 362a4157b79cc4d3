"""One run at a time saves into a folder.

    lock = hold(folder, owner)       # SaveError: who has it, on which host, since when
    lock.announce("model-20", ...)   # before each save; SaveError when another run took it over
    lock.release()

The file `.warmstart-lock` stands in the folder while a run saves there, locked with `flock`, which
the system gives back however the process ends, and NFS carries from host to host.  Its first line
is JSON that says who holds it:

    {"host": "node7", "pid": 4711, "since": "2026-11-22 10:11:12 +0000", "boot": ..., "space": ...,
     "started": ..., "token": ..., "saving": "model-20", "after": "model-15"}

Where the file system has no such locks these words decide: a process of this machine that is gone
holds nothing; one of another machine cannot be seen from here, and counts as running.  Where it has
them for each host alone, two runs can hold one folder; then the first finds another token there
before it saves again, and does not.
"""

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path

from ..errors import SaveError
from .alone import alone_in
from .atomic import in_real_folder
from .holder import Holder, is_gone, is_here, parsed, this_process

try:
    import fcntl
except ImportError:  # not a POSIX system: the words alone decide
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger("warmstart")

NAME = ".warmstart-lock"
MAX_BYTES = 1 << 16
#: How often a lock file is looked at that is being made or given back, and seconds in between.
ATTEMPTS, PAUSE = 20, 0.05


class Lock:
    """A folder that is held; see the module."""

    def __init__(self, path: Path, descriptor: int, holder: Holder, owner: object) -> None:
        self.path = path
        self.holder = holder
        self.owner = owner
        self.count = 1  # how often the owner asked for it
        self._descriptor = descriptor

    def announce(self, saving: str, after: str, note: str = "") -> None:
        """Say that *saving* is being saved, and that *after* is the latest until then.

        Raise SaveError when the folder is not this run's any more; see `make_sure`.
        """
        self.make_sure()
        self.holder = replace(self.holder, saving=saving, after=after, note=note)
        self.write()

    def make_sure(self) -> None:
        """Raise SaveError unless the folder is this run's; hold it anew where nobody does.

        A folder that was removed is made again, with a warning: what was trained is worth more
        than what was tidied up.
        """
        if self._is_mine():
            return
        folder = self.path.parent
        if not folder.is_dir():
            with translating_os_errors(folder):
                folder.mkdir()
            log.warning("%s was removed during the run, and is made again", folder)
        self.forget()
        found = attempted(self.path)
        if found is None:
            raise refused(self.path, holder_of(folder))
        self._descriptor = found[0]
        self.write()

    def release(self) -> None:
        """Give the folder back, once as often as it was asked for."""
        self.count -= 1
        if self.count:
            return
        HELD.pop(self.path, None)
        try:
            if self._is_mine():
                with suppress(OSError):
                    self.path.unlink()
        finally:
            self.forget()

    def forget(self) -> None:
        """Close the file and say nothing to anybody."""
        with suppress(OSError):
            os.close(self._descriptor)
        self._descriptor = -1

    def write(self) -> None:
        """Write who holds it, as a first line that is whole whatever longer one stood there."""
        words = {name: value for name, value in asdict(self.holder).items() if value}
        line = json.dumps(words).encode() + b"\n"
        with translating_os_errors(self.path.parent):
            os.pwrite(self._descriptor, line, 0)
            os.ftruncate(self._descriptor, len(line))

    def _is_mine(self) -> bool:
        left = holder_of(self.path.parent)
        return left is not None and left.token == self.holder.token


#: The locks of this process, by the path of the file.
HELD: dict[Path, Lock] = {}


def forget_all() -> None:
    """Let a forked child hold nothing: it may outlive the run, which a lock would then outlive."""
    for lock in HELD.values():
        lock.forget()
    HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_all)


def hold(folder: Path, owner: object) -> Lock:
    """Hold *folder* for *owner*, who may do so more than once; SaveError when another has it."""
    path = in_real_folder(folder / NAME)
    if path in HELD:
        return held_again(HELD[path], owner)
    for attempt in range(ATTEMPTS + 1):
        found = attempted(path, patient=attempt < ATTEMPTS - 1)
        if found is not None:
            return begun(path, *found, owner)
        time.sleep(PAUSE)
    raise refused(path, None)


def held_again(lock: Lock, owner: object) -> Lock:
    """Return *lock*, held once more, if it is this *owner*'s."""
    if lock.owner is not owner:
        raise SaveError(
            f"{lock.path.parent} is being saved into by another run of this very process, since "
            f"{lock.holder.since}; let that one end, or save into another folder"
        )
    lock.count += 1
    return lock


def begun(path: Path, descriptor: int, left: Holder | None, owner: object) -> Lock:
    """Return the lock on the open file *descriptor* at *path*, which says so.

    What its last holder was *left* saving is still said, until this one saves.
    """
    holder = this_process()
    if left is not None:
        holder = replace(holder, saving=left.saving, after=left.after, note=left.note)
    lock = HELD[path] = Lock(path, descriptor, holder, owner)
    try:
        lock.write()
    except BaseException:
        lock.release()
        raise
    return lock


def attempted(path: Path, *, patient: bool = True) -> tuple[int, Holder | None] | None:
    """Return the lock file *path*, open and held, and whom it names; None: try again.

    SaveError says who holds it.  One that names nobody is being written, or was when its holder was
    killed: who has been *patient* takes it to be so.
    """
    opened = opened_lock(path)
    if opened is None:
        return None
    descriptor, new = opened
    try:
        left = parsed(os.pread(descriptor, MAX_BYTES, 0))
        locked = flocked(descriptor)
        if (new if locked is None else locked) and is_at(descriptor, path):
            warn_of(path, left)
            descriptor = -1
            return opened[0], left
        if locked:  # its holder gave it back, and removed it, between the two calls
            return None
        if may_go(left, locked is None, patient=patient):
            remove_left(descriptor, path)
            return None
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    if left and (locked is None or not is_gone(left, rebooted=False)):
        raise refused(path, left)
    return None


def may_go(left: Holder | None, lockless: bool, *, patient: bool) -> bool:
    """Return whether the lock file that names *left* stands for nobody any more.

    *lockless*: the file system has no locks, so that it is only words, and those may be old.  Where
    it has them, somebody has this one: who has just got it and is about to write so, or a child of
    *left* that lives on, which is told by waiting.
    """
    if left is None:
        return lockless and not patient
    if not lockless:
        return not patient and is_gone(left, rebooted=False)
    mine = is_here(left) and left.pid == os.getpid()  # it could not be removed
    return mine or is_gone(left, rebooted=True)


def remove_left(descriptor: int, path: Path) -> None:
    """Remove the lock file *path* if it is still the one that is open as *descriptor*.

    Another process may have removed that one, and hold its successor.
    """
    with translating_os_errors(path.parent), alone_in(path.parent):
        if is_at(descriptor, path):
            path.unlink(missing_ok=True)


def warn_of(path: Path, left: Holder | None) -> None:
    """Warn of a holder whom one cannot see to be gone."""
    if left is not None and not is_here(left):
        log.warning(
            "%s was held by %s, which did not give it back; if it still runs, stop it",
            path.parent, left,
        )  # fmt: skip


def opened_lock(path: Path) -> tuple[int, bool] | None:
    """Return *path* opened, and whether it was made for that; None when it has just gone."""
    with translating_os_errors(path.parent):
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), True
        except FileExistsError:
            pass
        try:
            return os.open(path, os.O_RDWR), False
        except FileNotFoundError:
            return None


def flocked(descriptor: int) -> bool | None:
    """Return whether the open file could be locked; None where files have no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def is_at(descriptor: int, path: Path) -> bool:
    """Return whether the open file is still the one at *path*."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def holder_of(folder: Path) -> Holder | None:
    """Return who holds *folder*, or did and was killed; None when nobody does."""
    path = in_real_folder(folder / NAME)
    try:
        with path.open("rb") as file:
            return parsed(file.read(MAX_BYTES))
    except OSError:
        return None


def refused(path: Path, holder: Holder | None) -> SaveError:
    """Return the error for a folder that *holder* has."""
    who = str(holder) if holder else "a process that does not say which"
    hint = "" if holder and is_here(holder) else f"; if it does not run any more, delete {path}"
    return SaveError(
        f"{path.parent} is being saved into by another run: {who}; stop that one, or save into "
        f"another folder{hint}"
    )


@contextmanager
def translating_os_errors(folder: Path) -> Iterator[None]:
    """Turn an OSError in the block into a SaveError that names the folder."""
    try:
        yield
    except OSError as error:
        raise SaveError(
            f"nothing can be saved into {folder}: {error.strerror or error}; what was there is kept"
        ) from error
