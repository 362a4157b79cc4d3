"""Modules and trees take every gradient processor."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import warmstart as ws
from warmstart.testing import GradientContract

BATCH = (np.ones((4, 3), np.float32), np.zeros((4, 2), np.float32))


class Net(nnx.Module):
    def __init__(self, rngs):
        self.hidden = nnx.Linear(3, 4, rngs=rngs)
        self.out = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x):
        return self.out(jnp.tanh(self.hidden(x)))


class TestModule(GradientContract):
    def make(self, gradprocs):
        def loss(module, batch):
            return ((module(batch[0]) - batch[1]) ** 2).mean()

        optimizer, net = optax.sgd(0.1), Net(nnx.Rngs(0))
        return ws.JaxModel(net, loss=loss, optimizer=optimizer, gradprocs=gradprocs), BATCH


class TestTree(GradientContract):
    def make(self, gradprocs):
        def loss(tree, batch):
            output = jnp.tanh(batch[0] @ tree["hidden"]) @ tree["out"] + tree["bias"]
            return ((output - batch[1]) ** 2).mean()

        tree = {
            "hidden": jax.random.normal(jax.random.key(0), (3, 4)),
            "out": jax.random.normal(jax.random.key(1), (4, 2)),
            "bias": jnp.zeros(2),
        }
        optimizer = optax.sgd(0.1)
        return ws.JaxModel(tree, loss=loss, optimizer=optimizer, gradprocs=gradprocs), BATCH
