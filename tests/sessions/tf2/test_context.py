"""Variables frozen as they are created, in eager mode."""

import numpy as np
import pytest
import tensorflow as tf

import warmstart as ws
from warmstart.sessions.tf2 import freeze_variables

v1 = tf.compat.v1


@pytest.fixture
def stopped(make_net):
    """A net created with its gradients stopped."""
    with ws.freeze_variables(stop_gradient=True):
        return make_net()


def uses(v):
    """A scalar that uses *v* in every way that TensorFlow reads variables."""
    one = tf.ones_like(v)
    parts = (v @ tf.transpose(one), tf.matmul(v, one, transpose_b=True), v * 2, v + v, v.value(),
             v.read_value(), tf.nn.l2_loss(v), tf.gather(v, [0]), tf.gather_nd(v, [[0]]),
             tf.nn.embedding_lookup(v, [1]), v[0], tf.identity(v),
             tf.convert_to_tensor(v))  # fmt: skip
    return sum(tf.reduce_sum(part) for part in parts)


@pytest.mark.parametrize("traced", [False, True])
def test_no_gradient_flows_through_what_is_read(stopped, traced):
    v, other = stopped.embedding, tf.Variable(tf.ones([6, 4]))

    def gradients():
        with tf.GradientTape() as tape:
            loss = uses(v) + uses(other)
        return tape.gradient(loss, [v, other])

    through, beside = (tf.function(gradients) if traced else gradients)()
    assert through is None
    assert beside is not None


def test_nor_through_a_function_that_is_called(stopped):
    inner = tf.function(lambda: uses(stopped.embedding))
    with tf.GradientTape() as tape:
        loss = inner()
    assert tape.gradient(loss, stopped.embedding) is None


def test_a_stopped_variable_stays_trainable_and_can_be_set(stopped):
    assert any(v is stopped.embedding for v in stopped.trainable_variables)
    assert ws.session_for(stopped).specs["embedding"].role == "trainable"
    stopped.embedding.assign(tf.ones([6, 4]))
    stopped.embedding.assign_add(tf.ones([6, 4]))
    assert (stopped.embedding.numpy() == 2).all()
    ws.DictRestore({"embedding": np.zeros((6, 4), np.float32)}).init(stopped)
    assert not stopped.embedding.numpy().any()


def test_a_stopped_variable_is_saved_and_restored_by_tensorflow(stopped, make_net, tmp_path):
    path = tf.train.Checkpoint(stopped).save(str(tmp_path / "ckpt"))
    other = make_net(5)
    tf.train.Checkpoint(other).restore(path)
    assert np.array_equal(other.embedding.numpy(), stopped.embedding.numpy())
    tf.train.Checkpoint(stopped).restore(path).assert_existing_objects_matched()


def test_a_stopped_variable_can_be_frozen_besides(stopped):
    with ws.freeze(stopped, "embedding") as frozen:
        stopped.embedding.assign(tf.zeros([6, 4]))
        frozen.verify()
    assert any(v is stopped.embedding for v in stopped.trainable_variables)


def test_what_is_skipped_is_not_trained(make_net, squared, batch, values, changed):
    with ws.freeze_variables(stop_gradient=False, skip_collection=True):
        net = make_net()
    free = tf.Variable(1.0)
    net.free = free
    assert [v is free for v in net.trainable_variables] == [True]
    session = ws.session_for(net)
    assert {spec.role for name, spec in session.specs.items() if name != "free"} == {"model"}
    before = values(session)
    optimizer = tf.keras.optimizers.AdamW(0.1, weight_decay=0.1)
    model = ws.TFModule(net, loss=lambda y, target: squared(free * y, target), optimizer=optimizer)
    model.train_step(batch)
    statistics = {"blocks/1/mean", "blocks/1/variance", "blocks/1/count"}
    assert changed(before, session) == {"free"} | statistics  # these are `freeze`'s business


def test_what_is_created_elsewhere_is_let_be():
    inside = tf.Variable(1.0)
    with ws.freeze_variables(skip_collection=True):
        statistics = tf.Variable(1.0, trainable=False)
        with tf.Graph().as_default() as graph:
            v1.get_variable("w", [2])
    assert inside.trainable
    assert not statistics.trainable
    assert [v.op.name for v in graph.get_collection("trainable_variables")] == ["w"]


def test_variables_of_keras_are_its_own_business():
    with freeze_variables():
        variable = tf.keras.Variable(tf.ones([2]))
    assert type(variable.value).__name__ == "ResourceVariable"
    assert variable.trainable


def test_a_switch_that_is_off_changes_nothing():
    with ws.freeze_variables(stop_gradient=False, skip_collection=False):
        assert type(tf.Variable(1.0)).__name__ == "ResourceVariable"


def test_in_a_graph_it_is_the_graphs_own_context():
    with tf.Graph().as_default() as graph, ws.freeze_variables(False, True):
        v1.get_variable("w", [2])
    assert graph.get_collection("trainable_variables") == []
    assert len(graph.get_collection("model_variables")) == 1
