"""TensorFlow 2: dropout of a Generator, noise of the global one, a schedule, a moving average,
accumulated and scaled gradients, and a shuffled tf.data that augments."""

from typing import Any

import tensorflow as tf
from run import BATCH, examples

import warmstart as ws

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
k = tf.keras.optimizers


class Net(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = tf.Variable(tf.random.stateless_normal([6, 16], [0, 1]))
        self.mean = tf.Variable(tf.zeros([16]), trainable=False)
        self.out = tf.Variable(tf.random.stateless_normal([16, 1], [0, 2]))
        self.noise = tf.random.Generator.from_seed(7)

    def __call__(self, x: Any) -> Any:
        hidden = x @ self.w + 0.1 * tf.random.get_global_generator().normal([16])
        self.mean.assign_sub(0.1 * (self.mean - tf.reduce_mean(hidden, 0)))
        kept = self.noise.uniform(tf.shape(hidden)) > 0.5
        return tf.nn.relu(hidden - self.mean) * tf.cast(kept, tf.float32) @ self.out


def augmented(index: Any, example: Any) -> Any:
    inputs, target = example
    return inputs + 0.1 * tf.random.stateless_normal([6], tf.stack([index, index])), target


def start() -> dict[str, Any]:
    tf.random.set_global_generator(tf.random.Generator.from_seed(5))
    tf.random.set_seed(6)
    eager = ws.Callback(after_step=lambda t, m: t.put("eager", float(tf.random.uniform([]))))
    data = tf.data.Dataset.from_tensor_slices(examples()).enumerate()
    adam = k.AdamW(k.schedules.CosineDecay(0.01, 14), use_ema=True, gradient_accumulation_steps=3)
    return {
        "model": ws.TFModule(
            Net(),
            loss=lambda outputs, targets: tf.reduce_mean((outputs - targets) ** 2),
            optimizer=k.LossScaleOptimizer(adam, initial_scale=8.0, dynamic_growth_steps=3),
        ),
        "data": data.shuffle(16, seed=1).map(augmented).batch(BATCH).prefetch(2),
        "callbacks": [eager],
    }
