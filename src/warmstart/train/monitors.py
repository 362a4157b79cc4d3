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
from ..errors import MissingDependency, ResumeError
from . import logger
from .callback import MONITOR, Callback
from .gradients import processors_of

if TYPE_CHECKING:
    import numpy as np

    from .trainer import Trainer

log = logging.getLogger("warmstart")


class JSONWriter(Callback):
    """Write a line of JSON for each epoch into `stats.jsonl`: epoch, step, and every metric.

    Nothing in it depends on the clock, so that equal runs write equal files.  A value that is not
    finite is null.  A resumed run cuts the file back to where its checkpoint stood, so that no line
    is doubled or missing; a new run moves aside what it finds.
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
        with translating_os_errors(self._path), FileIO(self._path, "a") as file:
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
        self._hash = hashlib.sha256(self._path.read_bytes()[: self._length])
        if self._hash.hexdigest() == expected:
            return True
        if trainer.accepts(self.key):
            return False
        raise ResumeError(
            f"{self._path} is not the file of this run: its first {self._length} bytes are not "
            "those that the checkpoint knows; put it back, or begin a new one: "
            f"accept=({self.key!r},)"
        )

    def _begin(self) -> None:
        """Make an empty file, moving aside one with lines of another run."""
        if self._path.stat().st_size:
            aside = free_name(self._path)
            self._path.rename(aside)
            self._path.touch()
            log.warning("%s is of another run; moved aside to %s", self._path, aside.name)
        self._length, self._hash = 0, hashlib.sha256()


def finite(value: float) -> float | None:
    """Return *value*, or None where JSON has no number for it."""
    return value if math.isfinite(value) else None


def free_name(path: Path) -> Path:
    """Return *path* with the first number after its name that nothing has: stats.jsonl.1."""
    number = 1
    while (aside := path.with_name(f"{path.name}.{number}")).exists():
        number += 1
    return aside


class TensorBoardWriter(Callback):
    """Write every metric of each epoch where TensorBoard finds it, and histograms of gradients.

    Histograms are of what a `SummaryGradient` of the model saw in the last step of each epoch.
    Each process writes a file of its own.  The first record of a resumed run's tells TensorBoard to
    forget what the killed process wrote past the checkpoint, so that no point is shown twice.
    """

    turn = MONITOR
    first_process_only = True

    def __init__(self, *, folder: str | os.PathLike[str] | None = None) -> None:
        self.folder = folder

    def start(self, trainer: "Trainer") -> None:
        try:
            from tensorboard.compat.proto.event_pb2 import Event, SessionLog
            from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ModuleNotFoundError as error:
            if error.name != "tensorboard":  # our own fault, not a missing extra
                raise
            raise MissingDependency(
                "TensorBoardWriter needs tensorboard: pip install tensorboard"
            ) from error
        self._event, self._summary, self._histogram = Event, Summary, HistogramProto
        self._writer = EventFileWriter(str(logger.folder_for(self.folder)))
        began = SessionLog(status=SessionLog.START)
        self._writer.add_event(Event(step=trainer.step + 1, session_log=began))

    def after_epoch(self, trainer: "Trainer") -> None:
        values = [
            self._summary.Value(tag=name, simple_value=value)
            for name, value in trainer.metrics.items()
        ]
        values += [
            self._summary.Value(tag=name, histo=self._histogram(**histogram(array)))
            for processor in processors_of(trainer)
            for name, array in processor.arrays().items()
        ]
        self._writer.add_event(self._event(step=trainer.step, summary=self._summary(value=values)))
        self._writer.flush()

    def stop(self, trainer: "Trainer") -> None:
        self._writer.close()


def histogram(array: "np.ndarray") -> dict[str, Any]:
    """Return the fields of TensorBoard's histogram of the finite values in *array*, in 30 bars."""
    import numpy as np

    values = np.abs(array) if np.iscomplexobj(array) else array
    values = values.astype(np.float64).reshape(-1)
    values = values[np.isfinite(values)]
    if not values.size:
        return {}
    # Edges of our own: NumPy refuses to make them of a range that has fewer than 30 numbers.
    bars, edges = np.histogram(values, np.linspace(values.min(), values.max(), 31))
    return {
        "min": values.min(),
        "max": values.max(),
        "num": values.size,
        "sum": values.sum(),
        "sum_squares": np.square(values).sum(),
        "bucket_limit": edges[1:],
        "bucket": bars,
    }
