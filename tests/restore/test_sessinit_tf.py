"""Restoring into TensorFlow graphs: each way, with TensorFlow's own restoring as the oracle."""

import logging
from contextlib import contextmanager

import numpy as np
import pytest
import tensorflow as tf

import warmstart as ws
from warmstart.errors import RestoreMismatch, RuleError

v1 = tf.compat.v1

SHAPES = {"enc/w": (2, 3), "enc/b": (3,), "fc/w": (3, 4)}


@contextmanager
def graph(shapes=None, *, seed=1, dtype=tf.float32, scope="", optimizer=True, resource=True):
    """Yield a session on a graph with variables of *shapes*, a statistic and Adam's slots.

    Nothing is initialized.
    """
    with tf.Graph().as_default(), v1.Session() as session:
        v1.set_random_seed(seed)
        v1.enable_resource_variables() if resource else v1.disable_resource_variables()
        with v1.variable_scope(scope or v1.get_variable_scope()):
            made = [
                v1.get_variable(
                    name, shape, dtype, initializer=v1.random_normal_initializer(dtype=dtype)
                )
                for name, shape in (shapes or SHAPES).items()
            ]
            v1.get_variable("enc/mean", (3,), dtype, trainable=False)
        if optimizer:
            cost = tf.add_n([tf.reduce_sum(tf.cast(tf.square(v), dtype)) for v in made])
            step = v1.train.get_or_create_global_step()
            v1.train.AdamOptimizer(0.1).minimize(cost, global_step=step)
        yield session


def values(session):
    """Return every variable that has a value, by name."""
    return {
        v.op.name: session.run(v)
        for v in v1.global_variables()
        if session.run(v1.is_variable_initialized(v))
    }


def equal(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A checkpoint by TensorFlow's Saver after a step, and its values."""
    path = tmp_path_factory.mktemp("base") / "model"
    with graph() as session:
        session.run(v1.global_variables_initializer())
        session.run(v1.get_collection(v1.GraphKeys.TRAIN_OP)[0])
        prefix = v1.train.Saver().save(session, str(path), global_step=7)
        return prefix, values(session)


@pytest.fixture
def warnings(caplog):
    caplog.set_level(logging.WARNING, "warmstart")
    return lambda: [r.getMessage() for r in caplog.records if r.name == "warmstart"]


@pytest.mark.parametrize("resource", [True, False])
def test_all_but_run_state_is_what_saver_restore_gives(base, resource, warnings):
    prefix, _ = base
    with graph(seed=2, resource=resource) as session:
        v1.train.Saver().restore(session, prefix)
        expected = values(session)
    with graph(seed=2, resource=resource) as session:
        ws.SaverRestore(prefix).init(session)
        found = values(session)
    assert found.pop("global_step") == 0
    assert expected.pop("global_step") == 1
    assert equal(found, expected)
    assert warnings() == []


@pytest.mark.parametrize("form", ["", ".index", ".data-00000-of-00001", "folder"])
def test_paths_as_people_type_them(form, base):
    prefix, expected = base
    path = {"folder": prefix.rpartition("/")[0]}.get(form, prefix + form)
    with graph() as session:
        ws.SmartInit(path).init(session)
        assert np.array_equal(values(session)["fc/w"], expected["fc/w"])


def test_none_initializes_and_warns_of_nothing(warnings):
    with graph() as session:
        report = ws.SmartInit(None).init(session)
        assert set(report.initialized) == {v.op.name for v in v1.global_variables()}
    assert warnings() == []


def test_what_has_a_value_is_not_initialized_again(base):
    with graph() as session:
        session.run(v1.global_variables_initializer())
        before = values(session)
        report = ws.DictRestore({"fc/w": np.ones((3, 4))}).init(session)
        found = values(session)
    assert report.initialized == ()
    assert found.pop("fc/w").tolist() == np.ones((3, 4)).tolist()
    before.pop("fc/w")
    assert equal(found, before)


def test_names_with_an_output_number(base):
    arrays = {f"{name}:0": np.full(shape, 2.0) for name, shape in SHAPES.items()}
    with graph(optimizer=False) as session:
        report = ws.DictRestore(arrays).init(session)
        assert set(report.loaded) == set(SHAPES)
        assert values(session)["enc/b"].tolist() == [2, 2, 2]


def test_prefix_and_ignore(base, warnings):
    prefix, expected = base
    with graph(scope="tower", optimizer=False) as session:
        report = ws.SaverRestore(prefix, prefix="tower", ignore=["fc/w:0"]).init(session)
        found = values(session)
    assert np.array_equal(found["tower/enc/w"], expected["enc/w"])
    assert not np.array_equal(found["tower/fc/w"], expected["fc/w"])
    assert report.renamed["tower/enc/b"] == "enc/b"
    assert "fc/w" in report.dropped
    assert [text for text in warnings() if "tower" in text] == []


def test_a_name_to_ignore_that_does_not_exist(base):
    with graph() as session, pytest.raises(RuleError, match="fc/v    near it: fc/w"):
        ws.SaverRestore(base[0], ignore=["fc/v"]).init(session)


def test_a_chain(base):
    prefix, expected = base
    with graph() as session:
        report = ws.SmartInit([prefix, {"enc/b": np.zeros(3, np.float32)}]).init(session)
        found = values(session)
    assert found["enc/b"].tolist() == [0, 0, 0]
    assert np.array_equal(found["enc/w"], expected["enc/w"])
    assert report.overridden == {"enc/b": (str(ws.SaverRestore(prefix).path),)}


def test_a_mismatch_assigns_nothing(base):
    with graph(SHAPES | {"fc/w": (3, 5)}) as session:
        with pytest.raises(RestoreMismatch, match=r"fc/w +model float32 \(3, 5\)"):
            ws.SmartInit(base[0]).init(session)
        assert values(session) == {}


def test_an_ignored_mismatch_gets_its_initial_value(base, warnings):
    prefix, expected = base
    with graph(SHAPES | {"fc/w": (3, 5)}) as session:
        session.run(v1.global_variables_initializer())
        initial = values(session)["fc/w"]
    with graph(SHAPES | {"fc/w": (3, 5)}) as session:
        report = ws.SmartInit(prefix, ignore_mismatch=True).init(session)
        found = values(session)
    assert np.array_equal(found["fc/w"], initial)
    assert np.array_equal(found["enc/w"], expected["enc/w"])
    assert set(report.mismatched) == {"fc/w"}
    assert len(warnings()) == 1


@pytest.mark.parametrize("dtype", [tf.float64, tf.float16, tf.bfloat16])
def test_floats_are_cast(dtype, base):
    prefix, expected = base
    with graph(dtype=dtype, optimizer=False) as session:
        report = ws.SmartInit(prefix).init(session)
        found = values(session)["enc/w"]
    assert np.array_equal(found, expected["enc/w"].astype(dtype.as_numpy_dtype))
    assert report.cast["enc/w"] == f"float32 -> {dtype.name}"


def test_integers_do_not_become_floats():
    with graph(optimizer=False) as session:
        with pytest.raises(RestoreMismatch, match="Integers are only widened"):
            ws.DictRestore({"enc/b": np.zeros(3, int)}).init(session)
        assert values(session) == {}


def test_rules(base, warnings):
    prefix, expected = base
    with graph({"bert/w": (2, 3), "bert/b": (3,)}, optimizer=False) as session:
        rules = ["keep enc/*", ws.rename("enc/([wb])", r"bert/\1"), {"bert/b": "bert/b"}]
        report = ws.SmartInit(prefix, rules=rules).init(session)
        found = values(session)
    assert np.array_equal(found["bert/w"], expected["enc/w"])
    assert report.renamed == {"bert/w": "enc/w", "bert/b": "enc/b"}
    assert warnings() == []


def test_slots_follow_a_renamed_variable(base):
    prefix, expected = base
    with graph({"v": (3, 4)}) as session:
        ws.SmartInit(prefix, rules=["keep fc/w", {"fc/w": "v"}]).init(session)
        found = values(session)
    assert np.array_equal(found["v/Adam"], expected["fc/w/Adam"])


def test_a_rule_without_a_match_assigns_nothing(base):
    with graph() as session:
        with pytest.raises(RuleError, match="drop gone"):
            ws.SmartInit(base[0], rules="drop gone").init(session)
        assert values(session) == {}


def test_both_one_sided_lists_are_warned_about(base, warnings):
    shapes = {"enc/w": (2, 3), "enc/b": (3,), "head/kernel": (3, 4)}
    with graph(shapes) as session:
        ws.SmartInit(base[0]).init(session)
    path = ws.SaverRestore(base[0]).path
    assert warnings() == [
        f"1 variable of the model not found in {path}; it keeps its initial value:\n"
        "  head/kernel\n"
        "  perhaps: rename fc/w -> head/kernel",
        f"1 tensor of {path} not found in the model:\n  fc/w",
    ]


def test_load_edit_restore(base):
    variables = ws.load_vars(base[0])
    variables["fc/w"] *= 0
    with graph() as session:
        ws.DictRestore(variables).init(session)
        assert not values(session)["fc/w"].any()


def test_a_partitioned_variable_is_one(base):
    prefix, expected = base
    with tf.Graph().as_default(), v1.Session() as session:
        split = v1.fixed_size_partitioner(2)
        v1.get_variable("fc/w", (3, 4), partitioner=split)
        report = ws.SaverRestore(prefix).init(session)
        parts = [session.run(v) for v in v1.global_variables()]
    assert report.loaded == ("fc/w",)
    assert np.array_equal(np.concatenate(parts), expected["fc/w"])
