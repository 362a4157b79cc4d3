"""Training stopped between any two system calls, and on a full disk."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

import warmstart as ws
from warmstart.errors import SaveError
from warmstart.testing.crashes import Fault, Trial, copied, record, trials
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


def ended(folder: Path) -> Mapping[str, object]:
    """Return how the run in *folder* ended: statistics, the last checkpoint, the best one."""
    found: dict[str, object] = {"stats": (folder / "stats.jsonl").read_bytes()}
    for name in ("model-20", "min-noise"):
        with ws.open(folder / name) as source:
            found[name] = {n: a.tobytes() for n, a in source.read_all().items()}, source.metadata
    return found


@pytest.fixture
def template(tmp_path: Path, train_to: Callable[[Path, int], Trainer]) -> Path:
    """The folder of a run of 3 epochs, so that the fourth deletes a checkpoint."""
    folder = tmp_path / "template"
    folder.mkdir()
    train_to(folder, 3)
    return folder


@pytest.fixture
def tried(
    template: Path, tmp_path: Path, train_to: Callable[[Path, int], Trainer]
) -> Callable[[Fault], Iterator[tuple[Trial, Mapping[str, object]]]]:
    """Return a function that stops the fourth epoch at every point, and then goes on."""

    def found_and_ended(folder: Path) -> tuple[str, Mapping[str, object]]:
        latest = checkpoint_to_resume(folder)
        assert latest is not None
        train_to(folder, 4)
        return latest.name, ended(folder)

    def tried(fault: Fault) -> Iterator[Trial]:
        scratch = tmp_path / "scratch"
        return trials(template, lambda f: train_to(f, 4), found_and_ended, fault, scratch)

    return tried  # type: ignore[return-value]


@pytest.fixture
def whole(template: Path, tmp_path: Path, train_to: Callable[[Path, int], Trainer]) -> Path:
    """The folder of a run that was never stopped."""
    folder = copied(template, tmp_path / "whole")
    train_to(folder, 4)
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


@pytest.mark.parametrize("fault", [Fault.KILLED, Fault.TORN])
def test_a_kill_at_every_point_loses_nothing(
    fault: Fault,
    tried: Callable[[Fault], Iterator[Trial]],
    whole: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = [trial.found for trial in tried(fault)]
    assert {name for name, _ in found} == {"model-15", "model-20"}
    assert all(how == ended(whole) for _, how in found)
    assert "the newest sound one" not in caplog.text


def test_a_full_disk_at_every_point_is_an_error_and_loses_nothing(
    tried: Callable[[Fault], Iterator[Trial]], whole: Path
) -> None:
    done = list(tried(Fault.FULL))
    assert {type(trial.error) for trial in done} == {SaveError}
    assert {trial.found[0] for trial in done} == {"model-15", "model-20"}
    assert all(trial.found[1] == ended(whole) for trial in done)
