import numpy as np
import pytest
import tensorflow as tf

import warmstart as ws

v1 = tf.compat.v1


def found(graph, cost):
    """Return what a train op of *cost* depends on that cannot be resumed."""
    v1.train.GradientDescentOptimizer(0.1).minimize(cost)
    return ws.session_for(v1.Session(graph=graph)).unresumable()


@pytest.fixture
def w(graph):
    """A variable whose initializer is a random operation."""
    return v1.get_variable("w", [2, 2], initializer=v1.random_uniform_initializer())


def test_initializers_do_not_count(graph, w):
    assert found(graph, tf.reduce_sum(w)) == {}


def test_random_operations_the_train_op_does_not_need_do_not_count(graph, w):
    tf.random.uniform([2])
    assert found(graph, tf.reduce_sum(w)) == {}


RANDOM = {
    "uniform": lambda: tf.random.uniform([2, 2]),
    "normal": lambda: tf.random.normal([2, 2]),
    "truncated": lambda: tf.random.truncated_normal([2, 2]),
    "gamma": lambda: tf.random.gamma([2, 2], 1.0),
    "shuffle": lambda: tf.random.shuffle(tf.ones([2, 2])),
    "categorical": lambda: tf.cast(tf.random.categorical(tf.ones([2, 2]), 2), tf.float32),
    "dropout": lambda: tf.nn.dropout(tf.ones([2, 2]), rate=0.5),
}


@pytest.mark.parametrize("name", RANDOM)
def test_stateful_random_operations_are_named(graph, w, name):
    with tf.name_scope("tower"):
        noise = RANDOM[name]()
    faults = found(graph, tf.reduce_sum(w * noise))
    assert [n.split("/")[0] for n in faults] == ["tower"]
    assert "a random operation whose state is in no checkpoint" in next(iter(faults.values()))


def test_random_operations_in_branches_and_functions_are_named(graph, w):
    dropped = tf.cond(
        v1.placeholder(tf.bool, []), lambda: tf.nn.dropout(w, rate=0.5), lambda: w, name="mode"
    )
    noise = tf.function(lambda: tf.random.uniform([2, 2]))()
    names = list(found(graph, tf.reduce_sum(dropped * noise)))
    assert len(names) == 2
    assert [name.endswith("RandomUniform") for name in names] == [True, True]
    assert any(name.startswith("mode/") for name in names)


def test_stateless_operations_and_generators_are_fine(graph, w):
    step = v1.train.get_or_create_global_step()
    stateless = tf.random.stateless_uniform([2, 2], [1, step])
    generated = tf.random.Generator.from_seed(1).uniform([2, 2])
    assert found(graph, tf.reduce_sum(w * stateless * generated)) == {}


def test_pipelines_are_named(graph, w):
    dataset = tf.data.Dataset.range(3).map(lambda i: tf.cast(i, tf.float32))
    value = v1.data.make_one_shot_iterator(dataset).get_next()
    queue = v1.FIFOQueue(3, tf.float32, name="line")
    faults = found(graph, tf.reduce_sum(w) * value * queue.dequeue())
    assert set(faults) == {"IteratorGetNext", "line"}
    assert "its place in the data is in no checkpoint" in faults["line"]


def test_python_code_is_named(graph, w):
    value = v1.py_func(lambda: np.float32(1), [], tf.float32, name="code")
    faults = found(graph, tf.reduce_sum(w) * value)
    assert "Python code whose state is in no checkpoint" in faults["code"]


def test_tables_are_named(graph, w):
    table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32, 0.0, name="table")
    value = table.lookup(tf.constant(1, tf.int64))
    assert "what it holds is in no checkpoint" in found(graph, tf.reduce_sum(w) * value)["table"]


def test_local_variables_are_named(graph, w):
    count = v1.get_local_variable("count", [], initializer=v1.zeros_initializer())
    faults = found(graph, tf.reduce_sum(w) * count)
    assert "a local variable, which no checkpoint holds" in faults["count"]


def test_without_a_train_op_nothing_is_asked(graph, w):
    assert ws.session_for(v1.Session(graph=graph)).unresumable() == {}
