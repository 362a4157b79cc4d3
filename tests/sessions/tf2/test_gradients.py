"""A tf.Module takes every gradient processor."""

import numpy as np
import tensorflow as tf

import warmstart as ws
from warmstart.testing import GradientContract


class Net(tf.Module):
    def __init__(self):
        super().__init__()
        self.hidden = tf.Variable(tf.random.stateless_normal([3, 4], [0, 0]))
        self.out = tf.Variable(tf.random.stateless_normal([4, 2], [1, 0]))
        self.bias = tf.Variable(tf.zeros([2]))

    def __call__(self, x):
        return tf.tanh(x @ self.hidden) @ self.out + self.bias


class TestTFModule(GradientContract):
    def make(self, gradprocs):
        model = ws.TFModule(
            Net(),
            loss=lambda output, target: tf.reduce_mean((output - target) ** 2),
            optimizer=tf.keras.optimizers.SGD(0.1),
            gradprocs=gradprocs,
        )
        return model, (np.ones((4, 3), np.float32), np.zeros((4, 2), np.float32))
