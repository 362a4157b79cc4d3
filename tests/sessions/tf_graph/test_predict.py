import numpy as np
import pytest
import tensorflow as tf

import warmstart as ws

v1 = tf.compat.v1


@pytest.fixture
def session(graph, running):
    """A graph with a mode: x is doubled in training only."""
    x = v1.placeholder(tf.float32, [None, 2], "x")
    training = v1.placeholder_with_default(False, [], "training")
    w = v1.get_variable("w", [2, 1])
    tf.matmul(tf.cond(training, lambda: 2.0 * x, lambda: x), w, name="y")
    tf.reduce_sum(x, name="total")
    return running()


X = np.float32([[1, 2], [3, 4]])


@pytest.mark.parametrize("suffix", ["", ":0"])
def test_a_prediction_is_what_the_session_runs(session, suffix):
    predict = session.predictor(["x" + suffix], ["y" + suffix, "total" + suffix])
    y, total = predict(X)
    expected = session.tf_session.run(["y:0", "total:0"], {"x:0": X})
    np.testing.assert_array_equal(y, expected[0])
    assert total == expected[1]


def test_a_variable_can_be_an_output(session):
    np.testing.assert_array_equal(session.predictor([], ["w"])()[0], session.read("w"))


def test_unknown_tensors_are_all_named_with_near_ones(session):
    with pytest.raises(
        ws.NoSuchTensor,
        match=r"no tensor 'totals' in the graph; near it: 'total'.*; there is no tensor 'y:7'",
    ):
        session.predictor(["x"], ["totals", "y:7"])


def test_outputs_have_to_be_named(session):
    with pytest.raises(ValueError, match=r"no outputs of its own: name them with output_names="):
        session.predictor(["x"], None)


def test_the_number_of_arrays_is_checked(session):
    with pytest.raises(TypeError, match="2 arrays were given for 1 inputs: x:0"):
        session.predictor(["x"], ["y"])(X, X)


def test_a_model_feeds_those_of_its_inputs_that_are_needed(make_model, batch):
    model = make_model(lambda: v1.train.GradientDescentOptimizer(0.1))
    model.session.initialize(list(model.session.specs))
    (hidden,) = model.session.predictor(None, ["Relu"])(batch[0])
    expected = model.session.tf_session.run("Relu:0", {"x:0": batch[0]})
    np.testing.assert_array_equal(hidden, expected)
