import math
from collections.abc import Callable
from pathlib import Path

import pytest

from warmstart.binary.atomic import TEMPORARY
from warmstart.files.verify import verify
from warmstart.formats import open_source
from warmstart.formats.tf_bundle import increment
from warmstart.testing.callbacks import CallbackContract
from warmstart.testing.toy import ToyModel
from warmstart.train.best import MaxSaver, MinSaver
from warmstart.train.callback import Callback
from warmstart.train.leftovers import delete_bundle
from warmstart.train.saver import ModelSaver
from warmstart.train.snapshot import saved_state
from warmstart.train.trainer import Trainer

Train = Callable[..., Trainer]

DATA = "data-00000-of-00001"


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


@pytest.mark.parametrize(
    ("ending", "left"), [("index", b"torn"), (DATA, b"torn"), (DATA, b""), (DATA, None)]
)
def test_a_damaged_best_of_before_is_replaced(
    ending: str, left: bytes | None, folder: Path, train: Train
) -> None:
    train(callbacks=[MinSaver("loss")], max_epoch=1)
    file = folder / f"min-loss.{ending}"
    file.unlink() if left is None else file.write_bytes(left)
    train(callbacks=[MinSaver("loss")], max_epoch=2)
    assert verify(folder / "min-loss").sound
    assert step_of(folder / "min-loss") in (5, 10)


def test_nothing_is_shared_with_a_best_whose_checksums_are_not_its_own(
    folder: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(increment, "LEAST", 1)
    slow, index = ToyModel(), folder / "min-loss.index"
    slow.rate = 0.01
    train(callbacks=[MinSaver("loss")], max_epoch=1, model=slow)
    torn = index.read_bytes()
    delete_bundle(folder / "min-loss")
    train(callbacks=[MinSaver("loss")], max_epoch=1)
    index.write_bytes(torn)  # as a copy of the folder of a run that saves may have it
    train(callbacks=[MinSaver("loss")], max_epoch=1)
    assert verify(folder / "min-loss").sound


def test_what_a_kill_leaves_in_a_folder_of_its_own_is_swept(
    folder: Path, train: Train, tmp_path: Path
) -> None:
    half = tmp_path / "best" / f".min-loss.data-00000-of-00002.1-2{TEMPORARY}"
    half.parent.mkdir()
    half.write_bytes(b"half")
    train(callbacks=[MinSaver("loss", checkpoint_dir=half.parent)], max_epoch=1)
    assert not half.exists()


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


def test_a_program_may_go_to_another_folder(
    folder: Path, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    gone = Callback(after_step=lambda trainer, metrics: monkeypatch.chdir(folder))
    train(callbacks=[gone, MinSaver("loss", checkpoint_dir="best")], max_epoch=1)
    assert step_of(tmp_path / "best" / "min-loss") == 5
