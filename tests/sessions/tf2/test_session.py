"""Names, roles and values of objects of TensorFlow 2."""

import numpy as np
import pytest
import tensorflow as tf

import warmstart as ws
from warmstart.sessions.tf2 import session as tf2_session

keras = tf.keras.optimizers
v1 = tf.compat.v1.train


def roles(session):
    return {name: spec.role for name, spec in session.specs.items()}


def test_names_are_the_ways_of_attributes(make_net):
    net = make_net()
    net.first = net.blocks[0].w
    session = ws.session_for(net)
    assert roles(session) == {
        "embedding": "trainable", "first": "trainable", "blocks/0/b": "trainable",
        "blocks/1/gamma": "trainable", "blocks/1/beta": "trainable", "blocks/1/mean": "model",
        "blocks/1/variance": "model", "blocks/1/count": "model", "heads/a.Sb/w": "trainable",
        "heads/a.Sb/b": "trainable",
    }  # fmt: skip
    assert session.aliases == {
        "blocks/0/w": "first", "dense/w": "first", "dense/b": "blocks/0/b",
        "head/w": "heads/a.Sb/w", "head/b": "heads/a.Sb/b",
    }  # fmt: skip
    assert session.read("dense/w:0") is not None


def test_what_tensorflow_calls_a_variable_is_no_second_way_to_it(make_net, tmp_path):
    net = make_net()
    net.first = net.blocks[0].w
    session = ws.session_for(net, optimizer=keras.Adam())
    assert {*session.aliases} - {*session.derived} == {"blocks/0/w"}
    ws.save_vars(session, tmp_path / "net")
    ws.convert(tmp_path / "net", tmp_path / "net.pt")
    with ws.open(tmp_path / "net.pt") as state:
        keys = {*state.specs, *state.aliases}
    assert keys == {*session.specs, "blocks/0/w"}


def test_the_name_of_several_variables_is_an_error_that_says_so(make_net):
    net = make_net()
    net.more = tf.Variable(1.0, name="dense/w")
    session = ws.session_for(net)
    with pytest.raises(
        ws.NameConflict, match="'dense/w' is the name of 2 variables: more, blocks/0"
    ):
        session.read("dense/w")
    with pytest.raises(ws.NameConflict, match="use these"):
        session.assign([("dense/w", np.zeros((), np.float32))])


def test_a_module_is_looked_through_once_while_it_is_saved(make_net, tmp_path, monkeypatch):
    look, looks = tf2_session.variables_of, []
    monkeypatch.setattr(tf2_session, "variables_of", lambda *a: looks.append(a) or look(*a))
    ws.save_vars(make_net(), tmp_path / "net.npz")
    assert len(looks) == 1


def test_a_module_may_change_once_it_has_been_read(make_net):
    net = make_net()
    session = ws.session_for(net)
    with session.reading(), session.reading():
        assert "more" not in session.specs
    net.more = tf.Variable(1.0)
    assert session.specs["more"].shape == ()


def test_the_state_of_an_optimizer(make_net, own_step):
    net, optimizer = make_net(), keras.Adam()
    own_step(net, optimizer)()
    found = roles(ws.session_for(net, optimizer=optimizer))
    assert found["blocks/0/w/momentum"] == found["embedding/velocity"] == "slot"
    assert found["optimizer/_iterations"] == found["optimizer/_learning_rate"] == "run"
    inside = tf.Module()
    inside.net, inside.adam = net, optimizer
    assert roles(ws.session_for(inside))["net/embedding/velocity"] == "slot"
    assert roles(ws.session_for(inside))["adam/_iterations"] == "run"


def test_random_states_and_counters_are_run_state(make_net):
    net = make_net()
    net.noise = tf.random.Generator.from_seed(1)
    checkpoint = tf.train.Checkpoint(model=net, step=tf.Variable(1))
    assert roles(ws.session_for(checkpoint))["model/noise/_state_var"] == "run"
    assert roles(ws.session_for(checkpoint))["step"] == "run"


def test_values_of_every_dtype(tmp_path):
    module = tf.Module()
    module.half, module.text = tf.Variable(tf.ones([2], tf.bfloat16)), tf.Variable(["a", "bc"])
    module.flag, module.complex = tf.Variable([True, False]), tf.Variable([1j])
    module.none = tf.Variable(tf.zeros([0, 3]))
    session = ws.session_for(module)
    ws.save_vars(session, tmp_path / "m")
    module.half.assign([2, 2]), module.text.assign(["", ""]), module.flag.assign([False, True])
    ws.SmartInit(tmp_path / "m").init(module)
    assert module.half.numpy().tolist() == [1, 1]
    assert module.text.numpy().tolist() == [b"a", b"bc"]
    assert module.flag.numpy().tolist() == [True, False]


def test_a_variable_set_anew_is_found(make_net):
    net = make_net()
    session = ws.session_for(net)
    session.read("embedding")
    net.embedding = tf.Variable([7.0])
    assert session.read("embedding").tolist() == [7]
    session.assign([("embedding", np.ones(1, np.float32))])
    assert net.embedding.numpy().tolist() == [1]


def test_a_wrong_shape_is_refused(make_net):
    with pytest.raises(
        ws.RestoreMismatch, match=r"'embedding' is float32 \(6, 4\); it cannot take"
    ):
        ws.session_for(make_net()).assign([("embedding", np.zeros(3, np.float32))])


def test_half_of_a_variables_slots_are_not_made(make_net):
    net = make_net()
    session = ws.session_for(net, optimizer=keras.Adam())
    names = ("embedding", "embedding/momentum")
    slots = {name: np.ones((6, 4), np.float32) for name in names}
    ws.DictRestore(slots).init(session)
    assert "embedding/momentum" not in session.specs
    slots["embedding/velocity"] = slots["embedding/momentum"]
    ws.DictRestore(slots).init(session)
    assert session.read("embedding/momentum").all()
    assert not session.read("blocks/0/w/momentum").any()


def test_what_cannot_be_saved_is_named(make_net):
    net = make_net()
    net.table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
    net.place = iter(tf.data.Dataset.range(5))
    net.lookup = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer([1], [2]), 0)
    assert set(ws.session_for(net).unresumable()) == {"table", "place"}


def test_two_variables_of_one_name_are_an_error(make_net):
    net, optimizer = make_net(), keras.Adam()
    net.optimizer = tf.Module()
    net.optimizer._iterations = tf.Variable(1)
    with pytest.raises(ws.NameConflict, match="two variables are called optimizer/_iterations"):
        ws.session_for(net, optimizer=optimizer).specs  # noqa: B018


def test_a_list_changed_behind_tensorflows_back_is_an_error(make_net):
    net = make_net()
    del net.blocks[0]
    with pytest.raises(ws.UnsupportedCheckpoint, match="cannot say what 'blocks' consists of"):
        ws.session_for(net).specs  # noqa: B018


def test_what_is_no_object_of_tensorflow_2_is_refused(make_net):
    with pytest.raises(TypeError, match="no session is known for a"):
        ws.session_for(tf.Variable(1.0))
    with pytest.raises(TypeError, match="takes no option strict"):
        ws.session_for(make_net(), strict=True)
    with pytest.raises(TypeError, match=r"the optimizer is a dict; expected one of tf.keras"):
        ws.session_for(make_net(), optimizer={})
    with tf.Graph().as_default(), pytest.raises(TypeError, match="eager execution is off"):
        ws.session_for(make_net())


def test_the_global_generator_goes_on(make_net):
    session = ws.session_for(make_net())
    tf.random.set_global_generator(tf.random.Generator.from_seed(5))
    state = session.state()
    expected = tf.random.get_global_generator().normal([3]).numpy()
    for replaced in (None, tf.random.Generator.from_seed(1, alg="threefry")):
        if replaced is not None:
            tf.random.set_global_generator(replaced)
        session.load_state(state)
        assert np.array_equal(tf.random.get_global_generator().normal([3]).numpy(), expected)
    with pytest.raises(ws.ResumeError, match="global generator is not as it was written: 3"):
        session.load_state({"generator": 3})


def test_warm_start_takes_variables_themselves(make_net, tmp_path):
    ws.save_vars(ws.session_for(make_net(1)), tmp_path / "m")
    net = make_net(2)
    report = ws.WarmStartSettings(tmp_path / "m", [net.embedding, net.blocks[1].gamma]).init(net)
    assert set(report.loaded) == {"embedding", "blocks/1/gamma"}


def test_inference_is_in_evaluation_mode(make_net, batch, values, changed):
    net = make_net()
    before = values(ws.session_for(net))
    (outputs,) = ws.OfflinePredictor(ws.PredictConfig(model=net))(batch[0])
    assert np.allclose(outputs, net(batch[0], training=False))
    assert changed(before, ws.session_for(net)) == set()
    by_name = ws.session_for(net).predictor(["rows"], None)
    assert np.array_equal(by_name(batch[0])[0], outputs)
    with pytest.raises(TypeError, match="a Checkpoint cannot be called, so it predicts nothing"):
        ws.session_for(tf.train.Checkpoint(net)).predictor(None, None)
