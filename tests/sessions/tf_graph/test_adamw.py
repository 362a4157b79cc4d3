import numpy as np
import pytest
import tensorflow as tf

from warmstart.sessions.tf_graph.adamw import AdamW

v1 = tf.compat.v1


def by_hand(w, gradients, rate, decay):
    """AdamW as its paper and PyTorch have it, in NumPy; epsilon is where TensorFlow puts it."""
    m = v = np.zeros_like(w)
    for t, g in enumerate(gradients, start=1):
        w = w - rate * decay * w
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        corrected = rate * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        w = w - corrected * m / (np.sqrt(v) + 1e-8)
    return w


@pytest.mark.parametrize("rate", [0.1, lambda: tf.constant(0.1)], ids=["number", "function"])
def test_it_is_adam_with_decoupled_decay(graph, running, resource, rate):
    start = np.float32([1, -2])
    gradient = v1.placeholder(tf.float32, [2])
    w = v1.get_variable("w", initializer=tf.constant(start), use_resource=resource)
    train_op = AdamW(rate, 0.2).minimize(tf.reduce_sum(gradient * w))
    session = running()
    gradients = np.float32([[1, 2], [-0.5, 3], [0.1, 0.1]])
    for g in gradients:
        session.tf_session.run(train_op, {gradient: g})
    np.testing.assert_allclose(session.read("w"), by_hand(start, gradients, 0.1, 0.2), rtol=1e-5)


def test_gradients_are_of_the_weights_before_they_decay(graph, running, resource):
    w = v1.get_variable("w", initializer=tf.constant([3.0]), use_resource=resource)
    optimizer = AdamW(0.1, 5.0)
    ((gradient, _),) = pairs = optimizer.compute_gradients(tf.reduce_sum(w * w))
    train_op = optimizer.apply_gradients(pairs)
    session = running()
    np.testing.assert_array_equal(session.tf_session.run([gradient, train_op])[0], [6])


def test_decay_may_be_for_some_variables_only(graph, running):
    for name in ("kernel", "bias"):
        v1.get_variable(name, initializer=tf.constant([1.0]))
    cost = 0.0 * sum(map(tf.reduce_sum, v1.trainable_variables()))
    train_op = AdamW(0.1, 0.5, decays=lambda name: name == "kernel").minimize(cost)
    session = running()
    session.tf_session.run(train_op)
    np.testing.assert_allclose(session.read("kernel"), [0.95])
    np.testing.assert_array_equal(session.read("bias"), [1])


def test_its_slots_are_known(graph, running):
    w = v1.get_variable("w", [3, 1])
    optimizer = AdamW(0.1, 0.5, name="Mine")
    optimizer.minimize(tf.reduce_sum(tf.gather(w, [1])))
    session = running(optimizer=optimizer)
    slots = {spec.name for spec in session.specs.values() if spec.role == "slot"}
    assert slots == {"w/Mine", "w/Mine_1", "beta1_power", "beta2_power"}
