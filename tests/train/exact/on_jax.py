"""A tree of JAX: dropout by the key of the step, a schedule, accumulated gradients, and a moving
average beside the model."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from run import BATCH, examples

import warmstart as ws


def loss(tree: Any, batch: Any, key: Any) -> Any:
    inputs, targets = batch
    hidden = jax.nn.relu(inputs @ tree["w"] + tree["b"])
    hidden = hidden * jax.random.bernoulli(key, 0.5, hidden.shape)
    return jnp.mean((hidden @ tree["out"] - targets) ** 2)


class Average:
    """A moving average of the tree, and a key of its own."""

    def __init__(self) -> None:
        self.values: Any = None
        self.key = jax.random.key(9)

    def after_step(self, trainer: ws.Trainer, metrics: Any) -> None:
        self.key, key = jax.random.split(self.key)
        share = jax.random.uniform(key)
        tree = trainer.session.model
        before = tree if self.values is None else self.values
        self.values = jax.tree.map(lambda a, b: share * a + (1 - share) * b, before, tree)

    def state_dict(self) -> dict[str, Any]:
        return {"values": self.values, "key": self.key}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.values, self.key = state["values"], state["key"]


def start() -> dict[str, Any]:
    keys = jax.random.split(jax.random.key(0), 2)
    tree = {
        "w": jax.random.normal(keys[0], (6, 16)),
        "b": jnp.zeros(16),
        "out": jax.random.normal(keys[1], (16, 1)),
    }
    adam = optax.adamw(optax.cosine_decay_schedule(0.01, 14))
    average = Average()
    return {
        "model": ws.JaxModel(
            tree,
            loss=loss,
            optimizer=optax.MultiSteps(adam, 3).gradient_transformation(),
            key=jax.random.key(1),
        ),
        "data": ws.Batches(examples(), BATCH),
        "also": {"average": average},
        "callbacks": [ws.Callback(after_step=average.after_step)],
    }
