import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from warmstart.errors import CorruptCheckpoint, ResumeError
from warmstart.files.variables import save_vars
from warmstart.formats.tf_bundle.state import write_state
from warmstart.testing.toy import ToyModel
from warmstart.train.callback import Callback
from warmstart.train.config import AutoResumeTrainConfig, launch_train
from warmstart.train.data import Batches
from warmstart.train.tensorpack import Place, tensorpack_place
from warmstart.train.trainer import Trainer

EPOCHS = [{"epoch_num": n, "global_step": 5 * n, "loss": 1 / n} for n in (1, 2, 3)]


@pytest.fixture
def left(folder: Path) -> Path:
    """A folder as Tensorpack left it, killed in its fourth epoch."""
    save_vars({"w": np.ones(3), "w/momentum": np.zeros(3)}, folder / "model-10")
    write_state(folder, "model-10", ["model-10"])
    (folder / "stats.json").write_text(json.dumps(EPOCHS))
    return folder


def launch(batches: Callable[[], Batches], **arguments: object) -> list[tuple[int, int, float]]:
    """Train and return where it started: step, epoch, first weight."""
    seen: list[tuple[int, int, float]] = []

    def look(trainer: Trainer) -> None:
        seen.append((trainer.step, trainer.epoch, float(trainer.session.read("w")[0])))

    launch_train(
        AutoResumeTrainConfig(
            model=ToyModel(),
            data=batches(),
            callbacks=[Callback(start=look)],
            max_epoch=4,
            **arguments,  # type: ignore[arg-type]
        )
    )
    return seen


def test_step_and_epoch_go_on_and_what_is_lost_is_said(
    left: Path, batches: Callable[[], Batches], caplog: pytest.LogCaptureFixture
) -> None:
    assert launch(batches) == [(10, 3, 1.0)]
    assert "has no run state; these begin anew: data, random numbers, stats.jsonl" in caplog.text


def test_without_statistics_the_epoch_is_refused_unless_accepted(
    left: Path, batches: Callable[[], Batches]
) -> None:
    (left / "stats.json").unlink()
    with pytest.raises(ResumeError, match=r"epoch: the checkpoint has no run state, and there is"):
        launch(batches)
    assert launch(batches, accept=("epoch",), starting_epoch=2) == [(5, 2, 1.0)]


def test_statistics_of_another_step_are_refused(tmp_path: Path) -> None:
    (tmp_path / "stats.json").write_text(json.dumps(EPOCHS))
    with pytest.raises(ResumeError, match=r"no epoch that ended at step 12; .* \[5, 10, 15\]"):
        tensorpack_place(tmp_path / "model-12", False)


def test_a_name_without_a_step_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResumeError, match="epoch: the name 'model' does not end in -STEP"):
        tensorpack_place(tmp_path / "model", False)


def test_the_step_is_the_last_number(tmp_path: Path) -> None:
    (tmp_path / "stats.json").write_text(json.dumps(EPOCHS))
    assert tensorpack_place(tmp_path / "model-v2-15", False) == Place(15, 3)


@pytest.mark.parametrize("text", ["{", '{"a": 1}', "[1]", '[{"epoch_num": 1}]', "3"])
def test_damaged_statistics_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "stats.json").write_text(text)
    with pytest.raises(CorruptCheckpoint, match="is not a list of objects with global_step and"):
        tensorpack_place(tmp_path / "model-5", False)
