"""Metrics written down where TensorBoard finds them.

An event file is records one after another, each an event with its step, in rising order:

    u64 length | u32 checksum of it | event | u32 checksum of that
"""

import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..binary.atomic import sync, translating_os_errors
from ..errors import MissingDependency, ResumeError
from . import logger
from .callback import MONITOR, Callback
from .gradients import processors_of
from .monitors import are_elsewhere, put_aside

if TYPE_CHECKING:
    import numpy as np

    from .trainer import Trainer

#: How the files end that are written here; no others in the folder are touched.
SUFFIX = ".warmstart"
HEADER = struct.Struct("<QI")
FOOTER = 4  # bytes


class TensorBoardWriter(Callback):
    """Write every metric of each epoch where TensorBoard finds it, and histograms of gradients.

    Histograms are of what a `SummaryGradient` of the model saw in the last step of each epoch.
    Each process writes a file of its own.  A resumed run cuts off what killed ones wrote past its
    checkpoint, so that no epoch is doubled or missing, and its first record tells a TensorBoard
    that has read that to forget it; a new run moves aside what it finds.
    """

    turn = MONITOR
    first_process_only = True
    key = "tensorboard"

    def __init__(self, *, folder: str | os.PathLike[str] | None = None) -> None:
        self.folder = folder
        self._epochs = 0  # written
        self._step = 0  # of the last of them
        self._resumed = False  # until it starts

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
        self._folder = logger.folder_for(self.folder)
        resumed, self._resumed = self._resumed, False
        with translating_os_errors(self._folder):
            if not (resumed and self._goes_on(trainer)):
                self._epochs = self._step = 0
                move_aside(self._folder)
            before = written_in(self._folder)
            self._writer = EventFileWriter(str(self._folder), filename_suffix=SUFFIX)
            (self._path,) = set(written_in(self._folder)) - set(before)
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
        with translating_os_errors(self._path):
            sync(self._path)  # a checkpoint that knows this epoch is about to be
        self._epochs, self._step = self._epochs + 1, trainer.step

    def stop(self, trainer: "Trainer") -> None:
        self._writer.close()

    def state(self) -> dict[str, Any]:
        return {"epochs": self._epochs, "step": self._step}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._epochs, self._step = state["epochs"], state["step"]
        self._resumed = True

    def _goes_on(self, trainer: "Trainer") -> bool:
        """Cut the files off where the resumed run left them; else that must be accepted."""
        ends = {path: end_of(path, self._step, self._event) for path in written_in(self._folder)}
        found = sum(epochs for _, epochs in ends.values())
        if found != self._epochs:
            if trainer.accepts(self.key) or are_elsewhere(trainer, self._folder, len(ends)):
                return False
            raise ResumeError(
                f"{self._folder} does not have what the run wrote for TensorBoard: {found} of "
                f"{self._epochs} epochs to step {self._step} in files *{SUFFIX}; put them back, "
                f"or begin anew: accept=({self.key!r},)"
            )
        for path, (end, _) in ends.items():
            os.truncate(path, end)
        return True


def written_in(folder: Path) -> list[Path]:
    """Return the event files that runs wrote into *folder*, also those of killed ones."""
    return sorted(folder.glob(f"*tfevents*{SUFFIX}"))


def end_of(path: Path, step: int, event: Any) -> tuple[int, int]:
    """Return where the records of *path* up to *step* end, and how many of them are epochs."""
    end = epochs = 0
    for record, after in records(path.read_bytes()):
        found = event.FromString(record)
        if found.step > step:
            break
        end, epochs = after, epochs + found.HasField("summary")
    return end, epochs


def records(content: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield each record of an event file and where it ends; the last may be torn, and is not."""
    begin = 0
    while begin + HEADER.size <= len(content):
        length, _ = HEADER.unpack_from(content, begin)
        data = begin + HEADER.size
        begin = data + length + FOOTER
        if begin > len(content):
            return
        yield content[data : data + length], begin


def move_aside(folder: Path) -> None:
    """Rename the event files of another run, so that TensorBoard does not mix them with this."""
    for path in written_in(folder):
        put_aside(path, path.name.replace("tfevents", "other-run"))


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
