"""The matrix on Flax NNX."""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import warmstart as ws

from .cells import Engine, Names, Recipe, all_of, batches

jax.config.update("jax_disable_most_optimizations", True)

OPTIMIZERS = {
    "SGD": lambda: optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.01, momentum=0.9)),
    "Adam": lambda: optax.chain(optax.add_decayed_weights(0.1), optax.adam(0.01)),
    "AdamW": lambda: optax.adamw(0.01, weight_decay=0.1),
    "Adafactor": lambda: optax.adafactor(
        0.01, min_dim_size_to_factor=2, weight_decay_rate=1e-3, multiply_by_parameter_scale=False
    ),
}
TIMES_ZERO = "gradients times 0"
STOPPED = "`jax.lax.stop_gradient` of the backbone's output"
DEFAULT = "`freeze_variables()`"


class Net(nnx.Module):
    def __init__(self, batch_norm, backbone):
        rngs = nnx.Rngs(0)
        self.embedding = nnx.Embed(8, 4, rngs=rngs)
        with backbone:
            self.backbone = nnx.Linear(4, 4, rngs=rngs)
            self.norm = nnx.BatchNorm(4, rngs=rngs) if batch_norm else None
        self.head = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, ids, stopped=False):
        hidden = self.backbone(self.embedding(ids))
        hidden = hidden if self.norm is None else self.norm(hidden)
        return self.head(jnp.tanh(jax.lax.stop_gradient(hidden) if stopped else hidden))


def loss(module, batch, stopped=False):
    ids, target = batch
    return ((module(ids, stopped) - target) ** 2).mean()


class FlaxNNX(Engine):
    name = "Flax NNX"
    recipes = (TIMES_ZERO, STOPPED, DEFAULT)

    def names(self, batch_norm):
        norm = ("norm/scale", "norm/bias") if batch_norm else ()
        return Names(
            "embedding/embedding",
            ("backbone/kernel", "backbone/bias", *norm),
            ("norm/mean", "norm/var") if batch_norm else (),
            ("head/kernel", "head/bias"),
        )

    def build(self, optimizer, batch_norm, backbone, gradprocs):
        module = Net(batch_norm, backbone)
        return ws.JaxModel(
            module, loss=loss, optimizer=OPTIMIZERS[optimizer](), gradprocs=gradprocs
        )

    def recipe(self, recipe, optimizer):
        module = Net(True, ws.freeze_variables(stop_gradient=recipe == DEFAULT))
        moves = nnx.Optimizer(module, OPTIMIZERS[optimizer](), wrt=nnx.Param)
        factor = [1.0]
        source = batches()
        take = nnx.jit(step, static_argnums=4)

        def train(steps):
            for _ in range(steps):
                take(module, moves, next(source), factor[0], recipe == STOPPED)

        def apply():
            factor[0] = 0.0 if recipe == TIMES_ZERO else 1.0

        return Recipe(apply, train, lambda: all_of(module))


def step(module, moves, batch, factor, stopped):
    """Take one step as a loop of one's own does; gradients of the backbone times *factor*."""
    gradients = nnx.grad(loss)(module, batch, stopped)
    for name in ("backbone", "norm"):
        if name in gradients:
            gradients[name] = jax.tree.map(lambda g: g * factor, gradients[name])
    moves.update(module, gradients)


ENGINE = FlaxNNX()
