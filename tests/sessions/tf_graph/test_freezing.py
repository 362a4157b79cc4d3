import pytest
import tensorflow as tf

import warmstart as ws
from warmstart.sessions.tf_graph.adamw import AdamW

v1 = tf.compat.v1
KEYS = v1.GraphKeys

OPTIMIZERS = {
    "momentum": lambda: v1.train.MomentumOptimizer(0.05, 0.9),
    "adam": lambda: v1.train.AdamOptimizer(0.05),
    "adamw": lambda: AdamW(0.05, 0.1),
}
HIDDEN = ("hidden/kernel", "hidden/bn/gamma", "hidden/bn/beta")
STATISTICS = ("hidden/bn/moving_mean", "hidden/bn/moving_variance")


def names(key):
    return [v.op.name for v in v1.get_collection(key)]


def values(model):
    return {name: array.copy() for name, array in model.session.read_all().items()}


def weights(model):
    specs = model.session.specs.values()
    return {spec.name for spec in specs if spec.role in ("trainable", "model")}


@pytest.fixture(params=OPTIMIZERS)
def trained(request, make_model, batch):
    """A model with update ops that has taken three steps: all slots are filled."""
    model = make_model(OPTIMIZERS[request.param])
    model.prepare()
    model.run_with_step(model.update_ops())
    for _ in range(3):
        model.train_step(batch)
    return model


def test_frozen_after_momentum_exists_nothing_moves(trained, batch, changed):
    before = values(trained)
    frozen = ws.freeze(trained, "hidden/*")
    assert set(frozen.names) == {*HIDDEN, *STATISTICS}
    for _ in range(3):
        trained.train_step(batch)
    moved = changed(before, values(trained))
    assert "out/kernel" in moved
    assert not {name for name in moved if name.startswith("hidden/")}
    assert trained.session.read("global_step") == 6
    frozen.verify()


def test_the_rest_trains_as_if_it_had_been_so_built(trained, batch):
    """Freezing after some steps is the same as a train op over the rest, bit for bit."""
    rest = [v for v in v1.trainable_variables() if v.op.name == "out/kernel"]
    before = values(trained)
    pairs = trained._own._optimizer.compute_gradients(trained._fetches["loss"], var_list=rest)
    other = trained._own._optimizer.apply_gradients(pairs)
    x, y = trained.inputs
    trained.session.tf_session.run(other, {x: batch[0], y: batch[1]})
    expected = values(trained)
    trained.session.assign(before.items())
    trained.session.freeze(HIDDEN)
    trained.train_step(batch)
    found = values(trained)
    expected["global_step"] = found["global_step"]
    assert {name: array.tobytes() for name, array in found.items()} == {
        name: array.tobytes() for name, array in expected.items()
    }


def test_thawed_everything_moves_again_with_the_slots_it_had(trained, batch, changed):
    before = values(trained)
    order = names(KEYS.TRAINABLE_VARIABLES)
    frozen = trained.session.freeze(HIDDEN)
    trained.train_step(batch)
    frozen.thaw()
    frozen.thaw()
    assert names(KEYS.TRAINABLE_VARIABLES) == order
    assert names(KEYS.MODEL_VARIABLES) == []
    trained.train_step(batch)
    after = values(trained)
    assert after.keys() == before.keys()
    assert weights(trained) <= changed(before, after)


def test_with_everything_frozen_only_the_step_counts(trained, batch, changed):
    before = values(trained)
    trained.session.freeze([*HIDDEN, "out/kernel"])
    trained.train_step(batch)
    assert changed(before, values(trained)) == {"global_step"}


def test_statistics_go_on_where_asked(trained, batch, changed):
    before = values(trained)
    frozen = trained.session.freeze([*HIDDEN, *STATISTICS], train_statistics=True)
    assert set(frozen.names) == set(HIDDEN)
    trained.train_step(batch)
    assert set(STATISTICS) <= changed(before, values(trained))


def test_statistics_of_a_layer_trained_in_part_go_on(make_model):
    session = make_model(OPTIMIZERS["adam"]).session
    assert session.freeze(["hidden/bn/gamma"]).names == ("hidden/bn/gamma",)
    assert set(session.freeze(["hidden/bn/beta"]).names) == {"hidden/bn/beta", *STATISTICS}


def test_statistics_in_scopes_of_their_own_belong_to_the_layer(graph, running):
    v1.get_variable("bn/gamma", [2])
    mean = v1.get_variable("bn/mean/EMA", [2], trainable=False)
    loss = v1.get_variable("loss/EMA", [], trainable=False)
    v1.get_variable("w", [2])
    updates = tf.group(v1.assign_sub(mean, mean * 0.1), v1.assign(loss, loss * 2.0))
    v1.add_to_collection(KEYS.UPDATE_OPS, updates)
    session = running()
    assert session.freeze(["bn/gamma", "w"]).names == ("bn/gamma", "bn/mean/EMA", "w")
    (left,) = v1.get_collection(KEYS.UPDATE_OPS)
    before = session.read_all()
    session.tf_session.run(left)
    after = session.read_all()
    assert before["bn/mean/EMA"].tobytes() == after["bn/mean/EMA"].tobytes()


def test_frozen_before_the_train_op_is_built(make_model, batch, changed):
    model = make_model(OPTIMIZERS["adamw"])
    model.session.initialize(list(model.session.specs))
    before = values(model)
    frozen = ws.freeze(model, "hidden/*")
    assert model.update_ops() == []
    model.train_step(batch)
    model.train_step(batch)
    assert changed(before, values(model)) == {"out/kernel"}
    assert "hidden/kernel/Adam" not in model.session.specs
    frozen.verify()
    frozen.thaw()
    model.train_step(batch)
    assert "hidden/kernel/Adam" in model.session.specs
    assert {"hidden/kernel", "hidden/bn/gamma"} < changed(before, values(model))


def test_a_frozen_variable_becomes_a_model_variable_and_back(make_model):
    session = make_model(OPTIMIZERS["adam"]).session
    frozen = session.freeze(["hidden/kernel"])
    assert session.specs["hidden/kernel"].role == "model"
    assert names(KEYS.MODEL_VARIABLES) == ["hidden/kernel/part_0", "hidden/kernel/part_1"]
    frozen.thaw()
    assert session.specs["hidden/kernel"].role == "trainable"


def test_a_variable_frozen_twice_is_free_when_both_are_thawed(make_model):
    session = make_model(OPTIMIZERS["adam"]).session
    first = session.freeze(["out/kernel", *HIDDEN])
    second = session.freeze(["out/kernel"])
    first.thaw()
    assert session.specs["out/kernel"].role == "model"
    assert session.specs["hidden/bn/gamma"].role == "trainable"
    assert len(v1.get_collection(KEYS.UPDATE_OPS)) == 2
    second.thaw()
    assert session.specs["out/kernel"].role == "trainable"


def own_loop(resource, cost=lambda w, free: tf.reduce_sum((w * free) ** 2)):
    """Return the cost of a graph trained by hand."""
    w = v1.get_variable("w", [2], use_resource=resource)
    free = v1.get_variable("free", [2], use_resource=resource)
    return cost(w, free)


def test_in_ones_own_loop_a_train_op_built_later_leaves_it_alone(graph, running, resource, changed):
    cost = own_loop(resource)
    frozen = ws.freeze(running(), "w")
    train_op = v1.train.AdamOptimizer(0.1).minimize(cost)
    session = running()
    before = session.read("w").copy()
    session.tf_session.run(train_op)
    frozen.verify()
    assert session.read("w").tobytes() == before.tobytes()


@pytest.mark.parametrize("gathers", [False, True])
@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_a_train_op_already_built_is_named(graph, running, resource, optimizer, gathers):
    cost = own_loop(resource, lambda w, f: tf.reduce_sum((tf.gather(w, [1]) if gathers else w) * f))
    OPTIMIZERS[optimizer]().minimize(cost)
    session = running()
    with pytest.raises(ws.FreezeError, match=r"1 of 1 variables would still be moved") as error:
        session.freeze(["w"])
    assert "  w   by " in str(error.value)
    assert "/update_w/" in str(error.value)
    assert "Freeze before the train op is built" in str(error.value)
    assert names(KEYS.TRAINABLE_VARIABLES) == ["w", "free"]
    assert names(KEYS.MODEL_VARIABLES) == []


def test_decay_written_by_hand_is_named(graph, running, resource):
    own_loop(resource)
    (w, _) = v1.trainable_variables()
    v1.assign(w, w * 0.9, name="decay")
    with pytest.raises(ws.FreezeError, match=r"  w   by decay"):
        running().freeze(["w"])


def test_loading_is_not_training(graph, running, resource):
    own_loop(resource)
    (w, _) = v1.trainable_variables()
    v1.assign(w, v1.placeholder(tf.float32, [2]))
    v1.train.Saver()
    assert running().freeze(["w"]).names == ("w",)


def test_a_moving_average_of_a_frozen_variable_is_none_of_its_movers(graph, running, resource):
    own_loop(resource)
    tf.train.ExponentialMovingAverage(0.9).apply(v1.trainable_variables())
    assert running().freeze(["w"]).names == ("w",)


def test_statistics_that_a_train_op_updates_itself_are_named(graph, running, normalise):
    h = normalise(v1.placeholder(tf.float32, [None, 2]), "bn") * v1.get_variable("w", [])
    with tf.control_dependencies(v1.get_collection(KEYS.UPDATE_OPS)):
        cost = tf.reduce_sum(h + 0)
    w = v1.trainable_variables()[-1]
    v1.train.GradientDescentOptimizer(0.1).minimize(cost, var_list=[w])
    with pytest.raises(ws.FreezeError, match="2 of 4 variables would still be moved"):
        running().freeze(["bn/gamma", "bn/beta"])


def test_statistics_in_a_group_with_other_operations_are_named(graph, running, normalise):
    normalise(v1.placeholder(tf.float32, [None, 2]), "bn")
    tf.group(*v1.get_collection(KEYS.UPDATE_OPS), tf.no_op(), name="everything")
    session = running()
    with pytest.raises(ws.FreezeError, match="bn/moving_mean   by "):
        session.freeze(["bn/gamma", "bn/beta"])
    held = session.freeze(["bn/gamma", "bn/beta"], train_statistics=True)
    assert held.names == ("bn/gamma", "bn/beta")


def test_thawing_after_a_train_op_was_built_without_it_is_refused(graph, running, resource):
    cost = own_loop(resource)
    frozen = running().freeze(["w"])
    v1.train.MomentumOptimizer(0.1, 0.9).minimize(cost)
    with pytest.raises(ws.FreezeError, match=r"w cannot be thawed: the train op Momentum was"):
        frozen.thaw()
    assert names(KEYS.TRAINABLE_VARIABLES) == ["free"]


def test_optimizer_and_run_state_cannot_be_frozen(trained):
    slot = next(s.name for s in trained.session.specs.values() if s.role == "slot")
    with pytest.raises(ws.FreezeError, match=rf"are state: {slot} \(slot\), global_step \(run\)"):
        trained.session.freeze([slot, "global_step", "out/kernel"])


def test_an_unknown_name_is_refused(make_model):
    with pytest.raises(ws.NoSuchTensor, match="no tensor 'out/kernal'"):
        make_model(OPTIMIZERS["adam"]).session.freeze(["out/kernal"])


def test_a_finalized_graph_freezes_only_before_training(make_model, batch):
    model = make_model(OPTIMIZERS["momentum"])
    model.session.freeze(["hidden/kernel"])
    model.train_step(batch)
    model.graph.finalize()
    with pytest.raises(ws.FreezeError, match="the graph is finalized, so its train op cannot"):
        model.session.freeze(["out/kernel"])
    assert model.session.specs["out/kernel"].role == "trainable"


def averaged(resource):
    """Return (inputs, cost, the operation that averages) of a graph with a moving average."""
    x = v1.placeholder(tf.float32, [])
    w = v1.get_variable("w", [2], use_resource=resource)
    return [x], x * tf.reduce_sum(w**2), tf.train.ExponentialMovingAverage(0.5).apply([w])


def test_a_moving_average_among_the_update_ops_is_held(graph, resource, changed):
    inputs, cost, average = averaged(resource)
    v1.add_to_collection(KEYS.UPDATE_OPS, average)
    model = ws.TFGraph(inputs=inputs, cost=cost, optimizer=v1.train.GradientDescentOptimizer(0.1))
    model.run_with_step(model.update_ops())
    model.train_step((1.0,))
    frozen = ws.freeze(model, "w/ExponentialMovingAverage")
    before = values(model)
    model.train_step((1.0,))
    assert changed(before, values(model)) == {"w", "global_step"}
    frozen.verify()
    frozen.thaw()
    model.train_step((1.0,))
    assert "w/ExponentialMovingAverage" in changed(before, values(model))


def test_a_moving_average_that_somebody_else_runs_is_named(graph, running, resource):
    averaged(resource)
    with pytest.raises(ws.FreezeError, match="w/ExponentialMovingAverage   by ExponentialMoving"):
        running().freeze(["w/ExponentialMovingAverage"])
