"""Keras on any backend: dropout, noise, batch norm, a schedule, a moving average, accumulated and
scaled gradients, and the generator behind operations without a seed."""

from typing import Any

import keras
from run import BATCH, examples

import warmstart as ws

L, optimizers = keras.layers, keras.optimizers


class Noise(L.Layer):  # type: ignore[misc]
    """Noise without a seed, of the generator that all such operations share; JAX wants one."""

    def __init__(self) -> None:
        super().__init__()
        self.seed = keras.random.SeedGenerator(3) if keras.config.backend() == "jax" else None

    def call(self, x: Any) -> Any:
        return x + 0.1 * keras.random.normal((6,), seed=self.seed)


def start() -> dict[str, Any]:
    keras.utils.clear_session()
    keras.utils.set_random_seed(4)
    model = keras.Sequential(
        [L.Input((6,)), Noise(), L.Dense(16), L.BatchNormalization(), L.GaussianNoise(0.1),
         L.Dropout(0.5), L.Dense(1)]
    )  # fmt: skip
    adam = optimizers.AdamW(
        optimizers.schedules.CosineDecay(0.01, 14), use_ema=True, gradient_accumulation_steps=3
    )
    scaled = optimizers.LossScaleOptimizer(adam, initial_scale=8.0, dynamic_growth_steps=3)
    model.compile(scaled, "mse", metrics=["mae"], jit_compile=keras.config.backend() == "jax")
    return {"model": ws.KerasModel(model), "data": ws.Batches(examples(), BATCH)}
