"""The session on a TensorFlow graph keeps the contract, with each kind of slots."""

import numpy as np
import tensorflow as tf

import warmstart as ws
from warmstart.testing import SessionContract

v1 = tf.compat.v1


class Graph(SessionContract):
    optimizer: tuple

    def make(self):
        kind, *options = self.optimizer
        with tf.Graph().as_default():
            v1.set_random_seed(1)
            x = v1.placeholder(tf.float32, (None, 3))
            split = v1.fixed_size_partitioner(3)
            w = v1.get_variable("enc/w", (3, 4), partitioner=split)
            b = v1.get_variable("enc/b", (4,), initializer=v1.ones_initializer())
            out = v1.get_variable("out/w", (4, 3))
            v1.get_variable("mean", (4,), trainable=False)
            y = tf.tanh(x @ tf.convert_to_tensor(w) + b) @ out
            cost = tf.reduce_sum(tf.square(x - y))
            model = ws.TFGraph(inputs=[x], cost=cost, optimizer=kind(*options))
        model.prepare()
        batch = (np.arange(24, dtype=np.float32).reshape(8, 3) / 10,)

        def train(steps):
            for _ in range(steps):
                model.train_step(batch)

        return model.session, train


class TestMomentum(Graph):
    optimizer = (v1.train.MomentumOptimizer, 0.01, 0.9)


class TestAdam(Graph):
    optimizer = (v1.train.AdamOptimizer, 0.01)
