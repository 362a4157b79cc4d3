"""Through this library's files and TensorFlow's own, both ways."""

import numpy as np
import pytest
import tensorflow as tf

import warmstart as ws

v1 = tf.compat.v1


@pytest.fixture
def trained(make_model, batch):
    """A model that has taken two steps of Adam."""
    model = make_model(lambda: v1.train.AdamOptimizer(0.05))
    model.run_with_step(model.update_ops())
    model.train_step(batch)
    model.train_step(batch)
    return model


def again(model):
    """Return a session on the same graph whose variables have no values yet."""
    return ws.session_for(v1.Session(graph=model.graph))


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_what_we_save_the_saver_restores(trained, tmp_path):
    ws.save_vars(trained.session, tmp_path / "m")
    other = again(trained)
    v1.train.Saver().restore(other.tf_session, str(tmp_path / "m"))
    assert_equal(other.read_all(), trained.session.read_all())


def test_what_the_saver_saves_we_restore(trained, tmp_path):
    path = v1.train.Saver().save(trained.session.tf_session, str(tmp_path / "m"))
    other = again(trained)
    ws.SmartInit(path).init(other)
    expected = trained.session.read_all()
    assert other.read("global_step") == 0
    assert_equal(other.read_all(), expected | {"global_step": np.array(0)})


def test_a_resumed_run_takes_the_same_step(trained, batch, tmp_path):
    ws.save_vars(trained.session, tmp_path / "m")
    trained.train_step(batch)
    expected = {name: array.copy() for name, array in trained.session.read_all().items()}
    with ws.open(tmp_path / "m") as source:
        trained.session.assign((name, source.read(name)) for name in source.specs)
    trained.train_step(batch)
    assert_equal(trained.session.read_all(), expected)
