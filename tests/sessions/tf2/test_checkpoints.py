"""Checkpoints of TensorFlow's own into its objects, with `tf.train.Checkpoint` as the oracle."""

import numpy as np
import pytest
import tensorflow as tf

import warmstart as ws
from warmstart.restore.resume import resume

keras = tf.keras.optimizers
v1 = tf.compat.v1.train

OPTIMIZERS = {
    "adamw": lambda: keras.AdamW(0.05, use_ema=True),
    "adafactor": lambda: keras.Adafactor(0.05),
    "scaled": lambda: keras.LossScaleOptimizer(keras.SGD(0.05, momentum=0.9)),
    "rmsprop": lambda: keras.RMSprop(0.05, centered=True, momentum=0.1),
    "v1": lambda: v1.AdamOptimizer(0.05),
}


@pytest.fixture(params=OPTIMIZERS)
def make_optimizer(request):
    """What makes an optimizer, each kind in turn."""
    return OPTIMIZERS[request.param]


@pytest.fixture
def make_net(request, make_net):
    """What makes a module: without scopes for Adafactor, which cannot have a "/" in a name."""
    adafactor = "adafactor" in request.node.callspec.id if hasattr(request.node, "callspec") else 0
    return lambda seed: make_net(seed, scoped=not adafactor)


@pytest.fixture
def saved(make_net, make_optimizer, own_step, tmp_path):
    """A module and its optimizer after two steps, and where TensorFlow saved them."""
    net, optimizer = make_net(1), make_optimizer()
    step = own_step(net, optimizer)
    step(), step()
    checkpoint = tf.train.Checkpoint(model=net, optimizer=optimizer, step=tf.Variable(7))
    return net, optimizer, checkpoint.save(str(tmp_path / "ckpt"))


def roles(session, *wanted):
    return {name for name, spec in session.specs.items() if spec.role in wanted}


def test_a_module_and_its_optimizer_get_everything(saved, make_net, make_optimizer, values):
    net, optimizer = make_net(2), make_optimizer()
    session = ws.session_for(net, optimizer=optimizer)
    report = ws.SmartInit(saved[2]).init(session)
    expected = values(ws.session_for(saved[0], optimizer=saved[1]))
    found = values(session)
    filled = roles(session, "trainable", "model", "slot")
    assert set(report.loaded) == filled
    assert report.missing == ()
    assert "lost" not in str(report)  # counters and settings of optimizers are no slots
    assert all(np.array_equal(found[name], expected[name]) for name in filled)


def test_it_is_what_tensorflow_restores(saved, make_net, make_optimizer, own_step, values):
    ours, theirs = [(make_net(2), make_optimizer()) for _ in range(2)]
    for net, optimizer in (ours, theirs):
        own_step(net, optimizer)()
    ws.SmartInit(saved[2]).init(ws.session_for(ours[0], optimizer=ours[1]))
    tf.train.Checkpoint(model=theirs[0], optimizer=theirs[1]).restore(saved[2])
    a, b = (values(ws.session_for(net, optimizer=o)) for net, o in (ours, theirs))
    names = roles(ws.session_for(ours[0], optimizer=ours[1]), "trainable", "model", "slot")
    assert all(np.array_equal(a[name], b[name]) for name in names)
    assert names > {"embedding", "blocks/1/mean", "heads/a.Sb/w"}


def test_a_module_alone_gets_its_variables(saved, make_net, values):
    net = make_net(2)
    report = ws.SmartInit(saved[2]).init(net)
    expected = values(ws.session_for(saved[0]))
    assert set(report.loaded) == set(expected)
    assert (report.missing, report.unused) == ((), ("step/.ATTRIBUTES/VARIABLE_VALUE",))
    assert all(np.array_equal(a, expected[n]) for n, a in values(ws.session_for(net)).items())


def test_a_checkpoint_object_gets_its_variables(saved, make_net, make_optimizer, values):
    step = tf.Variable(0)
    target = tf.train.Checkpoint(model=make_net(2), optimizer=make_optimizer(), step=step)
    ws.SmartInit(saved[2]).init(target)
    session, source = ws.session_for(target), ws.session_for(saved[0])
    assert step.numpy() == 0  # a counter is run state
    for name in source.specs:
        assert np.array_equal(session.read("model/" + name), source.read(name))
    slots = roles(ws.session_for(saved[0], optimizer=saved[1]), "slot")
    assert roles(session, "slot") == {n if "power" in n else "model/" + n for n in slots}


def test_resuming_from_it_fills_the_counters_too(saved, make_net, make_optimizer, values):
    net, optimizer = make_net(2), make_optimizer()
    session = ws.session_for(net, optimizer=optimizer)
    with ws.open(saved[2]) as source:
        resume(session, source, ["save_counter*", "_CHECK*"])
    expected = values(ws.session_for(saved[0], optimizer=saved[1]))
    assert {n: a.tobytes() for n, a in values(session).items()} == {
        n: a.tobytes() for n, a in expected.items()
    }


def test_a_checkpoint_of_the_module_itself(make_net, tmp_path, values):
    net, other = make_net(1), make_net(2)
    path = tf.train.Checkpoint(net).save(str(tmp_path / "ckpt"))
    ws.SmartInit(path).init(other)
    expected = values(ws.session_for(net))
    assert all(np.array_equal(a, expected[n]) for n, a in values(ws.session_for(other)).items())


def test_another_name_at_the_top_is_a_rule_away(make_net, tmp_path):
    path = tf.train.Checkpoint(teacher=make_net(1)).save(str(tmp_path / "ckpt"))
    net = make_net(2)
    rules = [ws.rename(r"teacher/(.*)/\.ATTRIBUTES/VARIABLE_VALUE", r"\1")]
    assert ws.SmartInit(path, rules=rules).init(net).missing == ()


def test_what_is_saved_from_a_session_tensorflow_reads(saved, tmp_path, values):
    session = ws.session_for(saved[0], optimizer=saved[1])
    path = tmp_path / "ours"
    ws.save_vars(session, path)
    reader = tf.train.load_checkpoint(str(path))
    shapes = reader.get_variable_to_shape_map()
    expected = values(session)
    assert expected.keys() <= shapes.keys()
    assert all(np.array_equal(reader.get_tensor(name), a) for name, a in expected.items())


def test_a_reordered_optimizer_keeps_each_variables_own_slots(make_net, own_step, tmp_path):
    net, optimizer = make_net(1), keras.Adam(0.05)
    own_step(net, optimizer)()
    path = tf.train.Checkpoint(model=net, optimizer=optimizer).save(str(tmp_path / "ckpt"))
    other, again = make_net(2), keras.Adam(0.05)
    again.build(list(other.trainable_variables)[::-1])
    ws.SmartInit(path).init(ws.session_for(other, optimizer=again))
    a, b = (ws.session_for(n, optimizer=o) for n, o in ((net, optimizer), (other, again)))
    names = roles(a, "slot")
    assert len(names) == 14
    assert all(np.array_equal(a.read(name), b.read(name)) for name in names)
