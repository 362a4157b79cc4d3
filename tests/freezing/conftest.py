"""A model in memory whose trainable variables all move when it is trained."""

import pytest

import warmstart as ws
from warmstart.spec import TensorSpec
from warmstart.testing.memory import MemorySession


@pytest.fixture
def session():
    session = MemorySession(
        [
            TensorSpec("enc/w", "float32", (2, 3), "trainable"),
            TensorSpec("enc/b", "bfloat16", (3,), "trainable"),
            TensorSpec("enc/w/m", "float32", (2, 3), "slot"),
            TensorSpec("emb", "float32", (2,), "trainable"),
            TensorSpec("scalar", "float64", (), "model"),
        ],
        aliases={"head": "emb"},
    )
    ws.SmartInit(None).init(session)
    return session
