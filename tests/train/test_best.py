import math
from collections.abc import Callable
from pathlib import Path

import pytest

from warmstart.formats import open_source
from warmstart.testing.callbacks import CallbackContract
from warmstart.train.best import MaxSaver, MinSaver
from warmstart.train.callback import Callback
from warmstart.train.saver import ModelSaver
from warmstart.train.snapshot import saved_state
from warmstart.train.trainer import Trainer

Train = Callable[..., Trainer]


class TestMinSaver(CallbackContract):
    def make(self, folder: Path) -> Callback:
        return MinSaver("loss")


class TestMaxSaver(CallbackContract):
    def make(self, folder: Path) -> Callback:
        return MaxSaver("loss", filename="highest")


def putting(values: list[float]) -> Callback:
    """Return a callback that puts one of *values* after each epoch."""
    return Callback(after_epoch=lambda trainer: trainer.put("score", values[trainer.epoch - 1]))


def step_of(path: Path) -> int:
    with open_source(path) as source:
        state = saved_state(source)
    assert state is not None
    return int(state["step"])


@pytest.mark.parametrize(
    ("saver", "values", "step"),
    [
        (MinSaver("score"), [3.0, 1.0, 2.0], 10),
        (MaxSaver("score"), [3.0, 1.0, 2.0], 5),
        (MinSaver("score"), [1.0, 1.0, 1.0], 5),
        (MaxSaver("score"), [math.nan, -7.0, math.nan], 10),
        (MinSaver("score"), [math.nan, math.inf, math.nan], 10),
    ],
    ids=["min", "max", "equal is not better", "nan max", "inf is better than nothing"],
)
def test_the_best_is_saved(
    folder: Path, train: Train, saver: MinSaver, values: list[float], step: int
) -> None:
    train(callbacks=[saver, putting(values)])
    assert step_of(folder / saver.filename) == step


def test_the_best_so_far_survives_a_resume(folder: Path, train: Train) -> None:
    values = [3.0, 1.0, 2.0, 1.5]
    train(callbacks=[MinSaver("score"), putting(values), ModelSaver()], max_epoch=2)
    train(
        callbacks=[MinSaver("score"), putting(values), ModelSaver()],
        max_epoch=4,
        resume_from=folder,
    )
    assert step_of(folder / "min-score") == 10


def test_a_damaged_best_of_another_run_is_replaced(folder: Path, train: Train) -> None:
    train(callbacks=[MinSaver("loss")], max_epoch=1)
    (folder / "min-loss.index").write_bytes(b"torn")
    train(callbacks=[MinSaver("loss")], max_epoch=2)
    assert step_of(folder / "min-loss") in (5, 10)


def test_an_unknown_stat_is_named_with_those_there_are(folder: Path, train: Train) -> None:
    message = "MaxSaver watches 'acuracy', which epoch 1 does not have; it has 'loss', 'noise'"
    with pytest.raises(ValueError, match=message):
        train(callbacks=[MaxSaver("acuracy")])


def test_a_stat_may_be_measured_now_and_then(folder: Path, train: Train) -> None:
    def put(trainer: Trainer) -> None:
        scores = {1: {"score": 2.0}, 3: {"score": 1.0}}.get(trainer.epoch, {})
        for name, value in scores.items():
            trainer.put(name, value)

    train(callbacks=[MinSaver("score"), Callback(after_epoch=put)])
    assert step_of(folder / "min-score") == 15


def test_a_stat_in_a_group_makes_a_plain_file_name() -> None:
    assert MinSaver("val/loss").filename == "min-val-loss"


def test_what_is_no_name_of_a_metric_is_refused() -> None:
    with pytest.raises(TypeError, match="MinSaver takes the name of a metric, not 5"):
        MinSaver(5)  # type: ignore[arg-type]
