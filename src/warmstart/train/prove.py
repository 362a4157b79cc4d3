"""Variables that a run must not move, checked when it ends."""

import logging
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointError, FreezeError
from ..freezing.frozen import Frozen, Patterns, hash_at, places
from ..source import Index
from . import logger
from .callback import Callback
from .proof import Checkpoints, Moved, bisected, steps_in
from .saver import ModelSaver

if TYPE_CHECKING:
    from .trainer import Trainer

log = logging.getLogger("warmstart")


@dataclass(frozen=True, slots=True)
class Record:
    """What a variable was, where it must stay as it is."""

    hash: str
    since: int  # completed steps
    where: str


class ProveFrozen(Callback):
    """Prove at the end of a run that variables are bit for bit what they were at its beginning.

        ProveFrozen(frozen)                         what `freeze` returned, or several of them
        ProveFrozen("encoder/*")                    by pattern, however they are kept still
        ProveFrozen({"embedding": np.s_[:30_000]})  a part

    If one moved, FreezeError says which, and in which steps: the checkpoints of the run are
    compared by bisection, so `ModelSaver(every_steps=1, max_to_keep=None)` tells the very step.
    The proof spans kills and resumes.  Values set on purpose, by a restore or `session.assign`, are
    those to be kept.  *checkpoint_dir* is the folder of the checkpoints, by default that of the
    run's ModelSaver.
    """

    key = "prove-frozen"

    def __init__(
        self,
        frozen: Frozen | Iterable[Frozen] | Patterns,
        *,
        checkpoint_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        several = list(frozen) if isinstance(frozen, list | tuple) else [frozen]
        self._frozen = [each for each in several if isinstance(each, Frozen)]
        if self._frozen and len(self._frozen) < len(several):
            raise TypeError("ProveFrozen takes Frozen objects or patterns, not both")
        self._patterns: Any = None if self._frozen else frozen
        self.checkpoint_dir = checkpoint_dir
        self._where: dict[str, Index] = {}
        self._records: dict[str, Record] = {}
        self._resumed = False  # the records are those of the run that goes on

    def start(self, trainer: "Trainer") -> None:
        self._trainer = trainer
        if self._frozen:
            self._where = {n: f.regions.get(n, ...) for f in self._frozen for n in f.names}
        else:
            self._where = places(trainer.session, self._patterns)
        before = self._records if self._resumed else {}
        self._resumed = False
        self._records = self._recorded(self._where)
        for name, record in before.items():
            if name in self._records and record.where == self._records[name].where:
                self._records[name] = record
        trainer.session.watch(self)

    def assigned(self, names: Collection[str]) -> None:
        """Take the values of *names*, just set on purpose, as the ones to be kept."""
        self._records |= self._recorded(name for name in names if name in self._records)

    def stop(self, trainer: "Trainer") -> None:
        if not trainer.finished:
            return
        now = self._recorded(self._where)
        moved = [name for name, before in self._records.items() if now[name].hash != before.hash]
        if moved:
            raise FreezeError(
                f"{len(moved)} of {len(now)} variables that were to stay as they are moved\n"
                + "".join(f"  {row}\n" for row in self._told(moved, trainer))
                + trainer.session.movers
            )
        log.info("%d variables are bit for bit what they were before the run", len(now))

    def state(self) -> dict[str, Any]:
        return {name: asdict(record) for name, record in self._records.items()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._records = {name: Record(**fields) for name, fields in state.items()}
        self._resumed = True

    def _recorded(self, names: Iterable[str]) -> dict[str, Record]:
        """Return what *names* are now, after the steps so far."""
        session, step = self._trainer.session, self._trainer.step
        with session.reading():
            return {
                name: Record(hash_at(session, name, where), step, repr(where))
                for name, where in ((name, self._where[name]) for name in names)
            }

    def _told(self, names: Iterable[str], trainer: "Trainer") -> list[str]:
        """Return of each of *names* when it moved, as far as the checkpoints tell."""
        folder = folder_of(trainer, self.checkpoint_dir)
        saved = steps_in(folder) if folder.is_dir() else []
        with Checkpoints(folder) as checkpoints:
            return [str(self._when(name, checkpoints, saved, trainer.step)) for name in names]

    def _when(
        self, name: str, checkpoints: Checkpoints, saved: Iterable[int], end: int
    ) -> Moved | str:
        """Return when *name* moved, which it did by the step *end*."""
        since = self._records[name].since
        same = checkpoints.comparing(name, self._where[name], self._records[name].hash)
        between = [step for step in saved if since < step < end]
        try:
            return bisected(name, same, [since, *between, end])
        except CheckpointError as error:
            return f"{Moved(name, since, end)}; the checkpoints do not tell closer: {error}"


def folder_of(trainer: "Trainer", folder: str | os.PathLike[str] | None) -> Path:
    """Return where the checkpoints of the run are: *folder*, or where its ModelSaver puts them."""
    savers = (each for each in trainer.callbacks if isinstance(each, ModelSaver))
    found = folder or next((saver.checkpoint_dir for saver in savers), None)
    return logger.folder_for(found)
