"""The matrix on TensorFlow graphs."""

from contextlib import nullcontext

import numpy as np
import tensorflow as tf

import warmstart as ws
from warmstart.sessions.tf_graph.adamw import AdamW

from .cells import Engine, Names, Recipe, batches

v1 = tf.compat.v1

OPTIMIZERS = {
    "SGD": lambda: v1.train.MomentumOptimizer(0.01, 0.9),
    "Adam": lambda: v1.train.AdamOptimizer(0.01),
    "AdamW": lambda: AdamW(0.01, 0.1),
    "Adafactor": lambda: v1.train.AdagradOptimizer(0.1),
}
TIMES_ZERO = "`MapGradient` that multiplies gradients by 0"
STOPPED = "`tf.stop_gradient` of the backbone's output"
DEFAULT = "`freeze_variables()`"
ONE_THREAD = v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)


def normalised(x):
    """Return *x* normalised by its batch; UPDATE_OPS keep the moving statistics."""
    zeros, ones = v1.zeros_initializer(), v1.ones_initializer()
    with v1.variable_scope("norm"):
        gamma = v1.get_variable("gamma", [4], initializer=ones)
        beta = v1.get_variable("beta", [4], initializer=zeros)
        mean = v1.get_variable("moving_mean", [4], initializer=zeros, trainable=False)
        variance = v1.get_variable("moving_variance", [4], initializer=ones, trainable=False)
    batch_mean, batch_variance = tf.nn.moments(x, [0])
    for moving, value in ((mean, batch_mean), (variance, batch_variance)):
        update = v1.assign_sub(moving, (moving - value) * 0.1)
        v1.add_to_collection(v1.GraphKeys.UPDATE_OPS, update)
    return tf.nn.batch_normalization(x, batch_mean, batch_variance, beta, gamma, 1e-3)


def network(batch_norm, backbone, stopped):
    """Return (inputs, loss)."""
    ids, target = v1.placeholder(tf.int32, [None]), v1.placeholder(tf.float32, [None, 2])
    hidden = tf.gather(v1.get_variable("embedding", [8, 4]), ids)
    with backbone, v1.variable_scope("backbone"):
        hidden = hidden @ v1.get_variable("kernel", [4, 4]) + v1.get_variable("bias", [4])
        hidden = normalised(hidden) if batch_norm else hidden
    hidden = tf.tanh(tf.stop_gradient(hidden) if stopped else hidden)
    with v1.variable_scope("head"):
        output = hidden @ v1.get_variable("kernel", [4, 2]) + v1.get_variable("bias", [2])
    return [ids, target], tf.reduce_mean((output - target) ** 2)


class Graphs(Engine):
    name = "TensorFlow graph"
    instead = {"Adafactor": "Adagrad"}
    recipes = (TIMES_ZERO, STOPPED, DEFAULT)

    def names(self, batch_norm):
        norm = ("backbone/norm/gamma", "backbone/norm/beta") if batch_norm else ()
        statistics = ("moving_mean", "moving_variance") if batch_norm else ()
        return Names(
            "embedding",
            ("backbone/kernel", "backbone/bias", *norm),
            tuple(f"backbone/norm/{leaf}" for leaf in statistics),
            ("head/kernel", "head/bias"),
        )

    def build(self, optimizer, batch_norm, backbone, gradprocs, stopped=False):
        with tf.Graph().as_default() as graph:
            v1.set_random_seed(0)
            inputs, cost = network(batch_norm, backbone, stopped)
            if optimizer != "AdamW":  # the others decay by a penalty on every weight
                weights = [v for v in v1.global_variables() if "moving_" not in v.op.name]
                cost += 0.05 * sum(map(tf.nn.l2_loss, weights))
            model = ws.TFGraph(
                inputs=inputs,
                cost=cost,
                optimizer=OPTIMIZERS[optimizer](),
                gradprocs=gradprocs,
                session=v1.Session(graph=graph, config=ONE_THREAD),
            )
        model.run_with_step(model.update_ops())
        return model

    def recipe(self, recipe, optimizer):
        times = [1.0]
        zeros = ws.MapGradient(lambda gradient: scaled(gradient, times), "backbone/.*")
        context = ws.freeze_variables() if recipe == DEFAULT else nullcontext()
        model = self.build(
            optimizer, True, context, [zeros] if recipe == TIMES_ZERO else [],
            stopped=recipe == STOPPED,
        )  # fmt: skip
        model.session.initialize(list(model.session.specs))
        source = batches()

        def train(steps):
            for _ in range(steps):
                model.train_step(next(source))

        def read():
            return {name: np.array(value) for name, value in model.session.read_all().items()}

        return Recipe(times.clear, train, read)


def scaled(gradient, times):
    """Return *gradient*, times 0 once *times* is empty."""
    factor = v1.py_func(lambda: np.float32(len(times)), [], tf.float32)
    return gradient * tf.reshape(factor, [])


ENGINE = Graphs()
