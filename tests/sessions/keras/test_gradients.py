"""A Keras model takes every gradient processor."""

import keras
import numpy as np
import pytest

import warmstart as ws
from warmstart.sessions.keras.model import KerasModel
from warmstart.testing import GradientContract

L = keras.layers
X, Y = np.linspace(-1, 1, 12, dtype="float32").reshape(4, 3), np.ones((4, 2), "float32")


class TestKerasModel(GradientContract):
    def make(self, gradprocs):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([L.Input((3,)), L.Dense(4, "tanh"), L.Dense(2)])
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
        return KerasModel(model, gradprocs=gradprocs), (X, Y)


@pytest.mark.filterwarnings("ignore:.*:pytest.PytestUnraisableExceptionWarning")
def test_nothing_decays_in_a_step_that_is_stopped():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([L.Input((3,)), L.Dense(4, "tanh"), L.Dense(2)])
    model.compile(keras.optimizers.AdamW(0.1, weight_decay=0.1), "mse", jit_compile=False)
    trained = KerasModel(model, gradprocs=[ws.CheckGradient()])
    trained.train_step((X, Y))
    before = model.get_weights()
    with pytest.raises(FloatingPointError, match="has 12 NaN"):
        trained.train_step((X * np.nan, Y))
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
