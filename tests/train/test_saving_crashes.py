"""Training that saves beside itself, or what has changed alone, stopped at every point."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

import warmstart as ws
from warmstart.errors import SaveError
from warmstart.formats.tf_bundle import increment
from warmstart.testing import toy
from warmstart.testing.crashes import Fault, Trial, copied, record, undurable
from warmstart.testing.toy import ToyModel
from warmstart.train import logger
from warmstart.train.trainer import Trainer

TrainTo = Callable[[Path, int], Trainer]


class InTurn(ws.ModelSaver):
    """Saves in the other thread, waited for, so that its calls have their turn in every trial."""

    def after_epoch(self, trainer: Trainer) -> None:
        super().after_epoch(trainer)
        with self._failing():
            self._saving.settle()


SAVERS: dict[str, Callable[[], ws.ModelSaver]] = {
    "at once": lambda: ws.ModelSaver(max_to_keep=2),
    "beside": lambda: ws.ModelSaver(max_to_keep=2, asynchronous=True),
    "in turn": lambda: InTurn(max_to_keep=2, asynchronous=True),
}


@pytest.fixture
def train_to(
    request: pytest.FixtureRequest,
    batches: Callable[[], ws.Batches],
    monkeypatch: pytest.MonkeyPatch,
) -> TrainTo:
    """Return a function that trains in a folder to the end of an epoch, as the command would."""

    def train_to(folder: Path, max_epoch: int) -> Trainer:
        monkeypatch.setattr(logger, "_folder", folder)
        np.random.seed(0)
        model = ToyModel()
        model.session.arrays["frozen"] = np.arange(3000.0)
        saver = SAVERS[request.param]()
        config = ws.AutoResumeTrainConfig(
            model=model, data=batches(), callbacks=[saver], max_epoch=max_epoch
        )
        return ws.launch_train(config)

    monkeypatch.setattr(increment, "LEAST", 4096)
    monkeypatch.setitem(toy.ROLES, "frozen", "model")
    return train_to


@pytest.fixture
def compared() -> tuple[str, ...]:
    """The last two checkpoints."""
    return "model-15", "model-20"


@pytest.fixture
def template(tmp_path: Path, train_to: TrainTo) -> Path:
    """The folder of a run of 3 epochs, so that the fourth shares, and deletes what it shares."""
    folder = tmp_path / "template"
    folder.mkdir()
    train_to(folder, 3)
    assert (folder / "model-15.data-00000-of-00002").stat().st_nlink == 2
    return folder


@pytest.mark.parametrize("train_to", ["at once", "in turn"], indirect=True)
def test_a_power_cut_undoes_nothing(template: Path, tmp_path: Path, train_to: TrainTo) -> None:
    folder = copied(template, tmp_path / "whole")
    points = record(lambda: train_to(folder, 4))
    assert "link" in {point.call for point in points}
    saves = [p for p in points if re.search(r"model-|checkpoint|/whole$", p.path + p.to)]
    assert undurable(saves) == []


@pytest.mark.parametrize(
    ("train_to", "fault"),
    [
        ("at once", Fault.KILLED),
        ("at once", Fault.TORN),
        ("in turn", Fault.KILLED),
        ("in turn", Fault.TORN),
        ("beside", Fault.KILLED),
    ],
    indirect=["train_to"],
)
def test_a_kill_at_every_point_loses_nothing(
    fault: Fault, tried: Callable[[Fault], Iterator[Trial]], whole: Mapping[str, object]
) -> None:
    found = [trial.found for trial in tried(fault)]
    assert {name for name, _ in found} == {"model-15", "model-20"}
    assert all(how == whole for _, how in found)


@pytest.mark.parametrize("train_to", ["at once", "in turn"], indirect=True)
def test_a_full_disk_at_every_point_is_an_error_and_loses_nothing(
    tried: Callable[[Fault], Iterator[Trial]], whole: Mapping[str, object]
) -> None:
    done = list(tried(Fault.FULL))
    assert {type(trial.error) for trial in done} == {SaveError}
    assert {trial.found[0] for trial in done} == {"model-15", "model-20"}
    assert all(trial.found[1] == whole for trial in done)
