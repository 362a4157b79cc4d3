"""What is frozen does not move: in the user's own loop, traced before or after, and in TFModule."""

import gc

import numpy as np
import pytest
import tensorflow as tf

import warmstart as ws

keras = tf.keras.optimizers
v1 = tf.compat.v1.train

OPTIMIZERS = {
    "sgd": lambda: keras.SGD(0.05, momentum=0.9, weight_decay=0.01, nesterov=True),
    "adamw": lambda: keras.AdamW(0.05, weight_decay=0.1),
    "average": lambda: keras.Adam(0.05, use_ema=True, ema_overwrite_frequency=1),
    "accumulating": lambda: keras.AdamW(0.05, weight_decay=0.1, gradient_accumulation_steps=2),
    "half precision": lambda: keras.LossScaleOptimizer(keras.AdamW(0.05, weight_decay=0.1)),
    "v1 momentum": lambda: v1.MomentumOptimizer(0.05, 0.9),
    "v1 adam": lambda: v1.AdamOptimizer(0.05),
}

FROZEN = {"blocks/0/w", "blocks/0/b", "blocks/1/gamma", "blocks/1/beta"}
STATISTICS = {"blocks/1/mean", "blocks/1/variance", "blocks/1/count"}


@pytest.fixture(params=OPTIMIZERS)
def optimizer(request):
    """An optimizer of each kind."""
    return OPTIMIZERS[request.param]()


@pytest.fixture
def model(make_net, squared, optimizer):
    """A TFModule with it."""
    return ws.TFModule(make_net(), loss=squared, optimizer=optimizer)


def test_nothing_frozen_moves_in_a_traced_loop_of_ones_own(
    make_net, optimizer, own_step, values, changed
):
    net = make_net()
    session = ws.session_for(net, optimizer=optimizer)
    step = own_step(net, optimizer)
    step(), step()
    before = values(session)
    frozen = ws.freeze(session, "blocks/*")
    for _ in range(4):
        step()
    moved = changed(before, session)
    assert set(frozen.names) == FROZEN | STATISTICS
    assert not {name for name in moved if name.startswith("blocks/")}  # nor their slots
    assert {"embedding", "heads/a.Sb/w"} <= moved
    frozen.verify()
    frozen.thaw()
    step(), step()
    assert changed(before, session) >= FROZEN | STATISTICS


def test_nothing_frozen_moves_in_an_eager_loop(make_net, batch, optimizer, changed, values):
    net, (rows, targets) = make_net(), batch
    session = ws.session_for(net, optimizer=optimizer)
    everything = list(net.trainable_variables)

    def step():
        with tf.GradientTape() as tape:
            tape.watch(everything)  # so that there is a gradient all the same
            loss = tf.reduce_mean((net(rows, training=True) - targets) ** 2)
        gradients = tape.gradient(loss, everything)
        assert all(gradient is not None for gradient in gradients)
        optimizer.apply_gradients(zip(gradients, everything, strict=True))

    step(), step()
    before = values(session)
    with ws.freeze(session, "blocks/*") as frozen:
        step(), step()
        frozen.verify()
    assert not {name for name in changed(before, session) if name.startswith("blocks/")}


def test_nothing_frozen_moves_in_a_tfmodule(model, batch, values, changed):
    for _ in range(2):
        model.train_step(batch)
    before = values(model.session)
    frozen = ws.freeze(model, "blocks/*")
    for _ in range(4):
        model.train_step(batch)
    moved = changed(before, model.session)
    assert not {name for name in moved if name.startswith("blocks/")}
    assert {"embedding", "heads/a.Sb/w"} <= moved
    frozen.verify()


def test_rows_that_are_held_stay_and_the_others_train(model, batch, values):
    session = model.session
    for _ in range(2):
        model.train_step(batch)
    before = values(session)
    frozen = ws.freeze(model, {"embedding": np.s_[:2], "blocks/0/w": np.s_[:, 1]})
    for _ in range(4):
        model.train_step(batch)
    after = values(session)
    rows = [name for name in after if "embedding/" in name and len(after[name]) == 6]
    assert all(np.array_equal(after[name][:2], before[name][:2]) for name in rows)
    assert np.array_equal(after["embedding"][:2], before["embedding"][:2])
    assert (after["embedding"][2:] != before["embedding"][2:]).any(axis=1).all()
    assert np.array_equal(after["blocks/0/w"][:, 1], before["blocks/0/w"][:, 1])
    assert (after["blocks/0/w"][:, [0, 2]] != before["blocks/0/w"][:, [0, 2]]).all()
    frozen.verify()
    frozen.thaw()
    model.train_step(batch), model.train_step(batch)
    assert (session.read("embedding")[:2] != before["embedding"][:2]).any()


def test_rows_are_held_in_a_loop_of_ones_own(make_net, optimizer, own_step, values):
    net = make_net()
    session = ws.session_for(net, optimizer=optimizer)
    step = own_step(net, optimizer)
    step()
    before = values(session)
    with ws.freeze(session, {"embedding": np.s_[[0, 3]]}) as frozen:
        for _ in range(4):
            step()
        frozen.verify()
    now = session.read("embedding")
    assert np.array_equal(now[[0, 3]], before["embedding"][[0, 3]])
    assert (now[[1, 2]] != before["embedding"][[1, 2]]).all()


def test_rows_are_held_from_the_first_step_of_an_optimizer_that_divides_by_its_slots():
    net = tf.Module()
    net.w = tf.Variable(tf.ones([4, 3]))
    optimizer = keras.Adafactor(0.05)
    frozen = ws.freeze(ws.session_for(net, optimizer=optimizer), {"w": np.s_[:2]})
    for _ in range(3):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(net.w**2)
        optimizer.apply_gradients([(tape.gradient(loss, net.w), net.w)])
    frozen.verify()
    assert np.isfinite(net.w.numpy()).all()
    assert (net.w.numpy()[2:] != 1).all()


def test_all_may_be_frozen_and_steps_are_still_counted(make_net, squared, batch, changed, values):
    model = ws.TFModule(make_net(), loss=squared, optimizer=keras.Adam(0.05))
    model.train_step(batch)
    before = values(model.session)
    ws.freeze(model, "*")
    model.train_step(batch)
    assert changed(before, model.session) == {"optimizer/_iterations"}


def test_an_optimizer_of_ones_own_counts_its_steps_when_all_is_frozen(make_net):
    net, optimizer = make_net(), keras.Adam()
    frozen = ws.freeze(net, "*")
    variables = [net.embedding]
    optimizer.apply([tf.ones_like(net.embedding)], variables)
    assert optimizer.iterations.numpy() == 1
    frozen.verify()


def test_an_old_optimizer_counts_its_steps_when_all_is_frozen(make_net):
    net, step = make_net(), tf.Variable(0)
    with ws.freeze(net, "*") as frozen:
        optimizer = v1.GradientDescentOptimizer(0.1)
        optimizer.apply_gradients([(tf.ones_like(net.embedding), net.embedding)], step)
        optimizer.apply_gradients([(tf.ones_like(net.embedding), net.embedding)])
        frozen.verify()
    assert step.numpy() == 1


def test_whatever_assigns_is_passed_over(make_net):
    net = make_net()
    frozen = ws.freeze(net, ["embedding", "blocks/1/mean"])
    v = net.embedding
    v.assign(tf.zeros_like(v)), v.assign_add(tf.ones_like(v)), v.assign_sub(tf.ones_like(v))
    v[0].assign(tf.zeros([4]))
    v.scatter_sub(tf.IndexedSlices(tf.ones([1, 4]), [2]))
    v.scatter_nd_update([[1]], [[0.0, 0, 0, 0]])
    assert v.assign(tf.zeros_like(v)) is v
    frozen.verify()
    frozen.thaw()
    assert v.assign(tf.zeros_like(v)).numpy().any() == False  # noqa: E712
    assert "assign" not in vars(v)


def test_what_restores_on_purpose_is_not_passed_over(make_net):
    net = make_net()
    frozen = ws.freeze(net, "embedding")
    ws.DictRestore({"embedding": np.ones((6, 4), np.float32)}).init(net)
    assert net.embedding.numpy().all()
    frozen.verify()


def test_statistics_may_train_on(make_net, own_step, values, changed):
    net, optimizer = make_net(), keras.Adam(0.05)
    step = own_step(net, optimizer)
    step()
    frozen = ws.freeze(net, "blocks/*", train_statistics=True)
    before = values(ws.session_for(net))
    step()
    assert set(frozen.names) == FROZEN
    assert changed(before, ws.session_for(net)) >= STATISTICS
    with pytest.raises(ws.FreezeError, match="blocks/1/mean: statistics, and train_statistics="):
        ws.freeze(net, "blocks/1/mean", train_statistics=True)


def test_statistics_of_a_layer_that_trains_are_let_be(make_net):
    assert ws.freeze(make_net(), ["blocks/1/gamma"]).names == ("blocks/1/gamma",)


def test_freezings_overlap(make_net, own_step, values, changed):
    net = make_net()
    step = own_step(net, keras.Adam(0.05))
    session = ws.session_for(net)
    first, second = ws.freeze(net, "embedding"), ws.freeze(net, {"embedding": np.s_[:3]})
    before = values(session)
    first.thaw()
    step()
    assert np.array_equal(session.read("embedding")[:3], before["embedding"][:3])
    assert not np.array_equal(session.read("embedding"), before["embedding"])
    second.thaw(), second.thaw()
    step()
    assert not np.array_equal(session.read("embedding")[:3], before["embedding"][:3])


def test_a_frozen_variable_is_not_trainable_meanwhile(make_net):
    net = make_net()
    session = ws.session_for(net)
    with ws.freeze(net, "embedding"):
        assert not any(v is net.embedding for v in net.trainable_variables)
        assert session.specs["embedding"].role == "model"
    assert any(v is net.embedding for v in net.trainable_variables)
    assert session.specs["embedding"].role == "trainable"


def test_a_trace_that_cannot_be_made_anew_is_an_error(make_net):
    net = make_net()
    halve = tf.function(lambda: net.embedding.assign(net.embedding / 2)).get_concrete_function()
    with pytest.raises(ws.FreezeError, match="already traced, and would move embedding") as error:
        ws.freeze(net, "embedding")
    assert tf.compat.as_str(halve.name) in str(error.value)
    del halve, error
    gc.collect()
    ws.freeze(net, "embedding").verify()


def test_a_trace_of_a_loaded_model_is_an_error(make_net, tmp_path):
    net = make_net()
    net.halve = tf.function(lambda: net.embedding.assign(net.embedding / 2), input_signature=[])
    tf.saved_model.save(net, str(tmp_path / "saved"))
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    with pytest.raises(ws.FreezeError, match="already traced, and would move embedding"):
        ws.freeze(loaded, "embedding")
    ws.freeze(loaded, "blocks/*").verify()


def test_a_write_in_a_function_below_or_a_branch_is_found(make_net):
    net = make_net()
    inner = tf.function(lambda: net.embedding.assign_add(tf.ones_like(net.embedding)))
    kept = tf.function(
        lambda: tf.cond(tf.constant(True), inner, lambda: tf.identity(net.embedding))
    ).get_concrete_function()
    with pytest.raises(ws.FreezeError, match="already traced"):
        ws.freeze(net, "embedding")
    assert kept.name


def test_a_trace_that_only_reads_is_let_be(make_net):
    net = make_net()
    read = tf.function(lambda: net.embedding * 2).get_concrete_function()
    ws.freeze(net, "embedding").verify()
    assert read().shape == (6, 4)


def test_state_is_not_frozen(make_net, own_step):
    net, optimizer = make_net(), keras.Adam()
    own_step(net, optimizer)()
    session = ws.session_for(net, optimizer=optimizer)
    with pytest.raises(ws.FreezeError, match=r"are state: embedding/momentum \(slot\)"):
        session.freeze(["embedding/momentum"])
    with pytest.raises(ws.NoSuchTensor):
        session.freeze(["nothing"])


def test_moved_beside_all_this_is_told(make_net):
    net = make_net()
    frozen = ws.freeze(net, "embedding")
    tf.raw_ops.AssignVariableOp(resource=net.embedding.handle, value=tf.zeros([6, 4]))
    with pytest.raises(ws.FreezeError, match="1 of 1 frozen variables moved: 'embedding'"):
        frozen.verify()
