"""The session on a Keras model keeps the contract, with each kind of optimizer."""

import keras
import numpy as np

import warmstart as ws
from warmstart.testing import SessionContract

L = keras.layers
X = np.linspace(-1, 1, 32, dtype="float32").reshape(8, 4)
Y = np.cos(X[:, :2])


class Shared(L.Layer):
    """A layer that stands in two places, beside variables of its own."""

    def __init__(self):
        super().__init__()
        self.dense = L.Dense(3)
        self.again = self.dense

    def build(self, shape):
        self.dense.build(shape)
        self.a = self.add_weight(shape=(3,), name="a", initializer="ones")
        self.b = self.add_weight(shape=(3,), name="b", initializer="zeros")

    def call(self, x):
        return self.a * self.dense(x) + self.b * self.again(x)


def model_of(optimizer, **options):
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    start = L.Input((4,))
    x = L.BatchNormalization()(Shared()(start))
    x = keras.Sequential([L.Input((3,)), L.Dense(3, name="hidden"), L.Dropout(0.2)])(x)
    model = keras.Model(start, L.Dense(2, kernel_regularizer="l2")(x))
    model.compile(optimizer, "mse", metrics=["mae"], **options)
    return model


class Keras(SessionContract):
    options = {}

    def optimizer(self):
        raise NotImplementedError

    def make(self):
        model = model_of(self.optimizer(), **self.options)

        def train(steps):
            for _ in range(steps):
                model.train_on_batch(X, Y)

        return ws.session_for(model), train


class TestMomentum(Keras):
    def optimizer(self):
        return keras.optimizers.SGD(0.05, momentum=0.9, weight_decay=0.01)


class TestAdam(Keras):
    options = {"jit_compile": False}

    def optimizer(self):
        return keras.optimizers.Adam(0.05, amsgrad=True, clipnorm=1.0)
