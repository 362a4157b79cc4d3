from pathlib import Path
from typing import Any

import numpy as np
import pytest

from warmstart.testing.toy import ToyModel
from warmstart.train.best import MinSaver
from warmstart.train.data import Batches
from warmstart.train.monitors import JSONWriter
from warmstart.train.saver import ModelSaver
from warmstart.train.trainer import Trainer

GOLDEN = Path(__file__).parents[1] / "golden"


def run_into(folder: Path, **arguments: Any) -> Path:
    """Train a toy for 2 epochs of 5 steps and return the folder."""
    inputs = np.ones((20, 3))
    callbacks = [
        JSONWriter(folder=folder),
        MinSaver("loss", checkpoint_dir=folder),
        ModelSaver(3, checkpoint_dir=folder),
    ]
    Trainer(arguments.pop("model", None) or ToyModel()).train(
        **{"data": Batches((inputs, inputs[:, 0]), 4), "callbacks": callbacks, "max_epoch": 2}
        | arguments
    )
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a whole run of this library."""
    return run_into(tmp_path / "log")
