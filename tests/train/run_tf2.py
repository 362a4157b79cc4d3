"""A training on TensorFlow 2 that may be killed: run_tf2.py FOLDER [STEP [EVERY_STEPS]]."""

import os
import random
import signal
import sys
from typing import Any

import numpy as np
import tensorflow as tf

import warmstart as ws


class Net(tf.Module):
    """Two layers with batch norm and dropout by a generator, whose state is a variable."""

    def __init__(self) -> None:
        super().__init__()
        self.w = tf.Variable(tf.random.stateless_normal([8, 16], [0, 1]))
        self.gamma = tf.Variable(tf.ones([16]))
        self.mean = tf.Variable(tf.zeros([16]), trainable=False)
        self.out = tf.Variable(tf.random.stateless_normal([16, 1], [0, 2]))
        self.noise = tf.random.Generator.from_seed(7)

    def __call__(self, x: Any, training: bool = False) -> Any:
        hidden = x @ self.w
        if training:
            mean, variance = tf.nn.moments(hidden, [0])
            self.mean.assign_sub(0.1 * (self.mean - mean))
            hidden = tf.nn.batch_normalization(hidden, mean, variance, None, self.gamma, 1e-5)
            hidden *= tf.cast(self.noise.uniform(tf.shape(hidden)) > 0.5, tf.float32)
        else:
            hidden = (hidden - self.mean) * self.gamma
        return tf.nn.relu(hidden) @ self.out


def main(folder: str, kill_at: int = 0, every_steps: int = 3) -> None:
    random.seed(0)
    np.random.seed(0)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    inputs = np.random.default_rng(0).standard_normal((100, 8)).astype(np.float32)

    def kill(trainer: Any, metrics: Any) -> None:
        if trainer.step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    ws.logger.set_logger_dir(folder)
    rate = tf.keras.optimizers.schedules.CosineDecay(0.01, 21)
    ws.launch_train(
        ws.AutoResumeTrainConfig(
            model=ws.TFModule(
                Net(),
                loss=lambda outputs, targets: tf.reduce_mean((outputs - targets) ** 2),
                optimizer=tf.keras.optimizers.AdamW(rate, weight_decay=0.1, use_ema=True),
            ),
            data=ws.Batches((inputs, inputs[:, :1] * 2), 16),
            callbacks=[
                ws.Callback(after_step=kill),
                ws.MinSaver("loss"),
                ws.ModelSaver(every_steps, max_to_keep=2, asynchronous=True),
            ],
            max_epoch=3,
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
