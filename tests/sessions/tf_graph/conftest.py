"""Graphs small enough to build in every test."""

import numpy as np
import pytest
import tensorflow as tf

import warmstart as ws

v1 = tf.compat.v1
KEYS = v1.GraphKeys


@pytest.fixture
def graph():
    """An empty graph, the default one in the test."""
    with tf.Graph().as_default() as graph:
        v1.set_random_seed(1)
        yield graph


@pytest.fixture(params=[False, True], ids=["references", "resources"])
def resource(request):
    """Whether variables are of the newer kind."""
    return request.param


def batch_norm(x, scope, momentum=0.9):
    """Normalise *x* by its batch; UPDATE_OPS keep the moving mean and variance."""
    n = x.shape[-1:]
    zeros, ones = v1.zeros_initializer(), v1.ones_initializer()
    with v1.variable_scope(scope):
        gamma = v1.get_variable("gamma", n, initializer=ones)
        beta = v1.get_variable("beta", n, initializer=zeros)
        mean = v1.get_variable("moving_mean", n, initializer=zeros, trainable=False)
        variance = v1.get_variable("moving_variance", n, initializer=ones, trainable=False)
    batch_mean, batch_variance = tf.nn.moments(x, [0])
    for moving, value in ((mean, batch_mean), (variance, batch_variance)):
        v1.add_to_collection(KEYS.UPDATE_OPS, v1.assign_sub(moving, (moving - value) * momentum))
    return tf.nn.batch_normalization(x, batch_mean, batch_variance, beta, gamma, 1e-3)


def network():
    """Return (inputs, cost) of a partitioned layer, batch norm and a second layer."""
    x = v1.placeholder(tf.float32, [None, 4], "x")
    y = v1.placeholder(tf.float32, [None], "y")
    parts = v1.fixed_size_partitioner(2)
    hidden = tf.matmul(x, v1.get_variable("hidden/kernel", [4, 3], partitioner=parts))
    hidden = tf.nn.relu(batch_norm(hidden, "hidden/bn"))
    output = tf.matmul(hidden, v1.get_variable("out/kernel", [3, 1]))[:, 0]
    penalty = 0.01 * sum(tf.nn.l2_loss(v) for v in v1.trainable_variables())
    return [x, y], tf.reduce_mean((output - y) ** 2, name="cost") + penalty


@pytest.fixture
def make_model(graph, resource):
    """Return the function from an optimizer's maker to a TFGraph of `network`."""

    def make(optimizer, **options):
        with v1.variable_scope("", use_resource=resource):
            inputs, cost = network()
        return ws.TFGraph(inputs=inputs, cost=cost, optimizer=optimizer(), **options)

    return make


@pytest.fixture
def batch():
    """A batch for `network`."""
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    return x, 2 * x[:, 0]


@pytest.fixture
def running(graph):
    """Return the function that opens a session on the test's graph, all variables initialised."""

    def run(**options):
        tf_session = v1.Session(graph=graph)
        session = ws.session_for(tf_session, **options)
        session.initialize(list(session.specs))
        return session

    return run


@pytest.fixture
def normalise():
    """The function `batch_norm`."""
    return batch_norm


@pytest.fixture
def changed():
    """Return the function that names what differs between two dictionaries of arrays."""

    def names(before, after):
        return {name for name in before if before[name].tobytes() != after[name].tobytes()}

    return names
