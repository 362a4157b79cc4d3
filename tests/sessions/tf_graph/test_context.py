import numpy as np
import pytest
import tensorflow as tf

import warmstart as ws
from warmstart.sessions.tf_graph import freeze_variables

v1 = tf.compat.v1
KEYS = v1.GraphKeys
SKIP = {"stop_gradient": False, "skip_collection": True}


def names(key):
    return [v.op.name for v in v1.get_collection(key)]


def test_stop_gradient_cuts_the_returned_tensor_only(graph, resource):
    with ws.freeze_variables():
        w = v1.get_variable("w", [2], use_resource=resource)
    assert not isinstance(w, tf.Variable)
    assert names(KEYS.TRAINABLE_VARIABLES) == ["w"]
    (variable,) = v1.trainable_variables()
    through_tensor, through_variable = (tf.gradients(t * 2.0, variable)[0] for t in (w, variable))
    assert through_tensor is None
    assert through_variable is not None


def test_weight_decay_still_moves_a_variable_under_stop_gradient(graph, running):
    with ws.freeze_variables():
        v1.get_variable("w", [2], regularizer=tf.nn.l2_loss)
    train_op = v1.train.GradientDescentOptimizer(0.1).minimize(v1.losses.get_regularization_loss())
    session = running()
    before = session.read("w").copy()
    session.tf_session.run(train_op)
    assert (session.read("w") != before).all()


def test_skip_collection_makes_a_model_variable(graph, resource):
    with ws.freeze_variables(**SKIP):
        w = v1.get_variable("w", [2], use_resource=resource)
        v1.get_variable("statistics", [2], trainable=False, use_resource=resource)
    v1.get_variable("free", [2], use_resource=resource)
    assert isinstance(w, tf.Variable)
    assert names(KEYS.TRAINABLE_VARIABLES) == ["free"]
    assert names(KEYS.MODEL_VARIABLES) == ["w"]
    assert names(KEYS.GLOBAL_VARIABLES) == ["w", "statistics", "free"]


def test_skip_collection_takes_collections_that_are_asked_for(graph, resource):
    wanted = [KEYS.GLOBAL_VARIABLES, KEYS.TRAINABLE_VARIABLES, "mine"]
    with ws.freeze_variables(**SKIP):
        v1.get_variable("w", [2], collections=wanted, use_resource=resource)
    assert names("mine") == names(KEYS.GLOBAL_VARIABLES) == names(KEYS.MODEL_VARIABLES) == ["w"]
    assert names(KEYS.TRAINABLE_VARIABLES) == []


def test_every_part_of_a_partitioned_variable_is_a_model_variable(graph, resource):
    partitioner = v1.fixed_size_partitioner(2)
    with ws.freeze_variables(skip_collection=True):
        w = v1.get_variable("w", [4, 2], partitioner=partitioner, use_resource=resource)
    assert w.shape == (4, 2)
    assert names(KEYS.TRAINABLE_VARIABLES) == []
    assert names(KEYS.MODEL_VARIABLES) == ["w/part_0", "w/part_1"]


def test_reuse_adds_nothing_twice(graph):
    with ws.freeze_variables(**SKIP), v1.variable_scope("a", reuse=v1.AUTO_REUSE):
        first = v1.get_variable("w", [2])
        again = v1.get_variable("w", [2])
    with v1.variable_scope("a", reuse=True):
        outside = v1.get_variable("w", [2])
    assert first is again is outside
    assert names(KEYS.MODEL_VARIABLES) == ["a/w"]
    assert names(KEYS.TRAINABLE_VARIABLES) == []


def test_stop_gradient_on_reuse_cuts_only_inside(graph):
    outside = v1.get_variable("w", [2])
    with v1.variable_scope("", reuse=True):
        with ws.freeze_variables():
            inside = v1.get_variable("w", [2])
        again = v1.get_variable("w", [2])
    assert tf.gradients(inside * 2.0, outside) == [None]
    assert again is outside


@pytest.mark.parametrize("parts", [1, 2])
def test_a_trainable_variable_only_reused_inside_is_refused(graph, parts):
    partitioner = v1.fixed_size_partitioner(parts)
    v1.get_variable("w", [4], partitioner=partitioner)
    with (
        v1.variable_scope("", reuse=True),
        ws.freeze_variables(**SKIP),
        pytest.raises(ws.FreezeError, match=r"w/part_0.*: created outside freeze_variables"),
    ):
        v1.get_variable("w", [4], partitioner=partitioner)


def test_names_are_as_without_the_block(graph):
    with v1.variable_scope("outer"), ws.freeze_variables(**SKIP):
        a = v1.get_variable("a", [2])
        with v1.variable_scope("inner"):
            b = v1.get_variable("b", [2])
            product = tf.multiply(a, b, name="product")
    assert (a.op.name, b.op.name) == ("outer/a", "outer/inner/b")
    assert product.op.name == "outer/inner/product"


def test_other_custom_getters_work_inside_and_outside(graph):
    def doubled(getter, *args, **kwargs):
        return getter(*args, **kwargs) * 2.0

    with v1.variable_scope("outer", custom_getter=doubled), ws.freeze_variables(**SKIP):
        outer = v1.get_variable("w", [2])
    with ws.freeze_variables(), v1.variable_scope("inner", custom_getter=doubled):
        inner = v1.get_variable("w", [2])
    assert names(KEYS.MODEL_VARIABLES) == ["outer/w"]
    assert outer.op.type == inner.op.type == "Mul"
    assert tf.gradients(inner, v1.trainable_variables()) == [None]


def test_blocks_nest(graph):
    with ws.freeze_variables(**SKIP):
        with ws.freeze_variables(stop_gradient=True):
            both = v1.get_variable("both", [2])
        skipped = v1.get_variable("skipped", [2])
    free = v1.get_variable("free", [2])
    assert [isinstance(v, tf.Variable) for v in (both, skipped, free)] == [False, True, True]
    assert names(KEYS.MODEL_VARIABLES) == ["both", "skipped"]
    assert names(KEYS.TRAINABLE_VARIABLES) == ["free"]


def test_variables_made_without_get_variable_are_skipped_too(graph):
    with ws.freeze_variables(**SKIP):
        v1.Variable([1.0], name="old")
        tf.Variable([1.0], name="new")
    assert names(KEYS.MODEL_VARIABLES) == ["old", "new"]
    assert names(KEYS.TRAINABLE_VARIABLES) == []


def test_statistics_stay_variables_under_stop_gradient(graph):
    with ws.freeze_variables():
        assert isinstance(v1.get_variable("mean", [2], trainable=False), tf.Variable)


def test_a_skipped_variable_does_not_move(graph, running, changed):
    with ws.freeze_variables(**SKIP):
        w = v1.get_variable("w", [2], regularizer=tf.nn.l2_loss)
    free = v1.get_variable("free", [2])
    cost = tf.reduce_sum((w * free) ** 2) + v1.losses.get_regularization_loss()
    train_op = v1.train.AdamOptimizer(0.1).minimize(cost)
    session = running()
    before = {name: session.read(name).copy() for name in ("w", "free")}
    session.tf_session.run(train_op)
    assert changed(before, session.read_all()) == {"free"}


def test_eager_variables_are_left_alone():
    with freeze_variables(**SKIP):
        variable = tf.Variable(np.float32([1]))
    assert variable.trainable
