import numpy as np
import pytest
import tensorflow as tf

import warmstart as ws

v1 = tf.compat.v1


def descent(rate=0.1):
    return lambda: v1.train.GradientDescentOptimizer(rate)


def start(model):
    """Build the train op and give every variable its value; return a copy of them."""
    model.prepare()
    model.session.initialize(list(model.session.specs))
    return {name: array.copy() for name, array in model.session.read_all().items()}


def test_a_step_trains_and_reports(make_model, batch):
    model = make_model(lambda: v1.train.AdamOptimizer(0.05))
    losses = [model.train_step(batch)["loss"] for _ in range(20)]
    assert losses[-1] < losses[0] / 1.2
    assert model.session.read("global_step") == 20


def test_a_step_is_one_run(make_model, batch, monkeypatch):
    model = make_model(descent())
    model.run_with_step(model.update_ops())
    model.train_step(batch)
    runs = []
    run = model.session.tf_session.run
    monkeypatch.setattr(
        model.session.tf_session, "run", lambda *a, **k: (runs.append(a), run(*a, **k))[1]
    )
    assert set(model.train_step(batch)) == {"loss"}
    assert len(runs) == 1


def test_update_ops_run_with_the_step_only_when_asked(make_model, batch, changed):
    model = make_model(descent())
    before = start(model)
    model.train_step(batch)
    statistics = {"hidden/bn/moving_mean", "hidden/bn/moving_variance"}
    assert not statistics & changed(before, model.session.read_all())
    model.run_with_step(model.update_ops())
    model.train_step(batch)
    assert statistics <= changed(before, model.session.read_all())


def test_metrics_are_reported_by_name(graph):
    x = v1.placeholder(tf.float32, [None], "x")
    w = v1.get_variable("w", [], initializer=v1.ones_initializer())
    model = ws.TFGraph(
        inputs=x,
        cost=tf.reduce_sum(x * w),
        optimizer=v1.train.GradientDescentOptimizer(0.5),
        metrics={"largest": tf.reduce_max(x)},
    )
    assert model.train_step(np.float32([1, 2])) == {"loss": 3.0, "largest": 2.0}


def test_a_ready_train_op_is_run(graph):
    x = v1.placeholder(tf.float32, [None], "x")
    w = v1.get_variable("w", [], initializer=v1.zeros_initializer())
    model = ws.TFGraph(inputs=[x], cost=tf.reduce_sum(x * w), train_op=v1.assign_add(w, 2.0))
    model.prepare()
    model.train_step((np.float32([1]),))
    assert model.session.read("w") == 2
    with pytest.raises(ws.FreezeError, match="1 of 1 variables would still be moved"):
        ws.freeze(model, "w")


def test_a_model_without_a_way_to_train_only_predicts(graph):
    x = v1.placeholder(tf.float32, [None], "x")
    model = ws.TFGraph(inputs=[x], cost=tf.reduce_sum(x, name="total"))
    assert model.session.predictor(None, ["total"])(np.float32([1, 2])) == [3]
    with pytest.raises(ValueError, match="cannot be trained: pass optimizer= or train_op="):
        model.prepare()


def test_scaled_gradients(make_model, batch):
    """Factors multiply what plain gradient descent does; 0 takes the variable out."""
    plain = make_model(descent())
    before = start(plain)
    plain.train_step(batch)
    moved = {n: a - before[n] for n, a in plain.session.read_all().items()}
    procs = [ws.ScaleGradient([("out/.*", 0.5), ("hidden/kernel", 0)])]
    scaled = ws.TFGraph(
        inputs=plain.inputs,
        cost=plain._fetches["loss"],
        optimizer=v1.train.GradientDescentOptimizer(0.1),
        gradprocs=procs,
        session=plain.session.tf_session,
    )
    scaled.session.assign(before.items())
    scaled.train_step(batch)
    found = {n: a - before[n] for n, a in scaled.session.read_all().items()}
    np.testing.assert_allclose(found["out/kernel"], moved["out/kernel"] / 2, rtol=1e-3)
    np.testing.assert_array_equal(found["hidden/kernel"], np.zeros((4, 3)))
    np.testing.assert_array_equal(found["hidden/bn/beta"], moved["hidden/bn/beta"])


def test_a_factor_of_zero_leaves_no_slot(make_model, batch, changed):
    model = make_model(
        lambda: v1.train.AdamOptimizer(0.1), gradprocs=[ws.ScaleGradient(("hidden/.*", 0))]
    )
    before = start(model)
    model.train_step(batch)
    assert "hidden/kernel/Adam" not in model.session.specs
    assert not {n for n in changed(before, model.session.read_all()) if n.startswith("hidden")}


def test_sparse_gradients_are_scaled(graph):
    rows = v1.placeholder(tf.int32, [None])
    w = v1.get_variable("w", [3, 1], initializer=v1.zeros_initializer())
    model = ws.TFGraph(
        inputs=[rows],
        cost=tf.reduce_sum(tf.gather(w, rows)),
        optimizer=v1.train.GradientDescentOptimizer(1.0),
        gradprocs=[ws.ScaleGradient(("w", 0.25))],
    )
    model.train_step(([1],))
    np.testing.assert_array_equal(model.session.read("w"), [[0], [-0.25], [0]])


def test_a_processor_may_name_frozen_variables_only(make_model, batch):
    model = make_model(
        lambda: v1.train.AdamOptimizer(0.1), gradprocs=[ws.ScaleGradient(("out/.*", 0.5))]
    )
    ws.freeze(model, "out/kernel")
    model.train_step(batch)
    assert "out/kernel/Adam" not in model.session.specs


def test_an_optimizer_may_be_anything_that_applies_gradients(graph):
    class Sign:
        def compute_gradients(self, cost, var_list):
            return list(zip(tf.gradients(cost, var_list), var_list, strict=True))

        def apply_gradients(self, pairs, global_step):
            ops = [v1.assign_sub(v, tf.sign(g)) for g, v in pairs]
            return tf.group(*ops, v1.assign_add(global_step, 1))

    v1.get_variable("unused", [])
    w = v1.get_variable("w", [], initializer=v1.zeros_initializer())
    x = v1.placeholder(tf.float32, [])
    model = ws.TFGraph(inputs=[x], cost=x * w, optimizer=Sign())
    model.train_step((7.0,))
    assert model.session.read("w") == -1
    assert model.session.read("global_step") == 1


def test_a_batch_of_the_wrong_length_is_refused(make_model, batch):
    with pytest.raises(ValueError, match=r"a batch of 1 arrays for 2 inputs: x:0, y:0"):
        make_model(descent()).train_step(batch[:1])


def test_a_session_on_another_graph_is_refused(make_model):
    with pytest.raises(ValueError, match="session= is on another graph than cost="):
        make_model(descent(), session=v1.Session(graph=tf.Graph()))


def test_a_train_op_cannot_be_built_in_a_finalized_graph(make_model):
    model = make_model(descent())
    model.graph.finalize()
    with pytest.raises(ValueError, match="the graph is finalized, so no train op can be built"):
        model.prepare()


def test_an_optimizer_beside_a_ready_train_op_is_refused(make_model):
    with pytest.raises(ValueError, match="optimizer= and train_op= were both given"):
        make_model(descent(), train_op=tf.no_op())


def test_gradient_processors_beside_a_ready_train_op_are_refused(graph):
    with pytest.raises(ValueError, match="gradprocs= cannot change a train op already built"):
        ws.TFGraph(
            inputs=[],
            cost=tf.constant(1.0),
            train_op=tf.no_op(),
            gradprocs=[ws.ScaleGradient(("w", 0))],
        )


def test_a_keras_optimizer_is_refused(graph):
    message = r"AdamW cannot train a graph: it has no compute_gradients; use one of tf.compat.v1"
    with pytest.raises(TypeError, match=message):
        ws.TFGraph(inputs=[], cost=tf.constant(1.0), optimizer=tf.keras.optimizers.AdamW())


def test_a_metric_called_as_the_cost_is_refused(make_model):
    with pytest.raises(ValueError, match='the cost is reported as "loss"'):
        make_model(descent(), metrics={"loss": tf.constant(1.0)})


def test_what_is_reported_is_scalar(graph):
    cost = tf.constant([1.0])
    with pytest.raises(ValueError, match=r"these are not: loss \(1,\), wide \(2, 3\)"):
        ws.TFGraph(inputs=[], cost=cost, metrics={"wide": tf.zeros([2, 3])})
