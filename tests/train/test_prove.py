"""A run proves what it did not move, and says when it did."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import warmstart as ws
from warmstart.errors import CheckpointNotFound, FreezeError
from warmstart.spec import TensorSpec
from warmstart.testing.callbacks import CallbackContract
from warmstart.testing.memory import MemorySession
from warmstart.train.callback import Callback
from warmstart.train.prove import ProveFrozen
from warmstart.train.saver import ModelSaver
from warmstart.train.trainer import Trainer

Train = Callable[..., Trainer]
SPECS = {name: TensorSpec(name, "float32", (4,), "trainable") for name in ("w", "enc/w", "enc/b")}


class CountingModel:
    """A model whose trainable variables go up in every step, but for those that are frozen."""

    def __init__(self) -> None:
        self.session = MemorySession([*SPECS.values(), TensorSpec("w/m", "float32", (4,), "slot")])

    def train_step(self, batch: Any) -> dict[str, float]:
        self.session.train(1)
        return {"loss": 0.0}


class TestProveFrozen(CallbackContract):
    def model(self) -> Any:
        model = CountingModel()
        model.session.initialize(list(SPECS))
        self.frozen = ws.freeze(model, "enc/*")
        return model

    def make(self, folder: Path) -> Callback:
        return ProveFrozen("enc/*")


@pytest.fixture
def model() -> CountingModel:
    model = CountingModel()
    model.session.initialize(list(model.session.specs))
    return model


def moving(name: str, at: int, index: Any = ...) -> Callback:
    """Return a callback that moves a variable behind everybody's back, in step *at*."""

    def move(trainer: Trainer, metrics: Any) -> None:
        if trainer.step == at:
            trainer.session.arrays[name][index] += 1  # type: ignore[attr-defined]

    return Callback(after_step=move)


def saver(every_steps: int | None = None) -> ModelSaver:
    return ModelSaver(every_steps, max_to_keep=None)


@pytest.mark.parametrize("proved", ["frozen", "patterns", "several"])
def test_nothing_moved(
    folder: Path, train: Train, model: CountingModel, proved: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "warmstart")
    first, second = ws.freeze(model, "enc/w"), ws.freeze(model, "enc/b")
    what = {"frozen": first, "patterns": ["enc/w"], "several": [first, second]}[proved]
    train(model=model, callbacks=[ProveFrozen(what)])
    number = 2 if proved == "several" else 1
    assert f"{number} variables are bit for bit what they were before the run" in caplog.text


@pytest.mark.parametrize(
    ("every_steps", "moves"),
    [
        (1, (7, "in step 7")),
        (2, (7, "in one of the steps 7 to 8")),
        (4, (1, "in one of the steps 1 to 4")),
        (1, (15, "in step 15")),
        (100, (7, "in one of the steps 1 to 15")),
        (None, (7, "in one of the steps 6 to 10")),
    ],
)
def test_what_moved_is_told_with_its_steps(
    folder: Path,
    train: Train,
    model: CountingModel,
    every_steps: int | None,
    moves: tuple[int, str],
) -> None:
    at, said = moves
    frozen = ws.freeze(model, "enc/*")
    callbacks = [moving("enc/w", at), ProveFrozen(frozen), saver(every_steps)]
    with pytest.raises(FreezeError) as caught:
        train(model=model, callbacks=callbacks)
    assert str(caught.value).splitlines() == [
        "1 of 2 variables that were to stay as they are moved",
        f"  'enc/w' moved {said}",
        "something set them other than through the session, or moves them beside the optimizer",
    ]


def test_each_has_steps_of_its_own(folder: Path, train: Train, model: CountingModel) -> None:
    callbacks = [moving("enc/w", 3), moving("enc/b", 12), ProveFrozen("enc/*"), saver(1)]
    with (
        ws.freeze(model, "enc/*"),
        pytest.raises(FreezeError, match=r"'enc/w' moved in step 3\n  'enc/b' moved in step 12\n"),
    ):
        train(model=model, callbacks=callbacks)


def test_a_part_may_be_proved(folder: Path, train: Train, model: CountingModel) -> None:
    ws.freeze(model, "*")
    train(model=model, callbacks=[moving("w", 3, 3), ProveFrozen({"w": np.s_[:3]}), saver(1)])
    with pytest.raises(FreezeError, match="'w' moved in step 3"):
        train(model=model, callbacks=[moving("w", 3, 2), ProveFrozen({"w": np.s_[:3]}), saver(1)])


def test_what_is_set_on_purpose_is_to_be_kept(
    folder: Path, train: Train, model: CountingModel
) -> None:
    def assign(trainer: Trainer, metrics: Any) -> None:
        if trainer.step == 4:
            trainer.session.assign([("w", np.full(4, 9, np.float32))])

    ws.freeze(model, "*")
    callbacks = [Callback(after_step=assign), ProveFrozen("w")]
    train(model=model, callbacks=callbacks)
    with pytest.raises(FreezeError, match="'w' moved in step 8"):
        train(model=model, callbacks=[*callbacks, moving("w", 8), saver(1)])


def test_the_proof_spans_a_resume(folder: Path, train: Train, model: CountingModel) -> None:
    ws.freeze(model, "*")
    train(model=model, callbacks=[moving("w", 3), ProveFrozen("enc/*"), saver(1)], max_epoch=1)
    other = CountingModel()
    callbacks = [ProveFrozen("*"), saver(1)]
    other.session.initialize(list(SPECS))
    ws.freeze(other, "*")
    train(model=other, callbacks=callbacks, resume_from=folder / "model-2")
    assert callbacks[0].state()["w"]["since"] == 2
    assert callbacks[0].state()["enc/w"]["since"] == 0


def test_what_moved_before_the_resume_is_told(
    folder: Path, train: Train, model: CountingModel
) -> None:
    ws.freeze(model, "*")
    with pytest.raises(FreezeError, match="moved in step 3"):
        train(model=model, callbacks=[moving("w", 3), ProveFrozen("w"), saver(1)], max_epoch=1)
    with pytest.raises(FreezeError, match="'w' moved in step 3"):
        train(model=model, callbacks=[ProveFrozen("w"), saver(1)], resume_from=folder)


def test_another_part_is_proved_from_the_resume_on(
    folder: Path, train: Train, model: CountingModel
) -> None:
    ws.freeze(model, "*")
    train(model=model, callbacks=[ProveFrozen({"w": np.s_[:2]}), saver(1)], max_epoch=1)
    callback = ProveFrozen({"w": np.s_[2:]})
    train(model=model, callbacks=[callback, saver(1)], resume_from=folder)
    assert callback.state()["w"]["since"] == 5


def test_checkpoints_may_be_elsewhere(
    folder: Path, train: Train, model: CountingModel, tmp_path: Path
) -> None:
    ws.freeze(model, "*")
    elsewhere = tmp_path / "elsewhere"
    callbacks = [moving("w", 7), ProveFrozen("w"), ModelSaver(1, checkpoint_dir=elsewhere)]
    with pytest.raises(FreezeError, match="'w' moved in step 7"):
        train(model=model, callbacks=callbacks)
    callbacks = [moving("w", 7), ProveFrozen("w", checkpoint_dir=folder), saver(2)]
    with pytest.raises(FreezeError, match="'w' moved in one of the steps 7 to 8"):
        train(model=model, callbacks=callbacks)


def test_a_broken_checkpoint_does_not_hide_what_moved(
    folder: Path, train: Train, model: CountingModel
) -> None:
    def break_it(trainer: Trainer) -> None:
        (folder / "model-8.index").write_bytes(b"")

    ws.freeze(model, "*")
    callbacks = [moving("w", 7), ProveFrozen("w"), saver(2), Callback(stop=break_it)]
    with pytest.raises(FreezeError, match=r"the steps 1 to 15; the checkpoints do not tell closer"):
        train(model=model, callbacks=callbacks)


def test_a_run_that_failed_proves_nothing(folder: Path, train: Train, model: CountingModel) -> None:
    def fail(trainer: Trainer, metrics: Any) -> None:
        raise RuntimeError("the step failed")

    with pytest.raises(RuntimeError, match="the step failed"):
        train(model=model, callbacks=[Callback(after_step=fail), ProveFrozen("w")])


def test_patterns_that_match_nothing_are_refused(
    folder: Path, train: Train, model: CountingModel
) -> None:
    with pytest.raises(FreezeError, match="these patterns match none of 3 variables:\n  env"):
        train(model=model, callbacks=[ProveFrozen("env/*")])


def test_either_frozen_objects_or_patterns(model: CountingModel) -> None:
    with pytest.raises(TypeError, match="takes Frozen objects or patterns, not both"):
        ProveFrozen([ws.freeze(model, "w"), "enc/*"])  # type: ignore[list-item]


class TestFirstMoved:
    @pytest.fixture
    def run(self, folder: Path, train: Train, model: CountingModel) -> Path:
        ws.freeze(model, "*")
        callbacks = [moving("enc/w", 6), moving("w", 11, 3), saver(1)]
        train(model=model, callbacks=callbacks)
        return folder

    def test_a_folder_tells_afterwards(self, run: Path) -> None:
        assert ws.first_moved(run, "*") == {
            "w": ws.Moved("w", 10, 11),
            "enc/w": ws.Moved("enc/w", 5, 6),
        }
        assert ws.first_moved(str(run), ["enc/b", "re:.*/b"]) == {}

    def test_a_part_is_compared(self, run: Path) -> None:
        assert ws.first_moved(run, {"w": np.s_[:3]}) == {}
        assert ws.first_moved(run, {"w": np.s_[3]}) == {"w": ws.Moved("w", 10, 11)}

    def test_patterns_that_match_nothing_are_refused(self, run: Path) -> None:
        with pytest.raises(FreezeError, match="these patterns match none of 3 variables:"):
            ws.first_moved(run, "enk/*")

    def test_two_checkpoints_are_needed(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointNotFound, match="has 0 checkpoints model-STEP; to see what"):
            ws.first_moved(tmp_path, "*")
