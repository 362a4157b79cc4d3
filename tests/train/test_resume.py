import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from warmstart.errors import CorruptCheckpoint, ResumeError
from warmstart.files.variables import save_vars
from warmstart.formats import open_source
from warmstart.testing.toy import ROLES, ToyModel
from warmstart.train.best import MinSaver
from warmstart.train.callback import Callback
from warmstart.train.config import AutoResumeTrainConfig, launch_train
from warmstart.train.data import Batches
from warmstart.train.saver import ModelSaver
from warmstart.train.trainer import Trainer

Train = Callable[..., Trainer]


GIVEN = {"w": np.ones(3), "w/momentum": np.ones(3)}


class Killed(BaseException):
    """A kill, as far as the files can tell."""


def killing(step: int) -> Callback:
    def kill(trainer: Trainer, metrics: Mapping[str, float]) -> None:
        killed = {step: Killed}.get(trainer.step)
        if killed:
            raise killed

    return Callback(after_step=kill)


def left_by(folder: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Return what a run leaves: files, and the tensors of the best checkpoint.

    The file `checkpoint` has times in it, and a bundle written over its elder has other file names
    after an odd number of times than after an even one.
    """
    files = {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.name != "checkpoint" and not path.name.startswith("min-")
    }
    with open_source(folder / "min-loss") as best:
        tensors = {name: array.tobytes() for name, array in best.read_all().items()}
        return files, {**tensors, "run": best.metadata["run"].encode()}


@pytest.mark.parametrize("every_steps", [None, 1, 3])
@pytest.mark.parametrize("kills", [[1], [5], [7], [3, 4, 9, 12, 13], list(range(1, 15))], ids=str)
def test_a_killed_run_ends_with_the_bytes_of_one_that_was_not(
    tmp_path: Path,
    batches: Callable[[], Batches],
    every_steps: int | None,
    kills: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(folder: Path, *more: Callback) -> Trainer:
        from warmstart.train import logger

        monkeypatch.setattr(logger, "_folder", folder)
        np.random.seed(0)
        callbacks = [*more, MinSaver("loss"), ModelSaver(every_steps, max_to_keep=None)]
        config = AutoResumeTrainConfig(
            model=ToyModel(), data=batches(), callbacks=callbacks, max_epoch=3
        )
        return launch_train(config)

    for step in kills:
        with pytest.raises(Killed):
            run(tmp_path / "killed", killing(step))
    run(tmp_path / "killed")
    run(tmp_path / "whole")
    assert left_by(tmp_path / "killed") == left_by(tmp_path / "whole")


def test_a_start_that_draws_random_numbers_does_no_harm(folder: Path, train: Train) -> None:
    drawing = Callback(start=lambda trainer: np.random.standard_normal())  # type: ignore[arg-type]
    whole = train(callbacks=[drawing, ModelSaver()]).session.read("w").tobytes()
    train(callbacks=[drawing, ModelSaver()], max_epoch=1)
    resumed = train(callbacks=[drawing], resume_from=folder)
    assert resumed.session.read("w").tobytes() == whole


def test_a_resume_restores_the_place_and_says_so(
    folder: Path, train: Train, caplog: pytest.LogCaptureFixture
) -> None:
    train(callbacks=[ModelSaver(every_steps=3, at_end=False)], max_epoch=2)
    seen: list[tuple[int, int, int]] = []

    def look(trainer: Trainer) -> None:
        seen.append((trainer.step, trainer.epoch, trainer.step_in_epoch))

    with caplog.at_level(logging.INFO, "warmstart"):
        train(callbacks=[Callback(start=look)], resume_from=folder)
    assert seen == [(9, 2, 4)]
    assert "model-9 at step 9" in caplog.text


@pytest.mark.parametrize(
    ("change", "name", "reason"),
    [
        ({"steps_per_epoch": 4}, "steps_per_epoch", "here 4, in the checkpoint's run 5"),
        ({"data": [(np.ones((4, 3)), np.ones(4))] * 5}, "data", "a list cannot say and regain"),
        ({"callbacks": [MinSaver("loss")]}, "min-loss", "of that key has no state in the check"),
        ({"callbacks": []}, "mine", "the checkpoint has the state of a callback of that key"),
    ],
    ids=["steps_per_epoch", "data", "new callback", "lost callback"],
)
def test_a_piece_that_cannot_be_restored_is_refused_unless_accepted(
    folder: Path, train: Train, change: dict[str, Any], name: str, reason: str
) -> None:
    mine = Callback(state=dict, load_state=lambda state: None, key="mine")
    keep = {"callbacks": [mine]}
    train(callbacks=[mine, ModelSaver()], max_epoch=1)
    with pytest.raises(ResumeError, match=f"{name}: .*{reason}") as caught:
        train(**{**keep, **change}, resume_from=folder)
    assert f"accept=('{name}'," in str(caught.value)
    accept = (name, "mine")
    assert train(**{**keep, **change}, resume_from=folder, accept=accept).finished


def test_all_pieces_that_cannot_be_restored_are_named_together(folder: Path, train: Train) -> None:
    train(callbacks=[MinSaver("loss"), ModelSaver()], max_epoch=1)
    with pytest.raises(ResumeError, match="3 of the run's pieces cannot be restored") as caught:
        train(callbacks=[], data=[(np.ones((4, 3)), np.ones(4))], resume_from=folder)
    assert str(caught.value).endswith(
        "accept=('steps_per_epoch', 'data', 'min-loss',); to begin anew: start in another folder"
    )
    assert not any("begin anew" in note for note in caught.value.__notes__)


def test_data_of_another_cut_is_refused_unless_accepted(folder: Path, train: Train) -> None:
    def other() -> Batches:
        return Batches((np.ones((40, 3)), np.ones(40)), 8)

    train(max_epoch=1)
    with pytest.raises(ResumeError, match="the data is not that of the checkpoint") as caught:
        train(data=other(), resume_from=folder)
    assert "to begin anew: start in another folder" in caught.value.__notes__
    resumed = train(data=other(), resume_from=folder, accept=("data",), max_epoch=2)
    assert resumed.data.state()["pass"] == 1


def test_a_checkpoint_without_the_place_of_the_data_is_refused(folder: Path, train: Train) -> None:
    train(data=[(np.ones((4, 3)), np.ones(4))] * 5, max_epoch=1)
    with pytest.raises(ResumeError, match="data: the checkpoint does not have its place"):
        train(resume_from=folder)


def test_what_the_engine_cannot_bring_back_is_refused_unless_accepted(
    folder: Path, train: Train
) -> None:
    def model() -> ToyModel:
        toy = ToyModel()
        toy.session.unresumable = lambda: {"drop/uniform": "a dice"}  # type: ignore[method-assign]
        return toy

    with pytest.raises(ResumeError, match="bring back 1 of its pieces\n  drop/uniform: a dice"):
        train(model=model(), max_epoch=1)
    train(model=model(), max_epoch=1, accept=("drop/*",))
    with pytest.raises(ResumeError, match="drop/uniform: a dice"):
        train(model=model(), resume_from=folder)
    assert train(model=model(), resume_from=folder, accept=("drop/*",)).step == 15


def test_a_part_of_the_engines_state_that_does_not_fit_is_refused_unless_accepted(
    folder: Path, train: Train
) -> None:
    def model() -> ToyModel:
        toy = ToyModel()
        toy.session.misfits = lambda state: {"cuda": "no such device"}  # type: ignore[method-assign]
        toy.session.load_fitting = lambda state, accepts: None  # type: ignore[method-assign]
        return toy

    train(max_epoch=1)
    with pytest.raises(ResumeError, match=r"cuda: no such device\nto go on without: accept="):
        train(model=model(), resume_from=folder)
    assert train(model=model(), resume_from=folder, accept="cuda").finished


@pytest.mark.parametrize(
    ("saved", "error"), [({}, "KeyError"), ({"best": [1]}, "KeyError"), (3, "TypeError")], ids=str
)
def test_a_state_that_a_callback_cannot_use_is_named(
    folder: Path, train: Train, saved: Any, error: str
) -> None:
    other = Callback(key="min-loss", state=lambda: saved, load_state=lambda state: None)
    train(callbacks=[other, ModelSaver()], max_epoch=1)
    with pytest.raises(ResumeError, match=f"min-loss: its state in the checkpoint .* {error}"):
        train(callbacks=[MinSaver("loss")], resume_from=folder)


def test_a_model_that_cannot_take_its_state_back_is_refused(folder: Path, train: Train) -> None:
    class Forgetful(ToyModel):
        load_state = property()  # type: ignore[assignment]

    train(max_epoch=1)
    with pytest.raises(ResumeError, match=r"model: it has a state in the checkpoint, and no load"):
        train(model=Forgetful(), resume_from=folder)


def test_a_models_state_that_does_not_fit_is_refused_unless_accepted(
    folder: Path, train: Train, caplog: pytest.LogCaptureFixture
) -> None:
    class Other(ToyModel):
        def load_state(self, state: Mapping[str, Any]) -> None:
            raise KeyError("speed")

    train(max_epoch=1)
    with pytest.raises(ResumeError, match=r"model: its state .*KeyError\('speed'\)"):
        train(model=Other(), resume_from=folder)
    assert train(model=Other(), resume_from=folder, accept="model").finished
    assert "model: its state begins anew: " in caplog.text


def test_data_without_a_place_may_be_drawn_again(folder: Path, train: Train) -> None:
    def plain() -> list[Any]:
        generator = np.random.default_rng(0)
        return [(generator.standard_normal((4, 3)), np.ones(4)) for _ in range(5)]

    replay = {"accept": "replay", "callbacks": [ModelSaver(every_steps=3)]}
    whole = train(data=plain(), **replay).session.read("w").tobytes()
    assert train(data=plain(), **replay, resume_from=folder / "model-9").session.read(
        "w"
    ).tobytes() == (whole)


def test_one_pattern_is_accepted_without_a_list(folder: Path, train: Train) -> None:
    train(max_epoch=1)
    assert train(resume_from=folder, steps_per_epoch=4, accept="steps_*").finished


def test_nothing_is_changed_by_a_resume_that_is_refused(folder: Path, train: Train) -> None:
    train(max_epoch=1)
    model = ToyModel()
    with pytest.raises(ResumeError):
        train(model=model, resume_from=folder, steps_per_epoch=4)
    assert model.session.read("w").tolist() == [0, 0, 0]


def test_a_run_state_of_another_version_is_refused(folder: Path, train: Train) -> None:
    from warmstart.source import DictSource

    save_vars(DictSource({"w": np.ones(3)}, metadata={"run": '{"version": 2}'}), folder / "model-1")
    with pytest.raises(CorruptCheckpoint, match="is not of version 1; it has version 2 and the"):
        train(resume_from=folder / "model-1")


@pytest.mark.parametrize(
    ("asked", "steps"),
    [
        ({}, [15]),
        ({"session_init": GIVEN}, [15]),
        ({"starting_epoch": 3}, [15]),
        ({"always_resume": False}, [15]),
        ({"always_resume": False, "starting_epoch": 3}, [10]),
        (
            {"always_resume": False, "session_init": {"w": np.ones(3), "w/momentum": np.ones(3)}},
            [0],
        ),
    ],
    ids=str,
)
def test_when_a_config_resumes(
    folder: Path, train: Train, batches: Callable[[], Batches], asked: Any, steps: list[int]
) -> None:
    train()
    started: list[int] = []
    callbacks = [Callback(start=lambda trainer: started.append(trainer.step)), ModelSaver()]
    launch_train(
        AutoResumeTrainConfig(
            model=ToyModel(), data=batches(), callbacks=callbacks, max_epoch=4, **asked
        )
    )
    assert started == steps


def test_a_config_looks_where_its_saver_saves(
    folder: Path, tmp_path: Path, train: Train, batches: Callable[[], Batches]
) -> None:
    own = tmp_path / "own"
    train(callbacks=[ModelSaver(checkpoint_dir=own)])
    config = AutoResumeTrainConfig(
        model=ToyModel(),
        data=batches(),
        callbacks=[ModelSaver(checkpoint_dir=own)],
        max_epoch=3,
    )
    assert config.resume_from() == own / "model-15"


OTHER_TRAINED = {
    "trainable": ("model", "trained in the run so far, and not here: w; what a callback freezes"),
    "model": ("trainable", "trained here, and not in the run so far: w; what a callback freezes"),
}


@pytest.mark.parametrize("before", OTHER_TRAINED)
def test_it_says_what_is_trained_that_was_not_and_the_other_way_round(
    before: str,
    folder: Path,
    train: Train,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, said = OTHER_TRAINED[before]
    monkeypatch.setitem(ROLES, "w", before)
    train(callbacks=[ModelSaver()], max_epoch=1)
    monkeypatch.setitem(ROLES, "w", now)
    train(callbacks=[ModelSaver()], max_epoch=2, resume_from=folder)
    assert said in caplog.text
    caplog.clear()
    again = Callback(start=lambda trainer: monkeypatch.setitem(ROLES, "w", before))
    train(callbacks=[again, ModelSaver()], max_epoch=3, resume_from=folder / "model-5")
    assert "in the run so far" not in caplog.text


def test_a_run_that_a_callback_ended_stays_ended_where_its_start_says_so(
    folder: Path, train: Train
) -> None:
    def stop(trainer: Trainer) -> None:
        trainer.stopping = True

    train(callbacks=[Callback(after_epoch=stop), ModelSaver()])
    ended = train(callbacks=[Callback(start=stop), ModelSaver()], resume_from=folder)
    assert (ended.step, ended.finished) == (5, True)
    assert train(callbacks=[ModelSaver()], resume_from=folder).step == 15
