"""A graph takes every gradient processor."""

import numpy as np
import pytest
import tensorflow as tf

import warmstart as ws
from warmstart.testing import GradientContract

v1 = tf.compat.v1
ROWS = np.array([1, 1, 3], np.int32)


class TestTFGraph(GradientContract):
    def make(self, gradprocs):
        with tf.Graph().as_default():
            v1.set_random_seed(0)
            x = v1.placeholder(tf.float32, [None, 3])
            h = tf.tanh(x @ v1.get_variable("hidden/kernel", [3, 4]))
            y = h @ v1.get_variable("out/kernel", [4, 2]) + v1.get_variable("out/bias", [2])
            model = ws.TFGraph(
                inputs=[x],
                cost=tf.reduce_mean(y**2),
                optimizer=v1.train.GradientDescentOptimizer(0.1),
                gradprocs=gradprocs,
            )
        return model, (np.ones((4, 3), np.float32),)


@pytest.fixture
def embedded(graph):
    """A function from processors to a model with a sparse gradient: row 1 is looked up twice."""

    def make(*gradprocs):
        rows = v1.placeholder(tf.int32, [None])
        w = v1.get_variable("w", [5, 2], initializer=v1.ones_initializer())
        return ws.TFGraph(
            inputs=[rows],
            cost=tf.reduce_sum(tf.gather(w, rows)),
            optimizer=v1.train.GradientDescentOptimizer(1.0),
            gradprocs=gradprocs,
        )

    return make


@pytest.mark.parametrize(
    ("processor", "twice", "once"),
    [
        (ws.ScaleGradient(("w", 0.5)), 1.0, 0.5),
        (ws.GlobalNormClip(6**0.5 / 2), 1.0, 0.5),
        (ws.MapGradient(lambda g: tf.IndexedSlices(g.values * 3, g.indices)), 6.0, 3.0),
        (ws.SummaryGradient(), 2.0, 1.0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_sparse_gradients_are_processed(embedded, processor, twice, once):
    model = embedded(processor)
    model.train_step((ROWS,))
    expected = [[0, 0], [twice] * 2, [0, 0], [once] * 2, [0, 0]]
    np.testing.assert_allclose(1 - model.session.read("w"), expected, 1e-5)


def test_clipping_is_that_of_tensorflow(embedded):
    """Of a sparse gradient it takes the values one by one, before equal rows are added."""
    model = embedded(ws.GlobalNormClip(1.0))
    model.train_step((ROWS,))
    np.testing.assert_allclose(1 - model.session.read("w")[3], [1 / 6**0.5] * 2, 1e-5)


def test_a_function_sees_the_variable(embedded):
    seen = []
    model = embedded(ws.MapGradient(lambda g, v: seen.append(v) or g))
    model.prepare()
    assert seen == v1.trainable_variables()


def test_a_rule_means_every_part_of_a_variable(make_model, batch, caplog):
    summary = ws.SummaryGradient("hidden/kernel")
    processors = [summary, ws.ScaleGradient(("hidden/kernel", 0)), ws.FilterNoneGrad()]
    model = make_model(lambda: v1.train.GradientDescentOptimizer(0.1), gradprocs=processors)
    model.train_step(batch)
    assert sorted(summary.arrays()) == ["hidden/kernel/part_0-grad", "hidden/kernel/part_1-grad"]
    assert "no gradient for 2 variables: hidden/kernel/part_0, hidden/kernel/part_1" in caplog.text


def test_processors_know_those_that_are_frozen_and_thawed_later(make_model, batch):
    summary = ws.SummaryGradient("(hidden|out)/kernel")
    model = make_model(lambda: v1.train.AdamOptimizer(0.1), gradprocs=[summary])
    model.train_step(batch)
    frozen = ws.freeze(model, "out/kernel")
    model.train_step(batch)
    frozen.thaw()
    before = summary.measured()
    model.train_step(batch)
    assert summary.measured()["out/kernel-grad/rms"] != before["out/kernel-grad/rms"]


def test_what_goes_wrong_in_tensorflow_itself_is_its_own_error(embedded):
    model = embedded(ws.CheckGradient())
    with pytest.raises(tf.errors.InvalidArgumentError):
        model.train_step((np.array([9], np.int32),))
