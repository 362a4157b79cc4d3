"""Small models and optimizers that the tests of the Keras session share.

Keras has one backend in a process: tests/sessions/keras/test_backends.py runs this folder again on
the others.
"""

import keras
import numpy as np
import pytest

from warmstart.sessions.keras import guard

L = keras.layers

#: XLA takes seconds; JAX without it, longer.
COMPILED = keras.config.backend() == "jax"

OPTIMIZERS = {
    "sgd": lambda **o: keras.optimizers.SGD(0.05, momentum=0.9, weight_decay=0.1, **o),
    "adam": lambda **o: keras.optimizers.Adam(0.05, **o),
    "adamw": lambda **o: keras.optimizers.AdamW(0.05, weight_decay=0.1, **o),
    "adafactor": lambda **o: keras.optimizers.Adafactor(0.05, weight_decay=0.1, **o),
    "lion": lambda **o: keras.optimizers.Lion(0.05, weight_decay=0.1, **o),
    "rmsprop": lambda **o: keras.optimizers.RMSprop(
        0.05, momentum=0.9, centered=True, weight_decay=0.1, **o
    ),
    "average": lambda **o: keras.optimizers.AdamW(
        0.05, weight_decay=0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2, **o
    ),
    "accumulating": lambda **o: keras.optimizers.AdamW(
        0.05, weight_decay=0.1, gradient_accumulation_steps=2, global_clipnorm=1.0, **o
    ),
    "scaled": lambda **o: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.AdamW(0.05, weight_decay=0.1, use_ema=True, **o), initial_scale=8.0
    ),
}

X = np.random.default_rng(0).integers(0, 10, (8, 3))
Y = np.cos(np.arange(16, dtype="float32")).reshape(8, 2)


def net():
    """Return a model in which everything that can move does, although it is frozen."""
    keras.utils.set_random_seed(0)
    start = L.Input((3,), dtype="int32")
    x = L.Flatten()(L.Embedding(10, 4, name="embedding")(start))
    x = L.Dense(6, kernel_regularizer="l2", kernel_constraint="max_norm", name="hidden")(x)
    x = L.BatchNormalization(name="norm")(x)
    x = L.SpectralNormalization(L.Dense(5, name="inner"), name="spectral")(x)
    x = L.Dropout(0.1, name="drop")(x)
    return keras.Model(start, L.Dense(2, name="head")(x))


@pytest.fixture(params=OPTIMIZERS)
def make_optimizer(request):
    """A function that makes an optimizer, once for each kind."""
    return OPTIMIZERS[request.param]


@pytest.fixture
def compiled():
    """A function that compiles a new model with an optimizer."""

    def make(optimizer, **options):
        model = net()
        compiled = COMPILED and not options.get("run_eagerly")
        model.compile(optimizer, "mse", **{"jit_compile": compiled, **options})
        return model

    return make


@pytest.fixture
def fit():
    """A function that trains a model in `fit`."""

    def train(model, epochs=2):
        # On JAX, `fit` leaves variables and their averages on one memory, and cannot go on.
        model.set_weights(model.get_weights())
        model.fit(X, Y, batch_size=4, epochs=epochs, verbose=0, shuffle=False)

    return train


@pytest.fixture
def bits():
    """A function from a session to the bytes of its variables."""
    return lambda session: {name: session.read(name).tobytes() for name in session.specs}


@pytest.fixture(autouse=True)
def _thawed():
    """Leave nothing frozen behind: a model may outlive its test."""
    yield
    for model, held in [*guard.HOLDERS.items()]:
        for each in [*held]:
            guard.remove(model, each)
