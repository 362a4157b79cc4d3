"""Both keep their contracts."""

import torch
from stop_early import StopEarly
from torch.utils.data import TensorDataset
from torch_loader import ResumableLoader

from warmstart.testing import CallbackContract, DataContract


class TestStopEarly(CallbackContract):
    def make(self, folder):
        return StopEarly(patience=10)


class TestResumableLoader(DataContract):
    def make(self):
        return ResumableLoader(TensorDataset(torch.arange(20.0), torch.arange(20)), batch_size=3)


def test_it_stops_when_nothing_gets_better():
    callback = StopEarly(patience=2)
    trainer = FakeTrainer()
    for _ in range(3):
        assert not trainer.stopping
        callback.after_epoch(trainer)
    assert trainer.stopping


def test_a_run_that_it_ended_stays_ended():
    callback = StopEarly(patience=2)
    callback.load_state({"best": 0.5, "waited": 2})
    trainer = FakeTrainer()
    callback.start(trainer)
    assert trainer.stopping


class FakeTrainer:
    metrics = {"loss": 1.0}
    stopping = False

    def put(self, name, value):
        pass
