from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from warmstart.testing.toy import ToyModel
from warmstart.train.callback import Callback
from warmstart.train.config import AutoResumeTrainConfig, TrainConfig, launch_train
from warmstart.train.data import Batches
from warmstart.train.defaults import with_defaults
from warmstart.train.monitors import JSONWriter
from warmstart.train.progress import ProgressBar
from warmstart.train.saver import ModelSaver
from warmstart.train.update_ops import RunUpdateOps


class Graph(ToyModel):
    """A toy with update ops."""

    def update_ops(self) -> list[str]:
        return ["update"]

    def run_with_step(self, ops: list[str]) -> None:
        self.ops = ops


def kinds(callbacks: list[Callback]) -> list[type]:
    return [type(callback) for callback in callbacks]


def test_a_config_is_what_train_is_told(folder: Path, batches: Callable[[], Batches]) -> None:
    config = TrainConfig(model=ToyModel(), data=batches(), max_epoch=2, steps_per_epoch=3)
    trainer = launch_train(config)
    assert (trainer.model, trainer.step, trainer.finished) == (config.model, 6, True)


def test_a_plain_config_begins_anew(folder: Path, batches: Callable[[], Batches]) -> None:
    starts: list[int] = []
    callbacks = [Callback(start=lambda trainer: starts.append(trainer.step)), ModelSaver()]
    for _ in range(2):
        launch_train(
            TrainConfig(model=ToyModel(), data=batches(), callbacks=callbacks, max_epoch=1)
        )
    assert starts == [0, 0]


def test_what_must_be_given_must_be_given() -> None:
    with pytest.raises(TypeError, match="'model', 'data', and 'max_epoch'"):
        TrainConfig()  # type: ignore[call-arg]


@pytest.mark.parametrize("given", [5, None, TrainConfig, {"max_epoch": 1}], ids=repr)
def test_what_is_no_config_is_refused(given: object) -> None:
    with pytest.raises(TypeError, match=r"launch_train takes a configuration, not .*TrainConfig\("):
        launch_train(given)  # type: ignore[arg-type]


def test_the_defaults() -> None:
    assert kinds(with_defaults(None, ToyModel())) == [ModelSaver, JSONWriter, ProgressBar]
    assert kinds(with_defaults(None, Graph())) == [
        ModelSaver,
        JSONWriter,
        ProgressBar,
        RunUpdateOps,
    ]


def test_a_run_that_saves_nothing_to_go_on_from_is_told_so(
    folder: Path, batches: Callable[[], Batches], caplog: pytest.LogCaptureFixture
) -> None:
    config = AutoResumeTrainConfig(model=ToyModel(), data=batches(), max_epoch=1, callbacks=[])
    launch_train(config)
    said = "nothing is saved that this run could go on from: there is no ws.ModelSaver() among the"
    assert said in caplog.text
    caplog.clear()
    launch_train(replace(config, callbacks=None))
    assert "nothing is saved" not in caplog.text


def test_a_list_is_completed_but_for_the_saver() -> None:
    mine, bar = Callback(), ProgressBar()
    callbacks = with_defaults([mine, bar], ToyModel())
    assert callbacks[:2] == [mine, bar]
    assert kinds(callbacks[2:]) == [JSONWriter]


def test_update_ops_run_with_the_step(folder: Path, batches: Callable[[], Batches]) -> None:
    model = Graph()
    launch_train(TrainConfig(model=model, data=batches(), max_epoch=1))
    assert model.ops == ["update"]


def test_update_ops_need_a_graph(folder: Path, batches: Callable[[], Batches]) -> None:
    with pytest.raises(TypeError, match="a ToyModel has no update ops; RunUpdateOps is for"):
        launch_train(
            TrainConfig(model=ToyModel(), data=batches(), callbacks=[RunUpdateOps()], max_epoch=1)
        )
