"""Training stopped between any two system calls, and on disks that are full or fail."""

import errno
import itertools
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

import warmstart as ws
from warmstart.binary import lock
from warmstart.errors import SaveError
from warmstart.testing.crashes import REMOVALS, Fault, Trial, copied, record, trials
from warmstart.testing.toy import ToyModel
from warmstart.train import logger
from warmstart.train.newest import checkpoint_to_resume
from warmstart.train.trainer import Trainer


@pytest.fixture
def train_to(
    batches: Callable[[], ws.Batches], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path, int], Trainer]:
    """Return a function that trains in a folder to the end of an epoch, as the command would."""

    def train_to(folder: Path, max_epoch: int) -> Trainer:
        monkeypatch.setattr(logger, "_folder", folder)
        np.random.seed(0)
        config = ws.AutoResumeTrainConfig(
            model=ToyModel(),
            data=batches(),
            callbacks=[ws.MinSaver("noise"), ws.ModelSaver(max_to_keep=2)],
            max_epoch=max_epoch,
        )
        return ws.launch_train(config)

    return train_to


@pytest.fixture
def compared() -> tuple[str, ...]:
    """The last checkpoint and the best one."""
    return "model-20", "min-noise"


@pytest.fixture
def template(tmp_path: Path, train_to: Callable[[Path, int], Trainer]) -> Path:
    """The folder of a run of 3 epochs, so that the fourth deletes a checkpoint."""
    folder = tmp_path / "template"
    folder.mkdir()
    train_to(folder, 3)
    return folder


def test_the_epoch_saves_points_and_deletes(
    template: Path, tmp_path: Path, train_to: Callable[[Path, int], Trainer]
) -> None:
    folder = copied(template, tmp_path / "whole")
    points = record(lambda: train_to(folder, 4))
    replaced = [Path(point.to).name for point in points if point.call == "replace"]
    deleted = [Path(point.path).name for point in points if point.call == "unlink"]
    assert "model-20.index" in replaced
    assert replaced.count("checkpoint") == 2
    assert deleted[-3:] == [
        "model-10.index", "model-10.data-00000-of-00001", ".warmstart-lock",
    ]  # fmt: skip


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch, template: Path) -> None:
    """A file system without locks and hard links, a clock that jumps, links for names."""

    def refuse(*args: object, **options: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    jumps = map(random.Random(0).uniform, itertools.repeat(0), itertools.repeat(2e9))
    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    monkeypatch.setattr(lock, "PAUSE", 0.0)
    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    (template / "pointers").mkdir()
    (template / "checkpoint").rename(template / "pointers" / "latest")
    (template / "checkpoint").symlink_to("pointers/latest")


@pytest.mark.parametrize("fault", [Fault.KILLED, Fault.TORN])
def test_a_kill_at_every_point_loses_nothing(
    fault: Fault,
    tried: Callable[[Fault], Iterator[Trial]],
    whole: Mapping[str, object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    done = list(tried(fault))
    assert {trial.found[0] for trial in done} == {"model-15", "model-20"}
    assert all(trial.found[1] == whole for trial in done)
    assert "the newest sound one" not in caplog.text
    committed = [trial.found[0] for trial in done if "model-20.index" in trial.files]
    assert set(committed) == {"model-20"}  # whether it was named yet or not


@pytest.mark.parametrize("fault", [Fault.FULL, Fault.FAILING, Fault.READ_ONLY])
def test_a_disk_that_fails_at_any_point_loses_nothing(
    fault: Fault, tried: Callable[[Fault], Iterator[Trial]], whole: Mapping[str, object]
) -> None:
    done = list(tried(fault))
    assert {type(trial.error) for trial in done if not may_fail(trial)} == {SaveError}
    assert {trial.found[0] for trial in done} == {"model-15", "model-20"}
    assert all(trial.found[1] == whole for trial in done)


def may_fail(trial: Trial) -> bool:
    """Return whether nothing is lost but room when the call fails: then it is a warning."""
    return trial.point.call in REMOVALS


@pytest.mark.usefixtures("odd")
@pytest.mark.parametrize("fault", [Fault.KILLED, Fault.FAILING])
def test_an_odd_file_system_loses_nothing_either(
    fault: Fault, tried: Callable[[Fault], Iterator[Trial]], whole: Mapping[str, object]
) -> None:
    found = [trial.found for trial in tried(fault)]
    assert {name for name, _ in found} == {"model-15", "model-20"}
    assert all(how == whole for _, how in found)


def last_in(folder: Path) -> tuple[str, Mapping[str, bytes]] | None:
    """Return the name and the values of what a run in *folder* goes on from."""
    latest = checkpoint_to_resume(folder)
    if latest is None:
        return None
    with ws.open(latest) as source:
        return latest.name, {n: a.tobytes() for n, a in source.read_all().items()}


@pytest.fixture(params=[False, True], ids=["at once", "beside"])
def train_on(
    request: pytest.FixtureRequest,
    train: Callable[..., Trainer],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Path], object]:
    """Return a function that trains for 4 epochs in a folder, whatever cannot be saved there."""

    def train_on(folder: Path) -> None:
        monkeypatch.setattr(logger, "_folder", folder)
        saver = ws.ModelSaver(max_to_keep=1, asynchronous=request.param, on_error="warn")
        train(callbacks=[saver], max_epoch=4)

    return train_on


@pytest.mark.parametrize("fault", [Fault.FULL, Fault.FAILING])
def test_training_that_is_to_go_on_without_a_save_ends_as_ever(
    fault: Fault, train_on: Callable[[Path], object], tmp_path: Path
) -> None:
    (tmp_path / "before").mkdir()
    whole = copied(tmp_path / "before", tmp_path / "whole")
    train_on(whole)
    done = list(trials(tmp_path / "before", train_on, last_in, fault, tmp_path / "scratch"))
    ended = [trial for trial in done if trial.error is None]
    assert len(ended) > len(done) / 2
    expected = [last_in(whole)]
    assert all(trial.found in expected or trial.found[0] == "model-15" for trial in ended)
    # What is no save and fails is an error all the same: the statistics, and the folder's lock.
    others = {str(trial.error).partition(" was not ")[0] for trial in done if trial.error}
    assert {Path(other).name for other in others if "nothing can" not in other} == {"stats.jsonl"}


@pytest.mark.parametrize("seed", range(2))
def test_kills_at_random_times_lose_nothing(
    seed: int, template: Path, tmp_path: Path, train_to: Callable[[Path, int], Trainer], *,
    ended: Callable[[Path], Mapping[str, object]], whole: Mapping[str, object],
) -> None:  # fmt: skip
    folder, generator = copied(template, tmp_path / "killed"), random.Random(seed)
    steps = []
    for _ in range(15):
        child = os.fork()
        if child == 0:
            try:
                train_to(folder, 4)
            finally:
                os._exit(0)
        time.sleep(generator.uniform(0, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        latest = checkpoint_to_resume(folder)
        assert latest is not None
        steps.append(int(latest.name.removeprefix("model-")))
    train_to(folder, 4)
    assert steps == sorted(steps)
    assert ended(folder) == whole
