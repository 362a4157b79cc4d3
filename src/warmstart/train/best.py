"""The best checkpoint of a run by a metric."""

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..binary.atomic import sweep
from ..binary.lock import hold
from ..binary.urls import send_up, url_of
from ..errors import CheckpointError, described
from ..formats.tf_bundle.paths import has_index
from . import logger
from .callback import BEST, Callback
from .leftovers import delete, unused_data
from .newest import read_whole
from .saving import (
    AtOnce,
    OnError,
    checked_on_error,
    raise_or_warn,
    refuse_several_at_a_url,
)

if TYPE_CHECKING:
    from .trainer import Trainer


@contextmanager
def sent_up(folder: Path) -> Iterator[None]:
    """Send *folder*, where it stands for a URL, up after the block, in which something is saved."""
    yield
    send_up(folder)


class BestSaver(Callback):
    """What MinSaver and MaxSaver have in common."""

    turn = BEST
    word: str  # what the file's name begins with
    sign: float  # the best is the lowest value times this

    def __init__(
        self,
        monitor_stat: str,
        *,
        filename: str | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        on_error: OnError = "raise",
    ) -> None:
        if not isinstance(monitor_stat, str):
            raise TypeError(
                f"{type(self).__name__} takes the name of a metric, not {described(monitor_stat)}"
            )
        self.monitor_stat = monitor_stat
        self.filename = filename or f"{self.word}-{monitor_stat.replace('/', '-')}"
        self.checkpoint_dir = checkpoint_dir
        self.on_error = checked_on_error(on_error)
        self.key = self.filename
        self.best: float | None = None
        self.seen = False

    def start(self, trainer: "Trainer") -> None:
        folder = logger.folder_for(self.checkpoint_dir).resolve()
        refuse_several_at_a_url(folder, trainer.processes)
        self._path = folder / self.filename
        if trainer.processes.first:
            self._lock = hold(folder, trainer)
            sweep(folder)
            delete(unused_data(self._path))
        self._saving: AtOnce | None = None

    def stop(self, trainer: "Trainer") -> None:
        if trainer.processes.first:
            self._lock.release()

    def after_epoch(self, trainer: "Trainer") -> None:
        metrics = trainer.metrics
        if self.monitor_stat not in metrics and not self.seen:
            raise ValueError(
                f"{type(self).__name__} watches {self.monitor_stat!r}, which epoch "
                f"{trainer.epoch} does not have; it has {', '.join(map(repr, metrics)) or 'none'}"
            )
        self.seen = True
        value = metrics.get(self.monitor_stat, math.nan)  # later, it may be measured now and then
        if self._is_best(value):
            before, self.best = self.best, value  # which is part of what is saved
            try:
                self._save(trainer)
            except (CheckpointError, OSError) as error:
                self.best = before
                raise_or_warn(error, self.on_error)

    def _save(self, trainer: "Trainer") -> None:
        trainer.processes.on_first("saving the best", self._make_sure)
        self._saving = self._saving or self._begun(trainer)
        self._saving.save(trainer, self._path, sent_up(self._path.parent))

    def _begun(self, trainer: "Trainer") -> AtOnce:
        """Return what saves; it shares with the best of before if every byte of that is right."""
        saving = AtOnce(incremental=True)
        alone, remote = trainer.processes.count == 1, url_of(self._path.parent)
        origin = self._path if alone and not remote and is_whole(self._path) else None
        saving.start(trainer.session, origin, trainer.processes)
        return saving

    def _make_sure(self) -> None:
        self._lock.make_sure()

    def _is_best(self, value: float) -> bool:
        if self.best is None:
            return not math.isnan(value)
        return self.sign * value < self.sign * self.best

    def state(self) -> dict[str, Any]:
        return {"best": self.best, "seen": self.seen}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.best, self.seen = state["best"], state["seen"]


def is_whole(path: Path) -> bool:
    """Return whether there is a bundle *path*, every byte of which is as its checksums say."""
    with suppress(CheckpointError):
        return has_index(path) and read_whole("tf-bundle", path)
    return False


class MinSaver(BestSaver):
    """Save the run as `min-STAT` whenever the epoch's *monitor_stat* is lower than ever before.

    The best so far is part of the run, and so survives a resume.  NaN is never the best.  A save
    that fails raises, and the best before stands; with *on_error* "warn" it is a warning, and the
    training goes on.
    """

    word, sign = "min", 1.0


class MaxSaver(BestSaver):
    """Save the run as `max-STAT` whenever the epoch's *monitor_stat* is higher than ever before."""

    word, sign = "max", -1.0
