"""A Keras model takes every gradient processor."""

import keras
import numpy as np

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
