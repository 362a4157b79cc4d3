"""The matrix on a tree of parameters, as Flax linen makes it, and optax."""

import jax
import jax.numpy as jnp
import optax
from flax import linen

import warmstart as ws

from .cells import SKIPPED, Engine, Names, Recipe, all_of, batches
from .on_nnx import OPTIMIZERS, STOPPED, TIMES_ZERO


class Backbone(linen.Module):
    batch_norm: bool

    @linen.compact
    def __call__(self, x):
        x = linen.Dense(4, name="dense")(x)
        return linen.BatchNorm(False, name="norm")(x) if self.batch_norm else x


class Net(linen.Module):
    batch_norm: bool
    stopped: bool = False

    @linen.compact
    def __call__(self, ids):
        hidden = Backbone(self.batch_norm, name="backbone")(
            linen.Embed(8, 4, name="embedding")(ids)
        )
        hidden = jax.lax.stop_gradient(hidden) if self.stopped else hidden
        return linen.Dense(2, name="head")(jnp.tanh(hidden))


def made(batch_norm, stopped=False):
    """Return the variables and their loss, which also returns new statistics."""
    net = Net(batch_norm, stopped)

    def loss(variables, batch):
        ids, target = batch
        output, updates = net.apply(variables, ids, mutable=["batch_stats"])
        return ((output - target) ** 2).mean(), updates

    return net.init(jax.random.key(0), jnp.zeros(2, jnp.int32)), loss


class Trees(Engine):
    name = "JAX tree"
    cannot = {SKIPPED: "nothing sees the variables of a tree being made"}
    recipes = (TIMES_ZERO, STOPPED)

    def names(self, batch_norm):
        norm = ("params/backbone/norm/scale", "params/backbone/norm/bias") if batch_norm else ()
        statistics = ("mean", "var") if batch_norm else ()
        return Names(
            "params/embedding/embedding",
            ("params/backbone/dense/kernel", "params/backbone/dense/bias", *norm),
            tuple(f"batch_stats/backbone/norm/{leaf}" for leaf in statistics),
            ("params/head/kernel", "params/head/bias"),
        )

    def build(self, optimizer, batch_norm, backbone, gradprocs):
        variables, loss = made(batch_norm)
        return ws.JaxModel(
            variables, loss=loss, optimizer=OPTIMIZERS[optimizer](), gradprocs=gradprocs
        )

    def recipe(self, recipe, optimizer):
        variables, loss = made(True, recipe == STOPPED)
        moves = OPTIMIZERS[optimizer]()
        run = {"variables": variables, "state": moves.init(variables["params"]), "factor": 1.0}
        source = batches()

        @jax.jit
        def step(variables, state, batch, factor):
            def of_params(params):
                return loss({**variables, "params": params}, batch)

            gradients, updated = jax.grad(of_params, has_aux=True)(variables["params"])
            zeroed = jax.tree.map(lambda g: g * factor, gradients["backbone"])
            changes, state = moves.update(
                {**gradients, "backbone": zeroed}, state, variables["params"]
            )
            params = optax.apply_updates(variables["params"], changes)
            return {**variables, **updated, "params": params}, state

        def train(steps):
            for _ in range(steps):
                run["variables"], run["state"] = step(
                    run["variables"], run["state"], next(source), run["factor"]
                )

        def apply():
            run["factor"] = 0.0 if recipe == TIMES_ZERO else 1.0

        return Recipe(apply, train, lambda: all_of(run["variables"]))


ENGINE = Trees()
