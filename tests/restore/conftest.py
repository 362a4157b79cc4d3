"""A small model on the memory session: two layers, a slot, a statistic and a step counter."""

import pytest

from warmstart.spec import TensorSpec
from warmstart.testing.memory import MemorySession


@pytest.fixture
def session():
    return MemorySession(
        [
            TensorSpec("enc/w", "float32", (2, 3), "trainable"),
            TensorSpec("enc/b", "float32", (3,), "trainable"),
            TensorSpec("enc/mean", "float32", (3,), "model"),
            TensorSpec("fc/w", "float32", (3, 4), "trainable"),
            TensorSpec("enc/w/Adam", "float32", (2, 3), "slot"),
            TensorSpec("step", "int64", (), "run"),
        ]
    )
