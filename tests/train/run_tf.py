"""A training on a TensorFlow graph that may be killed: run_tf.py FOLDER [STEP [EVERY_STEPS]]."""

import os
import random
import signal
import sys
from typing import Any

import numpy as np
import tensorflow as tf

import warmstart as ws

v1 = tf.compat.v1


def batch_norm(x: Any) -> Any:
    """Normalise *x*; its moving statistics are kept through UPDATE_OPS."""
    with v1.variable_scope("bn"):
        mean, variance = tf.nn.moments(x, [0])
        width = x.shape[-1]
        keys = [v1.GraphKeys.GLOBAL_VARIABLES, v1.GraphKeys.MODEL_VARIABLES]
        zeros = v1.zeros_initializer()
        for name, value in (("mean", mean), ("variance", variance)):
            moving = v1.get_variable(
                name, [width], initializer=zeros, trainable=False, collections=keys
            )
            update = moving.assign_sub(0.1 * (moving - value))
            v1.add_to_collection(v1.GraphKeys.UPDATE_OPS, update)
        gamma = v1.get_variable("gamma", [width], initializer=v1.ones_initializer())
        return tf.nn.batch_normalization(x, mean, variance, None, gamma, 1e-5)


def build() -> tuple[list[Any], Any]:
    """Return inputs and cost of a net with dropout that depends on the global step alone."""
    x, y = v1.placeholder(tf.float32, [None, 8]), v1.placeholder(tf.float32, [None, 1])
    w = v1.get_variable("w", [8, 16], initializer=v1.glorot_uniform_initializer(seed=1))
    hidden = tf.nn.relu(batch_norm(x @ w))
    step = v1.train.get_or_create_global_step()
    seed = tf.stack([tf.constant(7, tf.int64), tf.cast(step, tf.int64)])
    hidden *= tf.cast(tf.random.stateless_uniform(tf.shape(hidden), seed) > 0.5, tf.float32)
    out = v1.get_variable("out", [16, 1], initializer=v1.glorot_uniform_initializer(seed=2))
    return [x, y], tf.reduce_mean((hidden @ out - y) ** 2)


def main(folder: str, kill_at: int = 0, every_steps: int = 3) -> None:
    random.seed(0)
    np.random.seed(0)
    inputs = np.random.default_rng(0).standard_normal((100, 8)).astype(np.float32)

    def kill(trainer: Any, metrics: Any) -> None:
        if trainer.step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    ws.logger.set_logger_dir(folder)
    with tf.Graph().as_default():
        placeholders, cost = build()
        config = v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
        model = ws.TFGraph(
            inputs=placeholders,
            cost=cost,
            optimizer=v1.train.AdamOptimizer(0.01),
            session=v1.Session(config=config),
        )
        ws.launch_train(
            ws.AutoResumeTrainConfig(
                model=model,
                data=ws.Batches((inputs, inputs[:, :1] * 2), 16),
                callbacks=[
                    ws.Callback(after_step=kill),
                    ws.MinSaver("loss"),
                    ws.ModelSaver(every_steps, max_to_keep=2),
                ],
                max_epoch=3,
            )
        )


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
