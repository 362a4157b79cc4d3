import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import warmstart as ws
from warmstart.errors import SaveError
from warmstart.formats import open_source
from warmstart.formats.tf_bundle.state import read_state
from warmstart.testing.callbacks import CallbackContract
from warmstart.testing.toy import ToyModel
from warmstart.train import newest, run_folder, saving
from warmstart.train.best import MinSaver
from warmstart.train.callback import Callback
from warmstart.train.saver import ModelSaver
from warmstart.train.saving import AtOnce
from warmstart.train.snapshot import saved_state
from warmstart.train.trainer import Trainer

Train = Callable[..., Trainer]


class TestModelSaver(CallbackContract):
    def make(self, folder: Path) -> Callback:
        return ModelSaver()


def steps_in(folder: Path) -> list[int]:
    """Return the steps whose checkpoints are in *folder*."""
    return sorted(int(path.stem.removeprefix("model-")) for path in folder.glob("model-*.index"))


@pytest.mark.parametrize(
    ("saver", "steps"),
    [
        (ModelSaver(), [5, 10, 15]),
        (ModelSaver(every_steps=2), [2, 4, 6, 8, 10, 12, 14, 15]),
        (ModelSaver(every_steps=7, at_end=False), [7, 14]),
        (ModelSaver(every_steps=5, at_start=True), [0, 5, 10, 15]),
        (ModelSaver(every_secs=1e-9, at_end=False, max_to_keep=None), list(range(1, 16))),
        (ModelSaver(every_secs=3600), [15]),
        (ModelSaver(max_to_keep=2), [10, 15]),
        (ModelSaver(every_steps=1, max_to_keep=1, keep_checkpoint_every_n_steps=4), [4, 8, 12, 15]),
    ],
    ids=["epochs", "steps", "not at end", "at start", "secs", "no secs yet", "max_to_keep", "kept"],
)
def test_when_it_saves(folder: Path, train: Train, saver: ModelSaver, steps: list[int]) -> None:
    train(callbacks=[saver])
    assert steps_in(folder) == steps


def test_no_step_is_saved_twice(
    folder: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    monkeypatch.setattr(
        AtOnce, "save", lambda self, trainer, path, listed: saved.append(trainer.step)
    )
    train(callbacks=[ModelSaver(every_steps=5, every_secs=1e-9)])
    assert saved == list(range(1, 16))


def test_a_checkpoint_has_variables_slots_and_run_state(folder: Path, train: Train) -> None:
    trainer = train()
    with open_source(folder) as source:
        state = saved_state(source)
        roles = {name: spec.role for name, spec in source.specs.items()}
        weights = source.read("w")
    assert weights.tobytes() == trainer.session.read("w").tobytes()
    assert roles == {
        "w": "trainable",
        "w/momentum": "slot",
        "_RUN/random/python/internal": "run",
        "_RUN/random/numpy/state/key": "run",
    }
    assert state is not None
    assert (state["step"], state["epoch"], state["step_in_epoch"]) == (15, 4, 0)
    assert state["model"] == {"rate": trainer.model.rate}  # type: ignore[attr-defined]


def test_the_end_of_a_run_that_failed_is_not_saved(folder: Path, train: Train) -> None:
    def fail(trainer: Trainer, metrics: Mapping[str, float]) -> None:
        raise RuntimeError("the step failed")

    with pytest.raises(RuntimeError, match="the step failed"):
        train(callbacks=[Callback(after_step=fail), ModelSaver()])
    assert steps_in(folder) == []


def test_the_end_of_a_run_that_was_asked_to_stop_is_saved(folder: Path, train: Train) -> None:
    def stop(trainer: Trainer, metrics: Mapping[str, float]) -> None:
        trainer.stopping = trainer.step == 7

    train(callbacks=[Callback(after_step=stop), ModelSaver()])
    assert steps_in(folder) == [5, 7]


def test_a_save_that_fails_raises_and_the_last_one_stands(
    folder: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    def fill_the_disk(trainer: Trainer) -> None:
        monkeypatch.setattr(os, "fsync", [os.fsync, no_space][trainer.epoch == 2])

    callbacks = [Callback(after_epoch=fill_the_disk), ModelSaver()]
    with pytest.raises((SaveError, OSError), match="No space left on device"):
        train(callbacks=callbacks)
    monkeypatch.undo()
    with open_source(folder) as source:
        state = saved_state(source)
    assert state is not None
    assert state["step"] == 5


def test_the_pointer_names_what_is_kept_by_relative_paths(folder: Path, train: Train) -> None:
    train(callbacks=[ModelSaver(max_to_keep=2)])
    state = read_state(folder)
    assert state is not None
    assert (state.latest, state.all_paths) == ("model-15", ("model-10", "model-15"))
    assert len(state.timestamps) == 2


def test_a_resumed_run_goes_on_deleting_its_old_checkpoints(folder: Path, train: Train) -> None:
    train(callbacks=[ModelSaver(max_to_keep=2)], max_epoch=2)
    train(callbacks=[ModelSaver(max_to_keep=2)], max_epoch=4, resume_from=folder)
    assert steps_in(folder) == [15, 20]


def losing(*values: float) -> Callback:
    """Return a callback that measures *values*, one an epoch, as "val_loss"."""
    return Callback(after_epoch=lambda trainer: trainer.put("val_loss", values[trainer.epoch - 1]))


@pytest.mark.parametrize("stop", [None, 3, 4])
def test_the_best_are_kept_through_a_resume(folder: Path, train: Train, stop: int | None) -> None:
    def callbacks() -> list[Callback]:
        best = ws.Best("val_loss", k=2)
        return [losing(0.5, 0.1, 0.4, 0.3, 0.2, 0.6), ModelSaver(max_to_keep=1, keep_best=best)]

    for resume_from in [None, folder][: 1 + (stop is not None)]:
        end = stop if resume_from is None and stop else 6
        train(callbacks=callbacks(), max_epoch=end, resume_from=resume_from)
    assert steps_in(folder) == [10, 25, 30]


@pytest.mark.parametrize("every", [{"every_steps": 7}, {"every_secs": 3600}])
def test_the_best_epoch_is_kept_whenever_saves_are_due(
    folder: Path, train: Train, every: dict[str, int]
) -> None:
    best = ws.Best("val_loss")
    saver = ModelSaver(**every, max_to_keep=1, keep_best=best)
    train(callbacks=[losing(0.5, 0.1, 0.4, 0.3), saver], max_epoch=4)
    assert steps_in(folder) == [10, 20]


@pytest.mark.parametrize("keep_best", ["loss", ["loss"]])
def test_a_best_is_no_name(keep_best: Any) -> None:
    with pytest.raises(TypeError, match=r"keep_best has 'loss'; expected ws[.]Best"):
        ModelSaver(keep_best=keep_best)


def test_a_best_of_what_is_not_measured_is_refused(folder: Path, train: Train) -> None:
    saver = ModelSaver(keep_best=[ws.Best("val_loss"), ws.Best("loss")])
    with pytest.raises(ValueError, match="keep_best goes by 'val_loss', which the first epo"):
        train(callbacks=[saver])


def test_two_runs_do_not_save_into_one_folder(folder: Path, train: Train) -> None:
    def train_another(trainer: Trainer) -> None:
        train(callbacks=[ModelSaver()])

    with pytest.raises(SaveError, match="log is being saved into by another run of this very"):
        train(callbacks=[MinSaver("loss"), Callback(after_epoch=train_another), ModelSaver()])
    train(callbacks=[MinSaver("loss"), ModelSaver()])
    assert not (folder / ".warmstart-lock").exists()


def test_a_second_run_changes_nothing_and_does_not_even_look(
    folder: Path, train: Train, batches: Callable[[], ws.Batches], monkeypatch: pytest.MonkeyPatch
) -> None:
    def launch_another(trainer: Trainer) -> None:
        before = {path: path.read_bytes() for path in folder.iterdir()}
        config = ws.AutoResumeTrainConfig(model=ToyModel(), data=batches(), max_epoch=2)
        with pytest.raises(SaveError, match="another run of this very process"):
            ws.launch_train(config)
        assert {path: path.read_bytes() for path in folder.iterdir()} == before

    monkeypatch.setattr(newest, "choose", {}.__getitem__)
    train(callbacks=[Callback(start=launch_another, after_epoch=launch_another), ModelSaver()])
    assert steps_in(folder) == [5, 10, 15]


@pytest.mark.parametrize(
    ("module", "name"), [(saving, "save_increment"), (run_folder, "sweep_folder")]
)
def test_a_saver_that_cannot_start_does_not_hold_the_folder(
    module: object, name: str, folder: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(module, name, fail)
    with pytest.raises(RuntimeError, match="no"):
        train(callbacks=[ModelSaver(at_start=True)])
    assert not (folder / ".warmstart-lock").exists()


def test_a_folder_that_is_removed_during_the_run_gets_the_next_save(
    folder: Path, train: Train, caplog: pytest.LogCaptureFixture
) -> None:
    own = folder / "own"
    remove = Callback(after_epoch=lambda trainer: shutil.rmtree(own))
    train(callbacks=[remove, ModelSaver(checkpoint_dir=own)])
    assert steps_in(own) == [15]
    assert "own was removed during the run, and is made again" in caplog.text
    state = read_state(own)
    assert state is not None
    assert state.all_paths == ("model-15",)


def test_a_new_run_leaves_the_checkpoints_of_another_alone(folder: Path, train: Train) -> None:
    train(callbacks=[ModelSaver(every_steps=2)], max_epoch=1)
    train(callbacks=[ModelSaver(max_to_keep=1)], max_epoch=2)
    assert steps_in(folder) == [2, 4, 10]  # the new run saved step 5 anew, and so it is its own


def test_a_resumed_run_with_nothing_to_do_saves_nothing(folder: Path, train: Train) -> None:
    train()
    before = (folder / "model-15.index").stat().st_mtime_ns
    train(resume_from=folder, callbacks=[ModelSaver(at_start=True)])
    assert (folder / "model-15.index").stat().st_mtime_ns == before


def test_what_a_kill_left_half_written_is_swept(folder: Path, train: Train) -> None:
    left = [".model-3.index.1-2.warmstart-tmp", "model-3.data-00000-of-00001"]
    others = ["model.data-00000-of-00001", "notes.txt"]
    for name in (*left, *others):
        (folder / name).write_text("half")
    train()
    there = set(os.listdir(folder))
    assert there.isdisjoint(left)
    assert there.issuperset(others)


def test_the_graph_is_kept_beside_the_checkpoints(folder: Path, train: Train) -> None:
    saved: list[Path] = []
    model = ToyModel()
    model.session.save_graph = saved.append  # type: ignore[assignment,method-assign,func-returns-value]
    train(model=model)
    assert saved == [folder]


def test_a_folder_of_its_own(folder: Path, train: Train, tmp_path: Path) -> None:
    train(callbacks=[ModelSaver(checkpoint_dir=tmp_path / "own" / "deep")])
    assert steps_in(tmp_path / "own" / "deep") == [5, 10, 15]
    assert steps_in(folder) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every_steps": 0}, "every_steps is 0; expected 1 or more, or None"),
        ({"keep_checkpoint_every_n_steps": 0}, "keep_checkpoint_every_n_steps is 0; expected 1 or"),
        ({"max_to_keep": 0}, "max_to_keep is 0; expected 1 or more, or None"),
        ({"every_secs": 0.0}, r"every_secs is 0\.0; expected more than 0"),
    ],
)
def test_odd_counts_are_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelSaver(**arguments)  # type: ignore[arg-type]
