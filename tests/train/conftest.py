from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import warmstart as ws
from warmstart.testing.crashes import Fault, Trial, copied, trials
from warmstart.testing.toy import ToyModel
from warmstart.train import logger
from warmstart.train.data import Batches
from warmstart.train.newest import checkpoint_to_resume
from warmstart.train.trainer import Trainer


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the run, for this test only."""
    monkeypatch.setattr(logger, "_folder", None)
    return logger.set_logger_dir(tmp_path / "log")


@pytest.fixture
def batches() -> Callable[[], Batches]:
    """Return a function that makes the same data anew: 5 batches a pass."""
    generator = np.random.default_rng(0)
    inputs = generator.standard_normal((20, 3))
    targets = inputs @ np.array([1.0, -2.0, 0.5])
    return lambda: Batches((inputs, targets), 4)


@pytest.fixture
def train(batches: Callable[[], Batches]) -> Callable[..., Trainer]:
    """Return a function that trains a toy from the beginning, in 3 epochs of 5 steps."""

    def train(**arguments: Any) -> Trainer:
        np.random.seed(0)
        trainer = Trainer(arguments.pop("model", None) or ToyModel())
        trainer.train(**{"data": batches(), "max_epoch": 3, **arguments})
        return trainer

    return train


# Runs stopped at every point of their fourth epoch.  The module of the tests has the fixtures
# `train_to`, which trains in a folder to the end of an epoch, `template`, a folder of three epochs,
# and `compared`, the names of the checkpoints by which two runs are compared.


@pytest.fixture
def ended(compared: Iterable[str]) -> Callable[[Path], Mapping[str, object]]:
    """Return a function that tells how the run in a folder ended: statistics and checkpoints."""

    def ended(folder: Path) -> Mapping[str, object]:
        found: dict[str, object] = {"stats": (folder / "stats.jsonl").read_bytes()}
        for name in compared:
            with ws.open(folder / name) as source:
                arrays = {n: a.tobytes() for n, a in source.read_all().items()}
                found[name] = arrays, dict(source.metadata)
        return found

    return ended


@pytest.fixture
def whole(
    template: Path,
    tmp_path: Path,
    train_to: Callable[[Path, int], Trainer],
    ended: Callable[[Path], Mapping[str, object]],
) -> Mapping[str, object]:
    """How a run ends that was never stopped."""
    folder = copied(template, tmp_path / "whole")
    train_to(folder, 4)
    return ended(folder)


@pytest.fixture
def tried(
    template: Path,
    tmp_path: Path,
    train_to: Callable[[Path, int], Trainer],
    ended: Callable[[Path], Mapping[str, object]],
) -> Callable[[Fault], Iterator[Trial]]:
    """Return a function that stops the fourth epoch at every point, and then goes on."""

    def found_and_ended(folder: Path) -> tuple[str, Mapping[str, object]]:
        latest = checkpoint_to_resume(folder)
        assert latest is not None
        train_to(folder, 4)
        return latest.name, ended(folder)

    def tried(fault: Fault) -> Iterator[Trial]:
        scratch = tmp_path / "scratch"
        return trials(template, lambda f: train_to(f, 4), found_and_ended, fault, scratch)

    return tried
