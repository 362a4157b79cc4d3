"""Metrics written down, epoch by epoch."""

import hashlib
import json
import logging
import math
import os
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..binary.atomic import translating_os_errors, write_fully
from ..binary.urls import url_of
from ..errors import ResumeError
from . import logger
from .callback import MONITOR, Callback

if TYPE_CHECKING:
    from .trainer import Trainer

log = logging.getLogger("warmstart")


class JSONWriter(Callback):
    """Write a line of JSON for each epoch into `stats.jsonl`: epoch, step, and every metric.

    Nothing in it depends on the clock, so that equal runs write equal files.  A value that is not
    finite is null.  A resumed run cuts the file back to where its checkpoint stood, so that no line
    is doubled or missing; a new run moves aside what it finds.  A file that is removed or emptied
    during the run is begun anew, with a warning: its checkpoints then know the new one.
    """

    turn = MONITOR
    first_process_only = True

    def __init__(
        self, *, filename: str = "stats.jsonl", folder: str | os.PathLike[str] | None = None
    ) -> None:
        self.key = self.filename = filename
        self.folder = folder
        self._length = 0  # bytes
        self._hash = hashlib.sha256()
        self._expected: str | None = None  # what a resumed run must find; until it starts

    def start(self, trainer: "Trainer") -> None:
        self._path = logger.folder_for(self.folder) / self.filename
        resumed, self._expected = self._expected, None
        with translating_os_errors(self._path):
            self._path.touch()
            if resumed is not None and self._goes_on(resumed, trainer):
                os.truncate(self._path, self._length)
            else:
                self._begin()

    def after_epoch(self, trainer: "Trainer") -> None:
        metrics = {name: finite(value) for name, value in trainer.metrics.items()}
        entry = {"epoch": trainer.epoch, "step": trainer.step, **metrics}
        line = json.dumps(entry, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        with translating_os_errors(self._path):
            if not self._path.parent.is_dir():  # removed, with all that was in it
                self._path.parent.mkdir()
            with FileIO(self._path, "a") as file:
                if self._length and not os.fstat(file.fileno()).st_size:
                    log.warning("%s was removed or emptied, and is begun anew", self._path)
                    self._length, self._hash = 0, hashlib.sha256()
                write_fully(file, line)
                os.fsync(file.fileno())  # a checkpoint that knows this line is about to be
        self._length += len(line)
        self._hash.update(line)

    def state(self) -> dict[str, Any]:
        return {"length": self._length, "sha256": self._expected or self._hash.hexdigest()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._length, self._expected = state["length"], state["sha256"]

    def _goes_on(self, expected: str, trainer: "Trainer") -> bool:
        """Return whether the file begins as the resumed run left it; else it must be accepted."""
        found = self._path.read_bytes()[: self._length]
        self._hash = hashlib.sha256(found)
        if self._hash.hexdigest() == expected:
            return True
        if trainer.accepts(self.key) or are_elsewhere(trainer, self._path, len(found)):
            return False
        what = (
            f"is not the file of this run: its first {self._length} bytes are not those that the "
            "checkpoint knows"
            if found
            else f"is not here, or is empty; the checkpoint knows {self._length} bytes of it"
        )
        raise ResumeError(
            f"{self._path} {what}; put it back, or begin a new one: accept=({self.key!r},)"
        )

    def _begin(self) -> None:
        """Make an empty file, moving aside one with lines of another run."""
        if self._path.stat().st_size:
            put_aside(self._path, self._path.name)
            self._path.touch()
        self._length, self._hash = 0, hashlib.sha256()


def are_elsewhere(trainer: "Trainer", path: Path, found: int) -> bool:
    """Return whether a run goes on from a URL on a machine where *path* has nothing of it.

    Its statistics are on the one that it began on; a warning says so.
    """
    origin = trainer.resumed_from
    if found or origin is None or url_of(origin) is None:
        return False
    log.warning("%s begins anew: the run's statistics so far are not on this machine", path)
    return True


def finite(value: float) -> float | None:
    """Return *value*, or None where JSON has no number for it."""
    return value if math.isfinite(value) else None


def put_aside(path: Path, name: str) -> None:
    """Rename *path*, which another run wrote, to *name* with a number after it."""
    aside = logger.free_name(path.with_name(name))
    path.rename(aside)
    log.warning("%s is of another run; moved aside to %s", path, aside.name)
