"""Small models of every kind that the sessions take, each with its loss."""

from types import SimpleNamespace

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp
import pytest
from flax import linen, nnx

INPUTS = jnp.sin(jnp.arange(24.0)).reshape(8, 3)


class Net(nnx.Module):
    """Batch norm, dropout with its random state, a list, and a weight that is used twice."""

    def __init__(self, rngs):
        self.layers = nnx.List(
            [nnx.Linear(3, 4, use_bias=False, rngs=rngs), nnx.Linear(4, 3, rngs=rngs)]
        )
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.drop = nnx.Dropout(0.2, rngs=rngs)
        self.tied = self.layers[0].kernel

    def __call__(self, x):
        hidden = self.drop(self.norm(self.layers[0](x)))
        return self.layers[1](hidden) + (x @ self.tied).sum()


def nnx_loss(module, batch):
    """Return the squares of what *module* gives for the batch."""
    return (module(batch) ** 2).mean()


class LinenNet(linen.Module):
    """The like in Flax linen, with variables in two collections."""

    @linen.compact
    def __call__(self, x, *, train=True):
        x = linen.BatchNorm(use_running_average=not train)(linen.Dense(4, use_bias=False)(x))
        return linen.Dense(2)(linen.Dropout(0.2, deterministic=not train)(x))


linen_net = LinenNet()


def linen_variables():
    return linen_net.init(jax.random.key(0), INPUTS, train=False)


def linen_loss(variables, batch, key):
    """Return the loss, and the new statistics."""
    out, updates = linen_net.apply(variables, batch, mutable=["batch_stats"], rngs={"dropout": key})
    return ((out - 1) ** 2).mean(), {**updates, "mean": out.mean()}


def equinox_model():
    return eqx.nn.MLP(3, 2, 4, 1, key=jax.random.key(0))


def equinox_loss(model, batch):
    return (jax.vmap(model)(batch) ** 2).mean()


haiku_net = hk.without_apply_rng(
    hk.transform_with_state(
        lambda x: hk.Linear(2)(
            hk.BatchNorm(True, True, 0.9)(hk.Linear(4, with_bias=False)(x), is_training=True)
        )
    )
)


def haiku_variables():
    params, state = haiku_net.init(jax.random.key(0), INPUTS)
    return {"params": params, "state": state}


def haiku_loss(variables, batch):
    out, state = haiku_net.apply(variables["params"], variables["state"], batch)
    return ((out - 1) ** 2).mean(), {"state": state}


@pytest.fixture(autouse=True)
def quickly_compiled():
    """Let XLA optimise little: the functions are small, and each is run a few times."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="session")
def models():
    """Return all of the above by name."""
    return SimpleNamespace(**{n: v for n, v in globals().items() if not n.startswith("_")})


@pytest.fixture
def net():
    return Net(nnx.Rngs(0))
