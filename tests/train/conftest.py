from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from warmstart.testing.toy import ToyModel
from warmstart.train import logger
from warmstart.train.data import Batches
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
