"""How a run gets to the disk: at once, or beside the training.

    saving.start(session, origin, processes)
    saving.stepped(session)               # after every step; raises what went wrong beside it
    saving.wait("model-20")               # for the save before; raises what went wrong with it
    saving.save(trainer, path, listed)    # `with listed:` is around the writing
    saving.settle()                       # likewise, at the end
    saving.close()

Either way what has not changed since the checkpoint before may be shared with it (see
`tf_bundle.increment`).
"""

import logging
import time
from abc import ABC, abstractmethod
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..binary.urls import by_url, one_save_at_a_time, url_of
from ..errors import full_text, noting
from ..formats import open_source
from ..formats.tf_bundle.increment import Base, base_of, save_increment, seen_again
from ..formats.tf_bundle.paths import has_index
from ..formats.tf_bundle.together import Divided
from ..processes import Processes
from ..sessions.base import Session
from ..source import Source
from .snapshot import Snapshot, divided_run, save_run
from .staging import Staging

if TYPE_CHECKING:
    from .trainer import Trainer

log = logging.getLogger("warmstart")

#: What becomes of the training when a save fails.
OnError = Literal["raise", "warn"]

#: Seconds that the training may wait for a save without a word.
WORTH_SAYING = 0.1


class Saving(ABC):
    """The checkpoints of one run, one after the other; see the module."""

    processes: Processes  # those that save together, from the start on

    @abstractmethod
    def start(self, session: Session, origin: Path | None, processes: Processes) -> None:
        """Get ready; *origin* is a checkpoint of the same folder to share with, if there is one."""

    @abstractmethod
    def stepped(self, session: Session) -> None:
        """Take note that a step is done; raise what a save beside it could not do."""

    @abstractmethod
    def wait(self, name: str) -> None:
        """Wait until *name* can be saved; raise what went wrong with the save before."""

    @abstractmethod
    def save(self, trainer: "Trainer", path: Path, listed: AbstractContextManager[None]) -> None:
        """Save the run of *trainer* as *path*, whole or not at all, within the block *listed*."""

    @abstractmethod
    def settle(self) -> None:
        """Wait until all is saved; raise what could not be."""

    @abstractmethod
    def close(self) -> None:
        """Give back threads and memory."""


class AtOnce(Saving):
    """Saves that the training waits for."""

    def __init__(self, *, incremental: bool) -> None:
        self._incremental = incremental
        self._base: Base | None = None

    def start(self, session: Session, origin: Path | None, processes: Processes) -> None:
        self.processes = processes
        alone = processes.count == 1  # several share no data files
        self._base = base_in(origin) if self._incremental and alone else None

    def stepped(self, session: Session) -> None:
        return

    def wait(self, name: str) -> None:
        return

    def save(self, trainer: "Trainer", path: Path, listed: AbstractContextManager[None]) -> None:
        if trainer.processes.count > 1:
            with listed:
                save_run(trainer, path)
            return
        run = Snapshot(trainer.session, trainer.state())
        base, self._base = self._base, None  # a save that fails leaves none
        turn = one_save_at_a_time(path)
        with turn, by_url(), listed, noting(f"while saving {path}"), run.reading():
            run.check(run.specs)
            base = save_increment(run, path, base)
        self._base = base if self._incremental else None

    def settle(self) -> None:
        return

    def close(self) -> None:
        return


class Beside(Saving):
    """Saves beside the training, which waits only while its state is copied.

    One at a time: a thread hashes and writes from memory that every save uses again.
    """

    def __init__(self, *, incremental: bool) -> None:
        self._incremental = incremental
        self._base: Base | None = None
        self._staging = Staging()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="warmstart-save")
        self._room: Future[None] | None = None  # being made
        self._going: Future[None] | None = None  # the save
        self._has_warned = False

    def start(self, session: Session, origin: Path | None, processes: Processes) -> None:
        self.processes = processes.beside()
        if processes.count > 1:
            return  # how much of the model is this process's to write, the first save tells
        self._base = base_in(origin) if self._incremental else None
        if self._base is not None:
            with open_source(self._base.prefix, verify=False) as source:
                self._staging.load(source)
        self._staging.make_room(session.specs)

    def stepped(self, session: Session) -> None:
        if self.processes.count > 1:
            return  # all raise what went wrong, and so at the same step: that of the next save
        if self._room is None:  # the first step makes the slots of most optimizers
            self._room = self._thread.submit(self._staging.make_room, dict(session.specs))
        elif self._going is not None and self._going.done():
            self.settle()

    def wait(self, name: str) -> None:
        """Wait until *name* can be saved, and say once that this takes time; raise as `settle`."""
        began = time.monotonic()
        self.settle()
        waited = time.monotonic() - began
        if waited >= WORTH_SAYING and not self._has_warned:
            self._has_warned = True
            log.warning(
                "the training waited %.1f s before %s could be saved, the checkpoint before being "
                "still on its way to the disk; it need not when it saves less often",
                waited,
                name,
            )

    def save(self, trainer: "Trainer", path: Path, listed: AbstractContextManager[None]) -> None:
        if trainer.processes.count > 1:
            divided = divided_run(trainer, path)
            part, _ = self._staging.take(divided.own)
            self._going = self._thread.submit(self._write_part, divided, part, listed)
            return
        if self._room is not None:
            self._room.result()
        base, self._base = self._base, None  # what is staged is no longer that, and a save may fail
        staged, unchanged = self._staging.take(Snapshot(trainer.session, trainer.state()))
        self._going = self._thread.submit(self._write, staged, path, base, unchanged, listed)

    def settle(self) -> None:
        going, self._going = self._going, None
        if going is not None:
            going.result()

    def close(self) -> None:
        self._thread.shutdown()
        self._staging = Staging()

    def _write(
        self,
        staged: Source,
        path: Path,
        base: Base | None,
        unchanged: set[str],
        listed: AbstractContextManager[None],
    ) -> None:
        """Write what is *staged*, in the thread."""
        turn = one_save_at_a_time(path)
        with turn, by_url(), listed, noting(f"while saving {path}"):
            base = save_increment(staged, path, base, unchanged=unchanged)
        # What went up to a URL is another local file now: what is staged is still in it.
        base = seen_again(base) if url_of(path) else base
        self._base = base if self._incremental else None

    def _write_part(
        self, divided: Divided, part: Source, listed: AbstractContextManager[None]
    ) -> None:
        """Write *part*, what this process has staged of a run of several, in the thread."""
        with listed, noting(f"while saving {divided.prefix}"):
            divided.finish(part, self.processes)


def checked_on_error(on_error: OnError) -> OnError:
    """Return *on_error*; raise ValueError when it is none."""
    if on_error not in ("raise", "warn"):
        raise ValueError(f"on_error is {on_error!r}; expected 'raise' or 'warn'")
    return on_error


def raise_or_warn(error: Exception, on_error: OnError) -> None:
    """Raise the *error* of a save, or log it where the training goes on without."""
    if on_error == "raise":
        raise error
    log.warning("a checkpoint could not be saved: %s", full_text(error))


def refuse_several_at_a_url(folder: Path, processes: Processes) -> None:
    """Raise where several *processes* are to save together into a *folder* that is a URL's."""
    url = url_of(folder)
    if processes.count > 1 and url:
        raise ValueError(
            f"{url}: several processes save together into a folder that all of them see as local "
            "files; mount it, or save from one process"
        )


def base_in(origin: Path | None) -> Base | None:
    """Return the checkpoint *origin* as one to share with, if there is one of that kind."""
    return base_of(origin) if origin is not None and has_index(origin) else None
