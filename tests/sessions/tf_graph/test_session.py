import gc
import weakref

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

import warmstart as ws
from warmstart.sessions.tf_graph import values

v1 = tf.compat.v1

ARRAYS = {
    "f2": np.array([1.5, -2], "float16"),
    "f4": np.arange(6, dtype="float32").reshape(2, 3),
    "f8": np.array(3.25),
    "bf16": np.array([1.5, -2], ml_dtypes.bfloat16),
    "i1": np.array([-3, 4], "int8"),
    "u1": np.array([3, 4], "uint8"),
    "i2": np.array([-3, 4], "int16"),
    "u2": np.array([3, 4], "uint16"),
    "i4": np.array([-3, 4], "int32"),
    "u4": np.array([3, 4], "uint32"),
    "i8": np.array([-3, 4]),
    "u8": np.array([3, 4], "uint64"),
    "bool": np.array([True, False]),
    "c8": np.array([1 + 2j], "complex64"),
    "c16": np.array([1 + 2j]),
    "text": np.array([b"ab", b"\x00c"], object),
    "word": np.array(b"ab", object),
    "empty": np.zeros((0, 3), "float32"),
}


@pytest.mark.parametrize("dtype", [ml_dtypes.float8_e5m2, ml_dtypes.float8_e4m3fn])
def test_float8_is_read_and_assigned(graph, running, dtype):
    v1.get_variable("a", initializer=tf.constant(np.array([1.5], dtype)), use_resource=True)
    session = running()
    session.assign([("a", np.array([-2], dtype))])
    np.testing.assert_array_equal(session.read("a"), np.array([-2], dtype), strict=True)


@pytest.mark.parametrize("name", ARRAYS)
def test_every_dtype_is_read_and_assigned(graph, running, resource, name):
    array = ARRAYS[name]
    v1.get_variable(name, initializer=tf.constant(array[...]), use_resource=resource)
    session = running()
    np.testing.assert_array_equal(session.read(name), array, strict=True)
    other = np.asarray(array[::-1] if array.ndim else array)
    session.assign([(name, other)])
    np.testing.assert_array_equal(session.read(name), other, strict=True)


def test_specs_need_no_values(graph, resource):
    v1.get_variable("layer/w", [2, 3], use_resource=resource)
    session = ws.session_for(v1.Session(graph=graph))
    assert dict(session.specs) == {
        "layer/w": ws.TensorSpec("layer/w", "float32", (2, 3), "trainable")
    }


def test_reading_what_has_no_value_names_all_of_it(graph, resource):
    for name in ("a", "b", "c"):
        v1.get_variable(name, [2], use_resource=resource)
    session = ws.session_for(v1.Session(graph=graph))
    assert session.initialize(["b"]) == ["b"]
    with pytest.raises(
        ws.CheckpointError, match=r"without a value yet: a, c; run their initializers"
    ):
        session.read_all()


def test_a_name_that_is_not_there_is_refused_with_near_ones(graph, running):
    v1.get_variable("layer/kernel", [2])
    session = running()
    with pytest.raises(ws.NoSuchTensor, match=r"no tensor 'layer/kernal'.*near it: 'layer/kernel'"):
        session.read("layer/kernal")
    with pytest.raises(ws.NoSuchTensor, match="no tensor 'x'"):
        session.assign([("x", np.zeros(2))])


def test_a_finalized_graph_is_read_assigned_and_initialised(graph, resource):
    v1.get_variable("a", [2], use_resource=resource)
    v1.get_variable("b", [2], use_resource=resource)
    graph.finalize()
    session = ws.session_for(v1.Session(graph=graph))
    session.assign([("a", np.float32([1, 2]))])
    assert session.initialize(["a", "b"]) == ["b"]
    np.testing.assert_array_equal(session.read("a"), [1, 2])


def test_assigning_adds_nothing_to_the_graph(graph, resource):
    v1.get_variable("a", [2], use_resource=resource)
    before = graph.version
    session = ws.session_for(v1.Session(graph=graph))
    session.assign([("a", np.float32([1, 2]))])
    session.read("a")
    assert graph.version == before


def test_variables_without_a_value_are_found_among_many(graph, resource):
    names = [f"v{i}" for i in range(7)]
    for name in names:
        v1.get_variable(name, [2], use_resource=resource)
    graph.finalize()
    session = ws.session_for(v1.Session(graph=graph))
    session.assign((name, np.zeros(2, "f4")) for name in names if name not in ("v2", "v5"))
    assert session.initialize(names) == ["v2", "v5"]


def test_while_nothing_changes_values_are_read_in_groups(graph, resource, monkeypatch):
    for name in ("b", "a", "d", "c"):
        v1.get_variable(name, [2], use_resource=resource)
    session = ws.session_for(v1.Session(graph=graph))
    session.initialize(["a", "b", "c"])
    monkeypatch.setattr(values, "GROUP_NBYTES", 16)
    expected = [session.read(name) for name in ("a", "b", "c")]
    runs = []
    run = session.tf_session.run
    with session.reading(), session.reading():
        monkeypatch.setattr(
            session.tf_session, "run", lambda *args: (runs.append(args), run(*args))[1]
        )
        np.testing.assert_array_equal([session.read(name) for name in ("a", "b", "c")], expected)
        with pytest.raises(ws.CheckpointError, match="without a value yet: d"):
            session.read("d")
    assert len(runs) == 2
    session.assign([("a", np.float32([1, 2]))])
    np.testing.assert_array_equal(session.read("a"), [1, 2])


def test_what_is_read_ahead_is_bounded(graph, running, monkeypatch):
    for i in range(12):
        v1.get_variable(f"v{i:02}", [2])
    session = running()
    monkeypatch.setattr(values, "GROUP_NBYTES", 8)
    with session.reading():
        held = [(session.read(n), len(session._ahead._values))[1] for n in sorted(session.specs)]
    assert max(held) == 4


def test_a_partitioned_variable_is_one(graph, running, resource):
    partitioner = v1.fixed_size_partitioner(3, axis=1)
    v1.get_variable("w", [2, 5], partitioner=partitioner, use_resource=resource)
    session = running()
    assert list(session.specs) == ["w"]
    array = np.arange(10, dtype="float32").reshape(2, 5)
    session.assign([("w", array)])
    np.testing.assert_array_equal(session.read("w"), array)
    parts = session.tf_session.run(v1.global_variables())
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), array)


def test_a_variable_counted_twice_is_one(graph, running):
    v = v1.get_variable("a", [2])
    v1.add_to_collection(v1.GraphKeys.GLOBAL_VARIABLES, v)
    assert list(running().specs) == ["a"]


def test_variables_that_share_their_initial_value_are_set_apart(graph, running, resource):
    initial = tf.constant([0.0, 0.0])
    for name in ("a", "b"):
        v1.get_variable(name, initializer=initial, use_resource=resource)
    session = running()
    session.assign([("a", np.float32([1, 2])), ("b", np.float32([3, 4]))])
    np.testing.assert_array_equal(session.read("a"), [1, 2])
    np.testing.assert_array_equal(session.read("b"), [3, 4])


def test_small_values_are_set_together_and_a_big_one_alone(graph, running, monkeypatch):
    monkeypatch.setattr(values, "GROUP_NBYTES", 16)
    for name in ("a", "b", "c", "d"):
        v1.get_variable(name, [8 if name == "c" else 2])
    session = running()
    runs = []
    run = session.tf_session.run
    monkeypatch.setattr(
        session.tf_session, "run", lambda *args: (runs.append(len(args[0])), run(*args))[1]
    )
    session.assign([(name, np.zeros(spec.shape, "f4")) for name, spec in session.specs.items()])
    assert runs == [2, 1, 1]
    runs.clear()
    assert set(session.read_all()) == {"a", "b", "c", "d"}
    assert runs == [2, 1, 1]


def test_initial_values_computed_from_others_come_after_them(graph, resource):
    a = v1.get_variable("a", initializer=tf.constant([3.0]), use_resource=resource)
    v1.get_variable("b", initializer=lambda: a.read_value() * 2, use_resource=resource)
    session = ws.session_for(v1.Session(graph=graph))
    assert session.initialize(["b", "a"]) == ["b", "a"]
    np.testing.assert_array_equal(session.read("b"), [6])


def test_initialising_keeps_values_that_are_there(graph, running):
    v1.get_variable("a", [2])
    session = running()
    session.assign([("a", np.float32([1, 2]))])
    assert session.initialize(["a"]) == []
    np.testing.assert_array_equal(session.read("a"), [1, 2])


def test_an_initial_value_that_cannot_be_computed_is_named(graph):
    v1.get_variable("a", initializer=v1.placeholder(tf.float32, [2], "start"))
    session = ws.session_for(v1.Session(graph=graph))
    with pytest.raises(ws.CheckpointError, match="initial values of a could not be computed"):
        session.initialize(["a"])


def test_a_shape_that_only_the_value_has(graph):
    v1.Variable(tf.zeros([2]), validate_shape=False, shape=tf.TensorShape(None), name="a")
    session = ws.session_for(v1.Session(graph=graph))
    with pytest.raises(ws.CheckpointError, match="without a value yet: a") as error:
        _ = session.specs
    assert error.value.__notes__ == [
        "while looking for the shape of 'a', which the graph leaves open"
    ]
    session.tf_session.run(v1.global_variables_initializer())
    assert session.specs["a"].shape == (2,)
    session.assign([("a", np.float32([1, 2]))])
    np.testing.assert_array_equal(session.read("a"), [1, 2])


def test_variables_made_later_are_seen(graph, running):
    session = running()
    assert not session.specs
    v1.get_variable("a", [2])
    assert list(session.specs) == ["a"]


def test_two_variables_of_one_full_name_are_refused(graph, running):
    v1.get_variable("w", [4, 2], partitioner=v1.fixed_size_partitioner(2))
    other = v1.Variable([1.0], name="other")
    v1.global_variables()[0]._save_slice_info.full_name = "other"
    with pytest.raises(ws.NameConflict, match="w/part_0, other all go by the full name 'other'"):
        running()
    assert other is not None


def test_a_dtype_no_checkpoint_has_is_refused_by_name(graph, running):
    v1.get_variable("q", initializer=tf.bitcast(tf.constant([1], tf.int8), tf.qint8))
    with pytest.raises(ws.UnsupportedCheckpoint, match=r"dtype of: 'q' \(qint8\)"):
        running()


def test_an_unknown_option_is_refused(graph):
    with pytest.raises(TypeError, match="takes no option color"):
        ws.session_for(v1.Session(graph=graph), color=1)


def test_sessions_on_one_tf_session_share_their_anchor(graph):
    tf_session = v1.Session(graph=graph)
    assert ws.session_for(tf_session).anchor is ws.session_for(tf_session).anchor
    assert weakref.ref(ws.session_for(tf_session).anchor)() is tf_session


def test_a_graph_is_let_go():
    graph = tf.Graph()
    with graph.as_default():
        v1.get_variable("a", [2])
    session = ws.session_for(v1.Session(graph=graph))
    session.freeze(["a"])
    gone = weakref.ref(graph)
    del graph, session
    gc.collect()
    assert gone() is None


def test_values_are_those_that_the_saver_restores(graph, running, resource, tmp_path):
    v1.get_variable("w", [4, 2], partitioner=v1.fixed_size_partitioner(2), use_resource=resource)
    v1.get_variable("b", [2], dtype=tf.bfloat16, use_resource=resource)
    session = running()
    saved = session.read_all()
    path = v1.train.Saver().save(session.tf_session, str(tmp_path / "m"))
    again = v1.Session(graph=graph)
    v1.train.Saver().restore(again, path)
    restored = ws.session_for(again).read_all()
    for name, array in saved.items():
        np.testing.assert_array_equal(restored[name], array, strict=True)


def test_what_is_assigned_is_what_the_saver_saves(graph, running, tmp_path):
    v1.get_variable("w", [4, 2], partitioner=v1.fixed_size_partitioner(2))
    session = running()
    array = np.arange(8, dtype="float32").reshape(4, 2)
    session.assign([("w", array)])
    path = v1.train.Saver().save(session.tf_session, str(tmp_path / "m"))
    np.testing.assert_array_equal(tf.train.load_checkpoint(path).get_tensor("w"), array)


def test_an_imported_metagraph_is_a_graph_like_any(graph, running, resource, tmp_path):
    v1.get_variable("w", [4, 2], partitioner=v1.fixed_size_partitioner(2), use_resource=resource)
    meta = v1.train.export_meta_graph()
    with tf.Graph().as_default() as imported:
        v1.train.import_meta_graph(meta)
    session = ws.session_for(v1.Session(graph=imported))
    assert session.initialize(["w"]) == ["w"]
    assert session.read("w").shape == (4, 2)


CLOSED = {
    "read": lambda session: session.read("w"),
    "read_all": lambda session: session.read_all(),
    "reading": lambda session: session.reading().__enter__(),
    "assign": lambda session: session.assign([("w", np.ones(2, "float32"))]),
    "initialize": lambda session: session.initialize(["w"]),
    "init": lambda session: ws.DictRestore({"w": np.ones(2, "float32")}).init(session),
    "predict": lambda session: session.predictor([], ["w"])(),
}


@pytest.mark.parametrize("use", CLOSED.values(), ids=CLOSED)
def test_a_closed_session_is_refused(graph, running, resource, use):
    v1.get_variable("w", initializer=tf.zeros(2), use_resource=resource)
    session = running()
    session.tf_session.close()
    with pytest.raises(ws.CheckpointError, match="the TensorFlow session is closed, and its val"):
        use(session)


def test_a_predictor_of_a_session_closed_since(graph, running):
    v1.get_variable("w", initializer=tf.zeros(2), use_resource=True)
    session = running()
    predict = session.predictor([], ["w"])
    session.tf_session.close()
    with pytest.raises(ws.CheckpointError, match="the TensorFlow session is closed"):
        predict()


def test_another_fault_of_a_session_is_left_as_it_is(graph):
    with pytest.raises(RuntimeError, match="empty"):
        values.run(v1.Session(graph=graph), [])
