"""`freeze_variables` around the making of layers, whenever these make their variables."""

import keras
import numpy as np
import pytest

import warmstart as ws

L = keras.layers
X = np.linspace(-1, 1, 24, dtype="float32").reshape(2, 3, 4)


def trained(**switches):
    """Return which variables a step of plain gradient descent moves."""
    keras.utils.set_random_seed(0)
    with ws.freeze_variables(**switches):
        backbone = [L.Dense(4, name="a"), L.LSTM(4, name="b"), L.BatchNormalization(name="n")]
    model = keras.Sequential([L.Input((3, 4)), *backbone, L.Dense(1, name="head")])
    session = ws.session_for(model)
    before = {name: session.read(name).tobytes() for name in session.specs}
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    model.train_on_batch(X, np.ones((2, 1)))
    return {name for name in before if session.read(name).tobytes() != before[name]}, model


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_what_is_made_inside_gets_no_gradient():
    moved, model = trained(stop_gradient=True)
    assert moved == {"head/kernel", "head/bias", "n/moving_mean", "n/moving_variance"}
    assert model.get_layer("a").kernel.trainable


def test_what_is_made_inside_is_not_trained():
    moved, model = trained(stop_gradient=False, skip_collection=True)
    assert moved == {"head/kernel", "head/bias", "n/moving_mean", "n/moving_variance"}
    roles = {n: s.role for n, s in ws.session_for(model).specs.items()}
    assert (roles["a/kernel"], roles["head/kernel"]) == ("model", "trainable")


def test_without_either_nothing_changes():
    moved, _ = trained(stop_gradient=False)
    assert {"a/kernel", "b/cell/kernel", "n/gamma", "head/kernel"} <= moved
