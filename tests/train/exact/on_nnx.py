"""Flax NNX: dropout, batch norm, a schedule, accumulated gradients, a moving average, and grain,
which augments."""

from typing import Any

import grain
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from run import BATCH, examples

import warmstart as ws

FEW = grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)


class Net(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(6, 16, rngs=rngs)
        self.norm = nnx.BatchNorm(16, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.last = nnx.Linear(16, 1, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.last(self.drop(nnx.relu(self.norm(self.first(x)))))


def loss(net: Net, batch: Any) -> Any:
    inputs, targets = batch
    return jnp.mean((net(inputs) - targets) ** 2)


class Noise(grain.transforms.RandomMap):  # type: ignore[misc]
    def random_map(self, element: Any, rng: np.random.Generator) -> Any:
        inputs, target = element
        return (inputs + rng.normal(size=6)).astype(np.float32), target


def start() -> dict[str, Any]:
    adam = optax.adamw(optax.cosine_decay_schedule(0.01, 14))
    chain = optax.chain(optax.apply_if_finite(adam, 3), optax.ema(0.9))
    source = list(zip(*examples(), strict=True))
    data = grain.MapDataset.source(source).seed(3).shuffle().repeat().random_map(Noise())
    return {
        "model": ws.JaxModel(
            Net(nnx.Rngs(0, dropout=1)),
            loss=loss,
            optimizer=optax.MultiSteps(chain, 3).gradient_transformation(),
        ),
        "data": data.batch(BATCH).to_iter_dataset(FEW),
    }
