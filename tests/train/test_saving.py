"""Saves beside the training, and of what has changed alone."""

import errno
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import warmstart as ws
from warmstart.errors import SaveError
from warmstart.formats.tf_bundle import commit as steps
from warmstart.formats.tf_bundle import increment
from warmstart.formats.tf_bundle.paths import data_files, has_index
from warmstart.testing import toy
from warmstart.testing.callbacks import CallbackContract
from warmstart.testing.toy import ToyModel
from warmstart.train import logger, saving
from warmstart.train.callback import Callback
from warmstart.train.staging import Staging
from warmstart.train.trainer import Trainer

Train = Callable[..., Trainer]


class TestBeside(CallbackContract):
    def make(self, folder: Path) -> Callback:
        return ws.ModelSaver(asynchronous=True)


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the small files of these tests be worth sharing."""
    monkeypatch.setattr(increment, "LEAST", 1)


@pytest.fixture
def backbone(monkeypatch: pytest.MonkeyPatch) -> Callable[[], ToyModel]:
    """Return a function that makes a toy with a large variable that never changes."""

    def backbone() -> ToyModel:
        model = ToyModel()
        model.session.arrays["frozen"] = np.arange(20_000.0)
        return model

    monkeypatch.setitem(toy.ROLES, "frozen", "model")
    return backbone


def checkpoints(folder: Path) -> dict[str, tuple[dict[str, bytes], str]]:
    """Return the values and the run state of every checkpoint in *folder*."""
    found = {}
    for index in sorted(folder.glob("model-*.index")):
        with ws.open(index) as source:
            arrays = {name: array.tobytes() for name, array in source.read_all().items()}
            found[index.stem] = arrays, source.metadata["run"]
    return found


def new_bytes(folder: Path, name: str) -> int:
    """Return the bytes of the data files that *name* shares with no other checkpoint."""
    sizes = [path.stat() for path in data_files(folder / name)]
    return sum(status.st_size for status in sizes if status.st_nlink == 1)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("incremental", [False, True])
def test_the_checkpoints_are_the_same_however_they_are_saved(
    asynchronous: bool,
    incremental: bool,
    folder: Path,
    train: Train,
    backbone: Callable[[], ToyModel],
) -> None:
    plain = ws.ModelSaver(checkpoint_dir=folder / "plain", incremental=False)
    other = ws.ModelSaver(asynchronous=asynchronous, incremental=incremental)
    train(callbacks=[plain, other], model=backbone())
    assert checkpoints(folder) == checkpoints(folder / "plain")
    assert 'model_checkpoint_path: "model-15"' in (folder / "checkpoint").read_text()
    assert [new_bytes(folder, f"model-{n}") < 12_000 for n in (10, 15)] == [incremental] * 2


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_resumed_run_shares_with_the_checkpoint_that_it_goes_on_from(
    asynchronous: bool, folder: Path, train: Train, backbone: Callable[[], ToyModel]
) -> None:
    saver = ws.ModelSaver(asynchronous=asynchronous)
    train(callbacks=[saver], model=backbone(), max_epoch=2)
    train(callbacks=[saver], model=backbone(), resume_from=folder)
    assert new_bytes(folder, "model-15") < 12_000
    for name in ("model-5", "model-10"):
        steps.remove(folder.glob(f"{name}.*"))
    with ws.open(folder) as source:
        np.testing.assert_array_equal(source.read("frozen"), np.arange(20_000.0))


def test_the_best_checkpoint_keeps_what_it_has(
    folder: Path, train: Train, backbone: Callable[[], ToyModel]
) -> None:
    def large() -> set[int]:
        status = [path.stat() for path in data_files(folder / "min-score")]
        return {each.st_ino for each in status if each.st_size > 160_000}

    def look(trainer: Trainer) -> None:
        trainer.put("score", -trainer.epoch)
        found.append(large())

    found: list[set[int]] = []
    callbacks = [ws.Callback(after_epoch=look), ws.MinSaver("score")]
    train(callbacks=[*callbacks, ws.ModelSaver()], model=backbone(), max_epoch=2)
    train(callbacks=callbacks, model=backbone(), resume_from=folder)
    assert len(found[1]) == 1
    assert found[1] == found[2] == large()
    with ws.open(folder / "min-score") as source:
        np.testing.assert_array_equal(source.read("frozen"), np.arange(20_000.0))


def test_a_run_in_another_folder_shares_nothing(
    folder: Path, train: Train, tmp_path: Path, backbone: Callable[[], ToyModel]
) -> None:
    train(model=backbone(), max_epoch=2)
    other = ws.ModelSaver(checkpoint_dir=tmp_path / "other", asynchronous=True)
    train(callbacks=[other], model=backbone(), resume_from=folder)
    assert new_bytes(tmp_path / "other", "model-15") > 160_000


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_was_assigned_between_the_checkpoint_and_the_resume_is_saved(
    asynchronous: bool, folder: Path, train: Train, backbone: Callable[[], ToyModel]
) -> None:
    def reset(trainer: Trainer) -> None:
        trainer.session.assign([("frozen", np.zeros(20_000))])

    train(model=backbone(), max_epoch=2)
    saver = ws.ModelSaver(asynchronous=asynchronous)
    train(callbacks=[Callback(start=reset), saver], model=backbone(), resume_from=folder)
    with ws.open(folder) as source:
        assert not source.read("frozen").any()


class Gate:
    """Holds background saves back, and counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = threading.Event()
        self.saved: list[str] = []
        self._real = saving.save_increment
        monkeypatch.setattr(saving, "save_increment", self)

    def __call__(self, source: Any, path: Path, *args: Any, **options: Any) -> Any:
        assert self.open.wait(30)
        self.saved.append(path.name)
        return self._real(source, path, *args, **options)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


def test_the_training_goes_on_while_a_save_is_written(
    folder: Path, train: Train, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[list[str]] = []

    def look(trainer: Trainer, metrics: Mapping[str, float]) -> None:
        seen.append(list(gate.saved))
        if trainer.step == 9:
            gate.open.set()

    saver = ws.ModelSaver(asynchronous=True)
    trainer = train(callbacks=[Callback(after_step=look), saver], max_epoch=2)
    assert seen[:9] == [[]] * 9
    assert gate.saved == ["model-5", "model-10"]
    assert "waited" not in caplog.text
    with ws.open(folder) as source:  # of step 10, and not of when it was written
        assert source.read("w").tobytes() == trainer.session.read("w").tobytes()


def test_a_save_waits_for_the_one_before_and_says_so_once(
    folder: Path, train: Train, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    def open_soon(trainer: Trainer) -> None:
        threading.Timer(0.2, gate.open.set).start()

    saver = ws.ModelSaver(every_steps=1, asynchronous=True, max_to_keep=None)
    train(callbacks=[Callback(start=open_soon), saver])
    assert gate.saved == [f"model-{step}" for step in range(1, 16)]
    said = [r.getMessage() for r in caplog.records if "the training waited" in r.getMessage()]
    assert len(said) == 1
    assert (
        "s before model-2 could be saved, the checkpoint before being still on its way" in said[0]
    )


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Return a set: checkpoints named in it find the disk full when their index is written."""
    full: set[str] = set()
    real = increment.commit

    def commit(prefix: Path, *args: Any) -> None:
        if prefix.name in full:
            raise SaveError(os.strerror(errno.ENOSPC))
        real(prefix, *args)

    monkeypatch.setattr(increment, "commit", commit)
    return full


def test_a_failed_save_beside_the_training_raises_after_the_next_step(
    folder: Path, train: Train, full_disk: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def settle(trainer: Trainer, metrics: Mapping[str, float]) -> None:
        going = saver._saving._going  # type: ignore[attr-defined]
        if going is not None:
            going.exception()  # wait for it

    steps: list[int] = []
    saver = ws.ModelSaver(asynchronous=True)
    note = Callback(after_step=lambda trainer, _: steps.append(trainer.step))
    full_disk.add("model-10")
    with pytest.raises(SaveError, match="No space left on device") as caught:
        train(callbacks=[note, Callback(after_step=settle), saver])
    assert steps[-1] == 11
    assert any("while saving" in note and "model-10" in note for note in caught.value.__notes__)
    assert list(checkpoints(folder)) == ["model-5"]
    assert not list(folder.glob("model-10*"))


def test_a_failed_last_save_raises_at_the_end(
    folder: Path, train: Train, full_disk: set[str]
) -> None:
    full_disk.add("model-15")
    with pytest.raises(SaveError, match="No space left on device"):
        train(callbacks=[ws.ModelSaver(asynchronous=True)])
    assert list(checkpoints(folder)) == ["model-10", "model-5"]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_training_goes_on_without_a_checkpoint_if_told_so(
    asynchronous: bool,
    folder: Path,
    train: Train,
    full_disk: set[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    full_disk.add("model-10")
    saver = ws.ModelSaver(asynchronous=asynchronous, on_error="warn")
    train(callbacks=[saver], max_epoch=4)
    assert list(checkpoints(folder)) == ["model-15", "model-20", "model-5"]
    assert "a checkpoint could not be saved" in caplog.text
    assert "No space left on device" in caplog.text


@pytest.mark.parametrize("on_error", ["raise", "warn"])
def test_training_goes_on_without_the_best_if_told_so(
    on_error: Literal["raise", "warn"],
    folder: Path,
    train: Train,
    full_disk: set[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    score = ws.Callback(after_epoch=lambda trainer: trainer.put("score", -trainer.epoch))
    saver = ws.MinSaver("score", on_error=on_error)
    full_disk.add("min-score")
    if on_error == "raise":
        with pytest.raises(SaveError, match="No space left on device"):
            train(callbacks=[score, saver], max_epoch=2)
        return
    train(callbacks=[score, saver], max_epoch=2)
    assert caplog.text.count("a checkpoint could not be saved") == 2
    assert (saver.best, has_index(folder / "min-score")) == (None, False)
    full_disk.clear()
    train(callbacks=[score, saver], max_epoch=3)
    assert (saver.best, has_index(folder / "min-score")) == (-3, True)


def test_a_failed_save_leaves_nothing_to_share_with(
    folder: Path, train: Train, full_disk: set[str], backbone: Callable[[], ToyModel]
) -> None:
    """What was staged for it is in no checkpoint."""

    def change(trainer: Trainer) -> None:
        if trainer.epoch == 2:
            trainer.session.assign([("frozen", np.zeros(20_000))])

    full_disk.add("model-10")
    saver = ws.ModelSaver(asynchronous=True, on_error="warn")
    train(callbacks=[Callback(after_epoch=change), saver], model=backbone())
    with ws.open(folder / "model-15") as source:
        assert not source.read("frozen").any()


def test_a_state_that_cannot_be_taken_leaves_nothing_to_share_with(
    folder: Path, train: Train, backbone: Callable[[], ToyModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of it is staged already, and is in no checkpoint."""
    real = Staging.take

    def take(staging: Staging, source: Any) -> Any:
        found = real(staging, source)
        if "model-10" in str(saver._path(trainers[0])):
            raise SaveError("the values are not to be had")
        return found

    trainers: list[Trainer] = []

    def change(trainer: Trainer) -> None:
        trainers[:] = [trainer]
        if trainer.epoch == 2:
            trainer.session.assign([("frozen", np.zeros(20_000))])

    monkeypatch.setattr(Staging, "take", take)
    saver = ws.ModelSaver(asynchronous=True, on_error="warn")
    train(callbacks=[Callback(after_epoch=change), saver], model=backbone())
    with ws.open(folder / "model-15") as source:
        assert not source.read("frozen").any()


@pytest.fixture
def train_and_fail(folder: Path, train: Train, gate: Gate) -> Callable[[], None]:
    """Return a function that trains until a step fails, the save of step 5 still going on."""

    def fail(trainer: Trainer, metrics: Mapping[str, float]) -> None:
        if trainer.step == 7:
            gate.open.set()
            raise RuntimeError("the step failed")

    def train_and_fail() -> None:
        with pytest.raises(RuntimeError, match="the step failed"):
            train(callbacks=[Callback(after_step=fail), ws.ModelSaver(asynchronous=True)])

    return train_and_fail


def test_a_run_that_fails_finishes_the_save_that_is_going_on(
    folder: Path, train_and_fail: Callable[[], None]
) -> None:
    train_and_fail()
    assert list(checkpoints(folder)) == ["model-5"]


def test_the_error_of_a_run_hides_none_of_its_last_save(
    train_and_fail: Callable[[], None], full_disk: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    full_disk.add("model-5")
    train_and_fail()
    assert "a checkpoint could not be saved: " in caplog.text
    assert "No space left on device" in caplog.text


def test_a_save_at_the_start_and_two_runs_of_one_saver(folder: Path, train: Train) -> None:
    saver = ws.ModelSaver(asynchronous=True, at_start=True)
    train(callbacks=[saver], max_epoch=1)
    train(callbacks=[saver], max_epoch=2)
    assert list(checkpoints(folder)) == ["model-0", "model-10", "model-5"]
    names = [thread.name for thread in threading.enumerate()]
    assert not any(name.startswith("warmstart-save") for name in names)


def test_an_odd_on_error_is_refused() -> None:
    with pytest.raises(ValueError, match="on_error is 'ignore'; expected 'raise' or 'warn'"):
        ws.ModelSaver(on_error="ignore")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="on_error is None; expected 'raise' or 'warn'"):
        ws.MaxSaver("score", on_error=None)  # type: ignore[arg-type]


def test_the_disk_is_full_in_the_words_of_a_save(
    folder: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*args: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "writev", no_space)
    with pytest.raises(SaveError, match="was not written: No space left on device"):
        train(callbacks=[ws.ModelSaver(asynchronous=True)])


def test_nothing_is_logged_when_all_goes_well(
    folder: Path, train: Train, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        train(callbacks=[ws.ModelSaver(asynchronous=True)])
    assert caplog.text == ""
    assert logger.get_logger_dir() is not None
