"""Checkpoints of the run as it goes."""

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CheckpointError, described
from . import logger
from .callback import SAVER, Callback
from .retention import Best, Keep
from .run_folder import RunFolder
from .saving import (
    AtOnce,
    Beside,
    OnError,
    Saving,
    checked_on_error,
    raise_or_warn,
    refuse_several_at_a_url,
)

if TYPE_CHECKING:
    from .trainer import Trainer


class ModelSaver(Callback):
    """Save the whole run as `model-STEP` in TensorFlow's format, and point `checkpoint` to it.

    After each epoch; or with *every_steps* after every so many steps, with *every_secs* after the
    first step that ends so many seconds after the last save, with both whenever either is due,
    instead; and with *keep_best*, a `Best` or several, after each epoch that has its metric.  The
    last *max_to_keep* are kept (None: all); the best, as long as they are; and for good one every
    *keep_checkpoint_every_n_hours* (None: none) and one every *keep_checkpoint_every_n_steps*.  A
    save that fails raises, and the previous checkpoint stands.  The end (*at_end*) of a run that
    failed is not saved: a step half done is not a place to go on from.  One run at a time saves
    into a folder: SaveError says which does.

    *asynchronous*: the training waits only while the state is copied into memory of its own; the
    rest goes on beside it, one save at a time.  It takes as much memory as the state.  What goes
    wrong there raises after the next step, and at the end.  *incremental*: what has not changed
    since the last save is not written again, but shared with that checkpoint by hard links; each
    stays whole when others are deleted.  With *on_error* "warn" a save that fails is a warning and
    the training goes on.
    """

    turn = SAVER

    def __init__(
        self,
        every_steps: int | None = None,
        every_secs: float | None = None,
        *,
        at_start: bool = False,
        at_end: bool = True,
        max_to_keep: int | None = 10,
        keep_checkpoint_every_n_hours: float | None = 0.5,
        keep_checkpoint_every_n_steps: int | None = None,
        keep_best: Best | Iterable[Best] = (),
        checkpoint_dir: str | os.PathLike[str] | None = None,
        asynchronous: bool = False,
        incremental: bool = True,
        on_error: OnError = "raise",
    ) -> None:
        refuse_below_one("every_steps", every_steps)
        refuse_below_one("max_to_keep", max_to_keep)
        refuse_below_one("keep_checkpoint_every_n_steps", keep_checkpoint_every_n_steps)
        if every_secs is not None and every_secs <= 0:
            raise ValueError(f"every_secs is {every_secs}; expected more than 0")
        self.every_steps = every_steps
        self.every_secs = every_secs
        self.at_start = at_start
        self.at_end = at_end
        best = (keep_best,) if isinstance(keep_best, Best | str) else tuple(keep_best)
        for each in best:
            if not isinstance(each, Best):
                raise TypeError(
                    f"keep_best has {described(each)}; expected ws.Best('loss', k=3), or several"
                )
        self.keep = Keep(
            max_to_keep, keep_checkpoint_every_n_hours, keep_checkpoint_every_n_steps, best
        )
        self.checkpoint_dir = checkpoint_dir
        self.asynchronous = asynchronous
        self.incremental = incremental
        self.on_error = checked_on_error(on_error)
        self.every_epoch = every_steps is None and every_secs is None
        self._saved_step: int | None = None

    def start(self, trainer: "Trainer") -> None:
        self._folder = RunFolder(logger.folder_for(self.checkpoint_dir).resolve(), self.keep)
        refuse_several_at_a_url(self._folder.path, trainer.processes)
        origin = trainer.resumed_from and trainer.resumed_from.resolve()
        self._first = trainer.processes.first  # of the others none saves before it does
        if self._first:
            self._folder.enter(trainer, origin)
        try:
            self._next_time = time.monotonic() + (self.every_secs or 0)
            self._first_epoch = trainer.epoch
            self._saved_step = trainer.step if origin == self._path(trainer) else None
            self._saving = self._way_to_save()
            goes_on = origin is not None and origin.parent == self._folder.path
            self._saving.start(trainer.session, origin if goes_on else None, trainer.processes)
            if self._first:
                trainer.session.save_graph(self._folder.path)
            if self.at_start:
                self._save(trainer)
        except BaseException:
            self._leave()  # what did not start is not stopped
            raise

    def after_step(self, trainer: "Trainer", metrics: Mapping[str, float]) -> None:
        with self._failing():
            self._saving.stepped(trainer.session)
        # The last step of an epoch is saved with the epoch, once what belongs to it is done.
        if not self.every_epoch and not trainer.at_epoch_end and self._is_due(trainer):
            self._save(trainer)

    def after_epoch(self, trainer: "Trainer") -> None:
        if trainer.resumed_from is None and trainer.epoch == self._first_epoch:
            self.keep.refuse_unknown(trainer.metrics)
        measured = self.keep.values(trainer.metrics)  # the same in every process
        if self.every_epoch or measured or self._is_due(trainer):
            self._save(trainer)

    def stop(self, trainer: "Trainer") -> None:
        """Finish the save that is going on, and save the end of a run that did not fail."""
        try:
            with self._failing(is_told=not trainer.finished):  # an error is on its way already
                self._saving.settle()
            if self.at_end and trainer.finished:
                self._save(trainer)
            with self._failing(is_told=not trainer.finished):
                self._saving.settle()
        finally:
            self._saving.close()
            self._leave()

    def _is_due(self, trainer: "Trainer") -> bool:
        if self.every_steps is not None and trainer.step % self.every_steps == 0:
            return True
        if self.every_secs is None:
            return False
        due = time.monotonic() >= self._next_time  # clocks differ: that of process 0 counts
        return bool(trainer.processes.agree("asking whether to save", lambda: b"1" * due))

    def _save(self, trainer: "Trainer") -> None:
        """Save unless this very step is saved already."""
        if trainer.step == self._saved_step:
            return
        path, values = self._path(trainer), self.keep.values(trainer.metrics)
        with self._failing():
            self._saving.wait(path.name)
        with self._failing():
            self._saving.save(trainer, path, self._listed(path.name, values))
            self._saved_step = trainer.step
        self._next_time = time.monotonic() + (self.every_secs or 0)

    @contextmanager
    def _listed(self, name: str, values: Mapping[str, float]) -> Iterator[None]:
        """Announce *name*, which is saved in the block, and make it the latest once it is."""
        on_first = self._saving.processes.on_first
        on_first(f"announcing {name}", lambda: self._folder.announce(name, values))
        yield
        on_first(f"pointing to {name}", lambda: self._folder.commit(name, values))

    @contextmanager
    def _failing(self, *, is_told: bool = False) -> Iterator[None]:
        """Raise what a save raises in the block, or log it where the training goes on without."""
        try:
            yield
        except (CheckpointError, OSError) as error:
            self._saved_step = None
            raise_or_warn(error, "warn" if is_told else self.on_error)

    def _way_to_save(self) -> Saving:
        if self.asynchronous:
            return Beside(incremental=self.incremental)
        return AtOnce(incremental=self.incremental)

    def _leave(self) -> None:
        if self._first:
            self._folder.leave()

    def _path(self, trainer: "Trainer") -> Path:
        return self._folder.path / f"model-{trainer.step}"


def refuse_below_one(name: str, value: int | None) -> None:
    """Raise when a count is not one."""
    if value is not None and value < 1:
        raise ValueError(f"{name} is {value}; expected 1 or more, or None")
