"""Objects beside the model that a run takes along."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchmetrics
from torch.optim.swa_utils import AveragedModel

from warmstart.errors import ResumeError
from warmstart.train.callback import Callback
from warmstart.train.saver import ModelSaver
from warmstart.train.trainer import Trainer

Train = Callable[..., Trainer]


class Counter:
    """A state by the names of grain, with a key that is no text."""

    def __init__(self) -> None:
        self.steps = {0: torch.zeros(2)}

    def get_state(self) -> dict[int, Any]:
        return self.steps

    def set_state(self, state: dict[int, Any]) -> None:
        self.steps = dict(state)


class Beside:
    """Objects of all three kinds, and what is done with them after each step."""

    def __init__(self) -> None:
        self.counter = Counter()
        self.module = torch.nn.Linear(2, 1)
        self.average = AveragedModel(self.module)
        self.metric = torchmetrics.MeanMetric()
        self.metric.persistent(True)
        self.also = {"counter": self.counter, "average": self.average, "metric": self.metric}

    def after_step(self, trainer: Trainer, metrics: Any) -> None:
        self.counter.steps = {0: self.counter.steps[0] + 1, trainer.step: torch.ones(1)}
        with torch.no_grad():
            self.module.weight.fill_(trainer.step)
        self.average.update_parameters(self.module)
        self.metric.update(metrics["loss"])

    def seen(self) -> list[Any]:
        weights = [p.tolist() for p in self.average.parameters()]
        return [self.counter.steps[0].tolist(), list(self.counter.steps), weights[0],
                int(self.average.n_averaged), float(self.metric.compute())]  # fmt: skip


def test_what_is_passed_beside_the_model_goes_on_with_the_run(folder: Path, train: Train) -> None:
    def run(**more: Any) -> Beside:
        beside = Beside()
        callbacks = [Callback(after_step=beside.after_step), ModelSaver(every_steps=4)]
        train(also=beside.also, callbacks=callbacks, **more)
        return beside

    whole = run().seen()
    run(max_epoch=2)
    assert run(resume_from=folder / "model-8").seen() == whole


@pytest.mark.parametrize(
    ("saved", "here", "message"),
    [
        ("a", "", "a: the checkpoint has the state of an object of that name in also=, and none"),
        ("", "a", "a: an object of that name in also= has no state in the checkpoint"),
    ],
)
def test_what_is_only_on_one_side_is_refused_unless_accepted(
    folder: Path, train: Train, saved: str, here: str, message: str
) -> None:
    def also(names: str) -> dict[str, Counter]:
        return {name: Counter() for name in names}

    train(also=also(saved), max_epoch=1)
    with pytest.raises(ResumeError, match=message):
        train(also=also(here), resume_from=folder)
    assert train(also=also(here), resume_from=folder, accept="a").finished


def test_a_state_that_does_not_fit_is_an_error_that_names_it(folder: Path, train: Train) -> None:
    train(also={"module": torch.nn.Linear(2, 1)}, max_epoch=1)
    with pytest.raises(ResumeError, match=r"module: its state .*size mismatch for weight"):
        train(also={"module": torch.nn.Linear(3, 1)}, resume_from=folder)


def test_a_metric_that_leaves_its_state_out_is_refused_at_the_start(
    folder: Path, train: Train
) -> None:
    metrics = torchmetrics.MetricCollection([torchmetrics.MeanMetric()])
    with pytest.raises(ResumeError, match=r"metrics: .* call metrics\.persistent\(True\) first"):
        train(also={"metrics": metrics})


@pytest.mark.parametrize(
    ("also", "message"),
    [
        ([Counter()], r'also is a list; expected objects by name: \{"average": ...\}'),
        ({"a": 3}, r"these have none: a, 3"),
        ({"mine": Counter()}, r"callbacks and also= both have the names \['mine'\]; rename"),
    ],
)
def test_what_cannot_be_taken_along_is_refused(
    folder: Path, train: Train, also: Any, message: str
) -> None:
    mine = Callback(state=dict, load_state=lambda state: None, key="mine")
    with pytest.raises((TypeError, ValueError), match=message):
        train(also=also, callbacks=[mine])
