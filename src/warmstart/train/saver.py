"""Checkpoints of the run as it goes."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..binary.atomic import sweep
from . import logger
from .callback import SAVER, Callback
from .retention import Kept, decide, delete_bundle, read_kept, sweep_halves, write_kept
from .snapshot import save_run

if TYPE_CHECKING:
    from .trainer import Trainer


class ModelSaver(Callback):
    """Save the whole run as `model-STEP` in TensorFlow's format, and point `checkpoint` to it.

    After each epoch; or with *every_steps* after every so many steps, with *every_secs* after the
    first step that ends so many seconds after the last save, with both whenever either is due,
    instead.  The last *max_to_keep* are kept (None: all) and, for good, one every
    *keep_checkpoint_every_n_hours* (None: none).  A save that fails raises, and the previous
    checkpoint stands.  The end (*at_end*) of a run that failed is not saved: a step half done is
    not a place to go on from.
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
        checkpoint_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        refuse_below_one("every_steps", every_steps)
        refuse_below_one("max_to_keep", max_to_keep)
        if every_secs is not None and every_secs <= 0:
            raise ValueError(f"every_secs is {every_secs}; expected more than 0")
        self.every_steps = every_steps
        self.every_secs = every_secs
        self.at_start = at_start
        self.at_end = at_end
        self.max_to_keep = max_to_keep
        self.keep_hours = keep_checkpoint_every_n_hours
        self.checkpoint_dir = checkpoint_dir
        self.every_epoch = every_steps is None and every_secs is None
        self._folder = Path()
        self._saved_step: int | None = None

    def start(self, trainer: "Trainer") -> None:
        now = time.time()
        self._folder = logger.folder_for(self.checkpoint_dir).resolve()
        if trainer.processes.first:  # of the others none saves before it does
            sweep(self._folder)
            sweep_halves(self._folder)
        self._next_time = time.monotonic() + (self.every_secs or 0)
        origin = trainer.resumed_from and trainer.resumed_from.resolve()
        goes_on = origin is not None and origin.parent == self._folder
        # What another run left in the folder is not ours to delete.
        self._kept = read_kept(self._folder, now) if goes_on else Kept((), now)
        self._saved_step = trainer.step if origin == self._path(trainer) else None
        if trainer.processes.first:
            trainer.session.save_graph(self._folder)
        if self.at_start:
            self._save(trainer)

    def after_step(self, trainer: "Trainer", metrics: Mapping[str, float]) -> None:
        # The last step of an epoch is saved with the epoch, once what belongs to it is done.
        if not self.every_epoch and not trainer.at_epoch_end and self._is_due(trainer):
            self._save(trainer)

    def after_epoch(self, trainer: "Trainer") -> None:
        if self.every_epoch or self._is_due(trainer):
            self._save(trainer)

    def stop(self, trainer: "Trainer") -> None:
        if self.at_end and trainer.finished:
            self._save(trainer)

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
        path = self._path(trainer)
        save_run(trainer, path)
        self._saved_step = trainer.step
        trainer.processes.on_first(f"pointing to {path.name}", lambda: self._point_to(path.name))
        self._next_time = time.monotonic() + (self.every_secs or 0)

    def _path(self, trainer: "Trainer") -> Path:
        return self._folder / f"model-{trainer.step}"

    def _point_to(self, name: str) -> None:
        """Make *name* the latest, then delete what is no longer kept.

        What is to go stays listed until it is gone: a kill in between leaves nothing unlisted.
        """
        kept = self._kept.with_latest(name, time.time())
        write_kept(self._folder, kept)
        self._kept, doomed = decide(kept, self.max_to_keep, self.keep_hours)
        if not doomed:
            return
        for old in doomed:
            delete_bundle(self._folder / old)
        write_kept(self._folder, self._kept)


def refuse_below_one(name: str, value: int | None) -> None:
    """Raise when a count is not one."""
    if value is not None and value < 1:
        raise ValueError(f"{name} is {value}; expected 1 or more, or None")
