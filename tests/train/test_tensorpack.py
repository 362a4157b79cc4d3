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


@pytest.mark.parametrize("arrays", [{}, {"global_step": np.float32(10)}])
def test_a_checkpoint_without_a_step_is_refused(tmp_path: Path, arrays: dict[str, object]) -> None:
    save_vars({"w": np.ones(3), **arrays}, tmp_path / "model")
    with pytest.raises(ResumeError, match=r"epoch: the name 'model' .* nor is there an integer"):
        tensorpack_place(tmp_path / "model", False)
    assert tensorpack_place(tmp_path / "model", True) is None


def test_the_step_of_the_best_is_its_global_step(tmp_path: Path) -> None:
    save_vars({"w": np.ones(3), "global_step": np.int64(10)}, tmp_path / "max-accuracy")
    (tmp_path / "stats.json").write_text(json.dumps(EPOCHS))
    assert tensorpack_place(tmp_path / "max-accuracy", False) == Place(10, 2)


def test_what_was_measured_within_an_epoch_does_not_end_it(tmp_path: Path) -> None:
    within = {"epoch_num": 3, "global_step": 12, "queue": 50}
    (tmp_path / "stats.json").write_text(json.dumps([*EPOCHS[:2], within, EPOCHS[2]]))
    assert tensorpack_place(tmp_path / "model-15", False) == Place(15, 3)
    with pytest.raises(ResumeError, match=r"no epoch that ended at step 12; .* \[5, 10, 15\]"):
        tensorpack_place(tmp_path / "model-12", False)


def test_an_epoch_that_was_measured_and_not_ended_is_none(tmp_path: Path) -> None:
    within = {"epoch_num": 4, "global_step": 17, "queue": 50}
    (tmp_path / "stats.json").write_text(json.dumps([*EPOCHS, within]))
    assert tensorpack_place(tmp_path / "model-15", False) == Place(15, 3)
    assert tensorpack_place(tmp_path / "model-20", False) == Place(20, 4)
    with pytest.raises(ResumeError, match=r"no epoch that ended at step 17"):
        tensorpack_place(tmp_path / "model-17", False)


def test_a_kill_between_the_checkpoint_and_the_statistics_loses_no_epoch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "stats.json").write_text(json.dumps(EPOCHS))
    assert tensorpack_place(tmp_path / "model-20", False) == Place(20, 4)
    assert "stats.json ends before step 20; as its epochs have 5 steps, that is the" in caplog.text


def test_epochs_of_different_lengths_tell_nothing_of_the_next(tmp_path: Path) -> None:
    longer = [{"epoch_num": 4, "global_step": 30}, {"epoch_num": 5, "global_step": 42}]
    uneven = [*EPOCHS, *longer]
    (tmp_path / "stats.json").write_text(json.dumps(uneven))
    assert tensorpack_place(tmp_path / "model-30", False) == Place(30, 4)
    (tmp_path / "stats.json").write_text(json.dumps(uneven[:4]))
    assert tensorpack_place(tmp_path / "model-30", False) == Place(30, 4)
    with pytest.raises(ResumeError, match=r"no epoch that ended at step 43; .*, 30\]"):
        tensorpack_place(tmp_path / "model-43", False)


def test_the_step_is_the_last_number(tmp_path: Path) -> None:
    (tmp_path / "stats.json").write_text(json.dumps(EPOCHS))
    assert tensorpack_place(tmp_path / "model-v2-15", False) == Place(15, 3)


@pytest.mark.parametrize("text", ["{", '{"a": 1}', "[1]", '[{"epoch_num": 1}]', "3"])
def test_damaged_statistics_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "stats.json").write_text(text)
    with pytest.raises(CorruptCheckpoint, match="is not a list of objects with global_step and"):
        tensorpack_place(tmp_path / "model-5", False)
