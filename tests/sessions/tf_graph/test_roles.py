import numpy as np
import pytest
import tensorflow as tf

import warmstart as ws

v1 = tf.compat.v1

# optimizer -> the names of its slots on a variable `w`
OPTIMIZERS = {
    "momentum": (lambda: v1.train.MomentumOptimizer(0.1, 0.9), {"w/Momentum"}),
    "adam": (
        lambda: v1.train.AdamOptimizer(0.1),
        {"w/Adam", "w/Adam_1", "beta1_power", "beta2_power"},
    ),
    "adagrad": (lambda: v1.train.AdagradOptimizer(0.1), {"w/Adagrad"}),
    "adadelta": (lambda: v1.train.AdadeltaOptimizer(0.1), {"w/Adadelta", "w/Adadelta_1"}),
    "rmsprop": (
        lambda: v1.train.RMSPropOptimizer(0.1, centered=True),
        {"w/RMSProp", "w/RMSProp_1", "w/RMSProp_2"},
    ),
    "ftrl": (lambda: v1.train.FtrlOptimizer(0.1), {"w/Ftrl", "w/Ftrl_1"}),
    "renamed": (lambda: v1.train.MomentumOptimizer(0.1, 0.9, name="Mine"), {"w/Mine"}),
}


def roles(session):
    return {name: spec.role for name, spec in session.specs.items()}


def with_role(session, role):
    return {name for name, found in roles(session).items() if found == role}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("parts", [1, 2])
def test_slots_are_found_in_the_graph(graph, resource, name, parts):
    optimizer, slots = OPTIMIZERS[name]
    partitioner = v1.fixed_size_partitioner(parts)
    w = v1.get_variable("w", [4, 2], partitioner=partitioner, use_resource=resource)
    step = v1.train.get_or_create_global_step()
    cost = tf.reduce_sum(tf.convert_to_tensor(w) ** 2)
    optimizer().minimize(cost, global_step=step)
    session = ws.session_for(v1.Session(graph=graph))
    assert with_role(session, "slot") == slots
    assert with_role(session, "trainable") == {"w"}
    assert with_role(session, "run") == {"global_step"}


def gathered(resource, optimizer):
    """Train a variable that is only looked up: its update is no single operation."""
    w = v1.get_variable("w", [4, 2], use_resource=resource)
    optimizer.minimize(tf.reduce_sum(tf.gather(w, [1, 1]) ** 2))


def test_slots_of_a_sparse_update_are_known_by_name(graph, resource):
    gathered(resource, v1.train.AdamOptimizer(0.1))
    session = ws.session_for(v1.Session(graph=graph))
    assert with_role(session, "slot") == OPTIMIZERS["adam"][1]


def test_slots_of_a_renamed_optimizer_are_known_to_it(graph, resource):
    optimizer = v1.train.AdamOptimizer(0.1, name="Mine")
    gathered(resource, optimizer)
    session = ws.session_for(v1.Session(graph=graph), optimizer=optimizer)
    assert with_role(session, "slot") == {"w/Mine", "w/Mine_1", "beta1_power", "beta2_power"}


def test_a_layer_called_like_a_slot_is_none(graph):
    v1.get_variable("Adam/kernel", [2])
    v1.get_variable("Momentum", [2], trainable=False)
    session = ws.session_for(v1.Session(graph=graph))
    assert roles(session) == {"Adam/kernel": "trainable", "Momentum": "model"}


def test_counters_and_generators_are_run_state(graph, resource):
    v1.get_variable("mine/global_step", dtype=tf.int32, shape=[], trainable=False)
    batches = v1.get_variable(
        "batches", dtype=tf.int64, shape=[], trainable=False, use_resource=resource
    )
    v1.assign_add(batches, 1)
    v1.get_variable("size", dtype=tf.int64, shape=[], trainable=False)
    tf.random.Generator.from_seed(1)
    session = ws.session_for(v1.Session(graph=graph))
    assert with_role(session, "run") == {
        "mine/global_step",
        "batches",
        "random_generator/StateVar",
    }
    assert roles(session)["size"] == "model"


def test_a_generator_in_use_is_run_state_whatever_its_name(graph):
    generator = tf.random.Generator(state=np.zeros(3, "int64"), alg="philox")
    generator.uniform([2])
    session = ws.session_for(v1.Session(graph=graph))
    assert set(roles(session).values()) == {"run"}


def test_moving_averages_belong_to_the_model(graph):
    w = v1.get_variable("w", [2])
    tf.train.ExponentialMovingAverage(0.9).apply([w])
    session = ws.session_for(v1.Session(graph=graph))
    assert roles(session) == {"w": "trainable", "w/ExponentialMovingAverage": "model"}
