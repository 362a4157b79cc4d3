"""A TensorFlow graph: dropout by the global step, noise of a Generator, statistics by UPDATE_OPS, a
schedule and moving averages."""

from typing import Any

import tensorflow as tf
from run import BATCH, examples

import warmstart as ws

v1 = tf.compat.v1
ONE_THREAD = v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)


def start() -> dict[str, Any]:
    with tf.Graph().as_default():
        x, y = v1.placeholder(tf.float32, [None, 6]), v1.placeholder(tf.float32, [None, 1])
        w = v1.get_variable("w", [6, 16], initializer=v1.glorot_uniform_initializer(seed=1))
        out = v1.get_variable("out", [16, 1], initializer=v1.glorot_uniform_initializer(seed=2))
        mean = v1.get_variable("mean", [16], initializer=v1.zeros_initializer(), trainable=False)
        step = v1.train.get_or_create_global_step()
        noise = tf.random.Generator.from_seed(3)
        averages = v1.train.ExponentialMovingAverage(0.9, step)
        with tf.control_dependencies([averages.apply([w, out])]):  # before w and out move
            hidden = x @ w + 0.1 * noise.normal([16])
        v1.add_to_collection(
            v1.GraphKeys.UPDATE_OPS, mean.assign_sub(0.1 * (mean - tf.reduce_mean(hidden, 0)))
        )
        kept = tf.random.stateless_uniform(tf.shape(hidden), tf.stack([4, tf.cast(step, tf.int32)]))
        hidden = tf.nn.relu(hidden) * tf.cast(kept > 0.5, tf.float32)
        rate = v1.train.exponential_decay(0.01, step, 3, 0.9)
        return {
            "model": ws.TFGraph(
                inputs=[x, y],
                cost=tf.reduce_mean((hidden @ out - y) ** 2),
                optimizer=v1.train.AdamOptimizer(rate),
                session=v1.Session(config=ONE_THREAD),
            ),
            "data": ws.Batches(examples(), BATCH),
        }
