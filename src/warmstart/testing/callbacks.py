"""What a callback owes the training loop, as tests to inherit:

class TestMine(CallbackContract):
    def make(self, folder): return Mine(folder=folder)
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from ..train import logger
from ..train.callback import Callback
from ..train.data import Batches
from ..train.trainer import Trainer
from .data import same, through_a_checkpoint
from .toy import ToyModel


class CallbackContract(ABC):
    """A callback that may have a state.  Its training: a toy, 5 steps an epoch."""

    @abstractmethod
    def make(self, folder: Path) -> Callback:
        """Return the callback anew, as a new process would; *folder* is the run's."""

    def model(self) -> ToyModel:
        """Return the model to train; another one where the callback needs more of it."""
        return ToyModel()

    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(logger, "_folder", None)
        return logger.set_logger_dir(tmp_path / "log")

    def train(self, *callbacks: Callback, max_epoch: int = 3) -> Trainer:
        inputs = np.random.default_rng(0).standard_normal((20, 3))
        trainer = Trainer(self.model())
        trainer.train(
            data=Batches((inputs, inputs[:, 0]), 4), callbacks=callbacks, max_epoch=max_epoch
        )
        return trainer

    def test_it_takes_part_in_a_training(self, folder: Path) -> None:
        assert self.train(self.make(folder)).step == 15

    def test_it_is_stopped_when_another_fails(self, folder: Path) -> None:
        def fail(trainer: Trainer, metrics: Mapping[str, float]) -> None:
            raise RuntimeError("the step failed")

        with pytest.raises(RuntimeError, match="the step failed"):
            self.train(self.make(folder), Callback(after_step=fail))

    def test_it_does_not_change_the_training(self, folder: Path) -> None:
        np.random.seed(0)
        with_it = self.train(self.make(folder)).session.read("w").copy()
        np.random.seed(0)
        assert same(self.train().session.read("w"), with_it)

    def test_its_state_survives_a_checkpoint(self, folder: Path) -> None:
        callback, other = self.make(folder), self.make(folder)
        self.train(callback)
        state = through_a_checkpoint(callback.state())
        other.load_state(state)
        assert same(through_a_checkpoint(other.state()), state)

    def test_a_state_has_a_key(self, folder: Path) -> None:
        callback = self.make(folder)
        assert bool(callback.key) >= bool(callback.state())
