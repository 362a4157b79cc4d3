"""Layers added, taken out, put in another order or frozen, in TensorFlow graphs."""

import numpy as np
import pytest
import tensorflow as tf

import warmstart as ws
from warmstart.errors import ResumeError
from warmstart.names import selected

v1 = tf.compat.v1

INPUTS = np.random.default_rng(0).standard_normal((32, 2)).astype(np.float32)
SLOTS = ("Adam", "Adam_1")

#: What was done to the model: its layers, those frozen; kept, lost and fresh layers; to accept.
CHANGES = {
    "reordered": ("cab", "", "abc", "", "", []),
    "a layer added": ("adbc", "", "abc", "", "d", ["d/*"]),
    "a layer taken out": ("ac", "", "ac", "b", "", ["b/*"]),
    "one frozen": ("abc", "a", "bc", "a", "", ["a/w/*"]),
    "one frozen, one added, reordered": ("dcba", "a", "bc", "a", "d", ["a/w/*", "d/*"]),
}


def model(names, untrained=""):
    """Return a model with layers of one shape, in the order of *names*, and Adam."""
    with tf.Graph().as_default():
        v1.set_random_seed(1)
        x, y = v1.placeholder(tf.float32, [None, 2]), v1.placeholder(tf.float32, [None, 2])
        out = x
        for name in names:
            w = v1.get_variable(f"{name}/w", (2, 2), trainable=name not in untrained)
            out = tf.tanh(tf.matmul(out, w))
        cost = tf.reduce_mean((out - y) ** 2)
        return ws.TFGraph(inputs=[x, y], cost=cost, optimizer=v1.train.AdamOptimizer(0.01))


def launch(folder, made, *, max_epoch, accept=()):
    """Train, or go on with what is in *folder*; return the trainer."""
    ws.logger.set_logger_dir(str(folder), action="k")
    config = ws.AutoResumeTrainConfig(
        model=made,
        data=ws.Batches((INPUTS, INPUTS), 8),
        callbacks=[ws.ModelSaver()],
        max_epoch=max_epoch,
        accept=accept,
    )
    return ws.launch_train(config)


def slots_of(layers):
    return {f"{layer}/w/{slot}" for layer in layers for slot in SLOTS}


@pytest.fixture
def run(tmp_path):
    """A folder in which a run of two epochs was left."""
    launch(tmp_path, model("abc"), max_epoch=2)
    return tmp_path


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_slots_stay_with_their_variable(change, run):
    layers, untrained, kept, lost, fresh, _ = change
    old = ws.load_vars(run)
    made = model(layers, untrained)
    made.prepare()  # makes the optimizer's update, and with it the slots
    session = made.session
    slots = ws.SmartInit(run).init(session).slots
    assert set(slots.kept) - {"beta1_power", "beta2_power"} == slots_of(kept)
    assert {n for names in slots.lost.values() for n in names} == slots_of(lost)
    assert set(slots.fresh) == {f"{layer}/w" for layer in fresh}
    for name in slots.kept:
        assert np.array_equal(session.read(name), old[name])
        assert np.any(session.read(name))
    for name in slots_of(fresh):
        assert not np.any(session.read(name))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_resume_keeps_slots_by_name(change, run):
    layers, untrained, kept, _, _, accept = change
    old = ws.load_vars(run)
    trainer = launch(run, model(layers, untrained), max_epoch=2, accept=accept)
    assert trainer.step == 8
    for name in slots_of(kept):
        assert np.array_equal(trainer.session.read(name), old[name])
    trainer = launch(run, model(layers, untrained), max_epoch=3, accept=accept)
    for name in slots_of(kept):
        assert not np.array_equal(trainer.session.read(name), old[name])


REFUSED = {name: change for name, change in CHANGES.items() if change[-1]}


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
def test_what_is_not_accepted_is_refused_by_name(change, run):
    layers, untrained, *_, accept = change
    with pytest.raises(ResumeError) as caught:
        launch(run, model(layers, untrained), max_epoch=3)
    named = {line.split()[0] for line in str(caught.value).splitlines() if line.startswith("  ")}
    assert named
    assert set(selected(named, accept)) == named
