"""What gradient processors measure is part of the run."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from warmstart.freezing.watching import CheckGradient, SummaryGradient
from warmstart.testing.toy import ToyModel
from warmstart.train.saver import ModelSaver
from warmstart.train.tensorboard import TensorBoardWriter, histogram
from warmstart.train.trainer import Trainer

Train = Callable[..., Trainer]


class Watched(ToyModel):
    """A toy whose targets are its gradient, for processors that look."""

    def __init__(self, *gradprocs: Any) -> None:
        super().__init__()
        self.gradprocs = gradprocs

    def train_step(self, batch: Any) -> Mapping[str, float]:
        for processor in self.gradprocs:
            processor.look("w", batch[1])
        return super().train_step(batch)


def rms(folder: Path) -> list[float]:
    lines = (folder / "stats.jsonl").read_text().splitlines()
    return [json.loads(line)["w-grad/rms"] for line in lines]


def test_the_mean_of_a_measure_is_a_metric_of_the_epoch(folder: Path, train: Train) -> None:
    seen: list[float] = []

    class Noting(SummaryGradient):
        def look(self, name: str, gradient: np.ndarray) -> None:
            super().look(name, gradient)
            seen.append(self.measured()["w-grad/rms"])

    train(model=Watched(Noting()), max_epoch=1)
    assert rms(folder) == [sum(seen) / 5]


def test_measures_survive_a_resume_in_the_middle_of_an_epoch(folder: Path, train: Train) -> None:
    saver = ModelSaver(every_steps=1, max_to_keep=None)
    train(model=Watched(SummaryGradient()), callbacks=[saver])
    whole = (folder / "stats.jsonl").read_bytes()
    train(model=Watched(SummaryGradient()), resume_from=folder / "model-7")
    assert (folder / "stats.jsonl").read_bytes() == whole


def test_tensorboard_shows_histograms(folder: Path, train: Train) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(model=Watched(SummaryGradient()), callbacks=[TensorBoardWriter()])
    accumulator = EventAccumulator(str(folder), size_guidance={"histograms": 0})
    accumulator.Reload()
    assert accumulator.Tags()["histograms"] == ["w-grad"]
    shown = accumulator.Histograms("w-grad")
    assert [event.step for event in shown] == [5, 10, 15]
    assert sum(shown[0].histogram_value.bucket) == 4


def test_what_is_not_finite_is_told_with_its_step(
    folder: Path, train: Train, batches: Callable[[], Any]
) -> None:
    data = batches()
    data.arrays[1][:] = np.inf
    with pytest.raises(FloatingPointError, match="the gradient of 'w' has 0 NaN and 4") as caught:
        train(model=Watched(CheckGradient()), data=data, starting_epoch=2)
    assert caught.value.__notes__ == ["in epoch 2, after 5 steps"]


@pytest.mark.parametrize(
    ("array", "num", "lowest", "highest"),
    [
        (np.arange(60.0), 60, 0, 59),
        (np.array([1, np.nan, np.inf, 3]), 2, 1, 3),
        (np.array([2.0, 2.0]), 2, 2, 2),
        (np.array([1, 1 + 2**-52]), 2, 1, 1 + 2**-52),
        (np.array([3 + 4j]), 1, 5, 5),
    ],
)
def test_histograms_count_what_is_finite(
    array: np.ndarray, num: int, lowest: float, highest: float
) -> None:
    found = histogram(array)
    assert (found["num"], sum(found["bucket"])) == (num, num)
    assert (found["min"], found["max"]) == (lowest, highest)
    assert len(found["bucket_limit"]) == 30


@pytest.mark.parametrize("array", [np.zeros(0), np.array([np.nan])])
def test_of_nothing_finite_there_is_no_histogram(array: np.ndarray) -> None:
    assert histogram(array) == {}
