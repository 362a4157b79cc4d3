"""Modules small enough to build in every test."""

from contextlib import nullcontext

import numpy as np
import pytest
import tensorflow as tf


class Dense(tf.Module):
    """A layer whose variables go by the names of its scope, or else by none of their own."""

    def __init__(self, inputs, outputs, seed, scoped=True, name=None):
        super().__init__(name)
        with self.name_scope if scoped else nullcontext():
            kernel = tf.random.stateless_normal([inputs, outputs], [seed, 0])
            self.w = tf.Variable(kernel, name="w")
            self.b = tf.Variable(tf.zeros([outputs]), name="b")

    def __call__(self, x):
        return x @ self.w + self.b


class BatchNorm(tf.Module):
    """Normalises by the batch in training, and moves its statistics."""

    def __init__(self, n):
        super().__init__()
        self.gamma = tf.Variable(tf.ones([n]))
        self.beta = tf.Variable(tf.zeros([n]))
        self.mean = tf.Variable(tf.zeros([n]), trainable=False)
        self.variance = tf.Variable(tf.ones([n]), trainable=False)
        self.count = tf.Variable(0, trainable=False)

    def __call__(self, x, training):
        mean, variance = self.mean, self.variance
        if training:
            mean, variance = tf.nn.moments(x, [0])
            self.mean.assign(0.9 * self.mean + 0.1 * mean)
            self.variance.assign_sub(0.1 * (self.variance - variance))
            self.count.assign_add(1)
        return tf.nn.batch_normalization(x, mean, variance, self.beta, self.gamma, 1e-3)


class Net(tf.Module):
    """Two layers with batch norm between, deep enough that optimizers' lists are nearer."""

    def __init__(self, seed=0, scoped=True):
        super().__init__()
        self.blocks = [Dense(4, 3, seed, scoped), BatchNorm(3)]
        self.heads = {"a/b": Dense(3, 1, seed + 1, scoped, name="head")}
        self.embedding = tf.Variable(tf.random.stateless_normal([6, 4], [seed, 2]))

    def __call__(self, rows, training=False):
        x = tf.gather(self.embedding, rows)
        x = tf.nn.tanh(self.blocks[1](self.blocks[0](x), training))
        return self.heads["a/b"](x)[:, 0]


@pytest.fixture
def make_net():
    """The class `Net`; a seed is what tells its models apart."""
    return Net


@pytest.fixture
def batch():
    """A batch for `Net`: rows of the embedding, and targets."""
    rows = np.array([0, 1, 2, 3, 4, 5, 1, 2])
    return rows, np.linspace(-1, 1, 8, dtype="float32")


@pytest.fixture
def squared():
    """The loss."""
    return lambda outputs, targets: tf.reduce_mean((outputs - targets) ** 2)


@pytest.fixture
def own_step(batch):
    """Return the function that makes a step of one's own, traced by `tf.function`."""

    def make(net, optimizer, variables=None):
        rows, targets = batch
        if isinstance(optimizer, tf.keras.optimizers.Optimizer):
            optimizer.build(net.trainable_variables)  # Adafactor cannot while it is traced

        @tf.function
        def step():
            trained = net.trainable_variables if variables is None else variables
            with tf.GradientTape() as tape:
                penalty = 0.01 * sum(tf.nn.l2_loss(v) for v in trained)
                loss = tf.reduce_mean((net(rows, training=True) - targets) ** 2) + penalty
            optimizer.apply_gradients(zip(tape.gradient(loss, trained), trained, strict=True))
            return loss

        return step

    return make


@pytest.fixture
def values():
    """Return the function that copies every value of a session."""
    return lambda session: {name: np.array(session.read(name)) for name in session.specs}


@pytest.fixture
def changed(values):
    """Return the function that names what is no longer as it was."""

    def names(before, session):
        after = values(session)
        return {name for name in before if before[name].tobytes() != after[name].tobytes()}

    return names
