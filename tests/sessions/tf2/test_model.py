"""Training a module: `TFModule`."""

import logging

import numpy as np
import pytest
import tensorflow as tf

import warmstart as ws
from warmstart.freezing.gradients import GradientProcessor

keras = tf.keras.optimizers


@pytest.fixture
def make_model(make_net, squared):
    """Return the function that makes a TFModule of `Net` with SGD."""

    def make(rate=0.05, **options):
        return ws.TFModule(make_net(), loss=squared, optimizer=keras.SGD(rate), **options)

    return make


def test_it_moves_variables_as_a_loop_of_ones_own(make_net, make_model, batch, own_step, values):
    model = make_model()
    model.session.assign([("heads/a.Sb/b", np.zeros(1, np.float32))])
    net, optimizer, (rows, targets) = make_net(), keras.SGD(0.05), batch
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((net(rows, training=True) - targets) ** 2)
    gradients = tape.gradient(loss, net.trainable_variables)
    optimizer.apply(gradients, net.trainable_variables)
    metrics = model.train_step(batch)
    found, expected = values(model.session), values(ws.session_for(net))
    assert metrics == {"loss": pytest.approx(float(loss))}
    assert all(np.allclose(found[name], value, atol=1e-6) for name, value in expected.items())
    assert not np.array_equal(found["blocks/1/mean"], np.zeros(3))  # it was told to be in training


def test_a_step_of_ones_own(make_net, batch):
    def step(net, batch):
        rows, targets = batch["rows"], batch["targets"]
        error = net(rows, training=True) - targets
        if tf.reduce_mean(error) > 1e9:  # a branch of the graph
            error = tf.zeros_like(error)
        return {"loss": error**2, "bias": tf.reduce_mean(error)}

    model = ws.TFModule(make_net(), step=step, optimizer=keras.Adam(0.01))
    metrics = model.train_step({"rows": batch[0], "targets": batch[1]})
    assert set(metrics) == {"loss", "bias"}
    assert all(isinstance(value, float) for value in metrics.values())


def test_a_half_batch_is_traced_for_itself(make_model, batch):
    model = make_model()
    model.train_step(batch)
    assert model.train_step((batch[0][:3], batch[1][:3]))["loss"] > 0


def test_dropout_by_python_is_told(make_net, batch, caplog):
    def loss(outputs, targets):
        return tf.reduce_mean((tf.nn.dropout(outputs, 0.5) - targets) ** 2)

    model = ws.TFModule(make_net(), loss=loss, optimizer=keras.SGD(0.05))
    assert model.session.unresumable() == {}
    with caplog.at_level(logging.WARNING, "warmstart"):
        model.train_step(batch), model.train_step(batch)
    (record,) = [each for each in caplog.records if each.name == "warmstart"]
    assert "a resumed run will not end with the same bits" in record.getMessage()
    (name,) = model.session.unresumable()
    assert name.startswith("dropout/")
    assert model.session.state()["not_saved"] == {name: model.session.unresumable()[name]}


def test_who_resumes_is_told_what_the_run_depended_on(make_net, tmp_path, batch, monkeypatch):
    def loss(outputs, targets):
        return tf.reduce_mean((tf.nn.dropout(outputs, 0.5) - targets) ** 2)

    def train(epochs, **arguments):
        model = ws.TFModule(make_net(), loss=loss, optimizer=keras.SGD(0.05))
        trainer = ws.Trainer(model)
        saver = ws.ModelSaver(checkpoint_dir=tmp_path)
        data = ws.Batches(batch, 4)
        trained.append(model)
        trainer.train(data=data, callbacks=[saver], max_epoch=epochs, **arguments)

    trained = []
    monkeypatch.setattr(ws.logger, "_folder", tmp_path)
    with pytest.raises(
        ws.ResumeError, match=r"bring back 1 of its pieces\n  dropout/\S*: a random"
    ):
        train(1)
    assert not list(tmp_path.glob("model-*"))
    train(1, accept=["dropout/*"])
    assert trained[-1].session.on_unresumable is None
    with pytest.raises(ws.ResumeError, match=r"dropout/\S*: a random operation whose state is in"):
        train(2, resume_from=tmp_path)
    train(2, resume_from=tmp_path, accept=["dropout/*"])


def test_gradients_are_processed(make_model, batch, values, changed):
    model = make_model(gradprocs=[ws.ScaleGradient([("blocks/.*", 0)])])
    before = values(model.session)
    model.train_step(batch)
    moved = changed(before, model.session)
    assert "embedding" in moved
    assert not {"blocks/0/w", "blocks/1/gamma"} & moved
    assert "blocks/1/mean" in moved


def test_a_processor_sees_unscaled_gradients(make_net, squared, batch):
    seen = []

    class Look(GradientProcessor):
        def process(self, gradients, ops):
            show = {n: ops.watched(g, seen.append) for n, g in gradients.items()}
            return {n: ops.scaled(g, 1.0) for n, g in show.items()}

    for optimizer in (keras.SGD(0.05), keras.LossScaleOptimizer(keras.SGD(0.05))):
        model = ws.TFModule(make_net(), loss=squared, optimizer=optimizer, gradprocs=[Look()])
        model.train_step(batch)
        assert model.session.unresumable() == {}
    assert len(seen) == 14
    shapes = {a.shape for a in seen}
    assert shapes == {(4, 3), (3,), (3, 1), (1,), (8, 4)}  # the rows asked of an embedding
    sizes = sorted(float(np.abs(a).sum()) for a in seen)
    assert np.allclose(sizes[::2], sizes[1::2], rtol=1e-4)


def test_what_a_processor_raises_comes_out_and_nothing_moved(
    make_net, squared, batch, changed, values
):
    class Refuse(GradientProcessor):
        def process(self, gradients, ops):
            return {n: ops.watched(g, self.look) for n, g in gradients.items()}

        def look(self, gradient):
            raise ArithmeticError("not a number")

    model = ws.TFModule(make_net(), loss=squared, optimizer=keras.SGD(0.05), gradprocs=[Refuse()])
    model.prepare()
    before = values(model.session)
    with pytest.raises(ArithmeticError, match="not a number"):
        model.train_step(batch)
    assert changed(before, model.session) <= {
        "blocks/1/mean",
        "blocks/1/variance",
        "blocks/1/count",
    }


def test_a_rule_that_means_no_variable_is_an_error(make_model):
    with pytest.raises(ws.RuleError, match="match none of 7 variables"):
        make_model(gradprocs=[ws.ScaleGradient([("nothing", 0)])]).prepare()


def test_what_it_is_given_is_checked(make_net, squared, batch):
    net, optimizer = make_net(), keras.SGD(0.05)
    with pytest.raises(TypeError, match="give one of loss=, called with"):
        ws.TFModule(net, optimizer=optimizer)
    with pytest.raises(TypeError, match=r"the optimizer is 'adam'; expected one of tf"):
        ws.TFModule(net, loss=squared, optimizer="adam")
    with pytest.raises(ValueError, match="no trainable variables yet; call it once to make them"):
        ws.TFModule(tf.Module(), loss=squared, optimizer=optimizer).prepare()
    model = ws.TFModule(net, loss=squared, optimizer=optimizer)
    with pytest.raises(TypeError, match="a batch is a dict; with loss= it is"):
        model.train_step({"x": batch[0]})
    for losses, text in (
        ({"cost": 1.0}, "returned cost; expected a dict with 'loss'"),
        (3.0, "returned float; expected a dict"),
        ({}, "returned nothing;"),
        ({"loss": 1.0, "each": tf.ones([2])}, r"not so: each \(2,\)"),
    ):
        wrong = ws.TFModule(net, step=lambda *_, losses=losses: losses, optimizer=optimizer)
        with pytest.raises(ValueError, match=text):
            wrong.train_step(batch)
