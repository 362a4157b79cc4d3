"""The loop with TensorFlow graphs: what it does there that it does with no other model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import warmstart as ws

v1 = tf.compat.v1
INPUTS = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)


def make(*, noise: bool = False, update: bool = False) -> ws.TFGraph:
    """Return a linear model in a graph of its own."""
    with tf.Graph().as_default():
        x, y = v1.placeholder(tf.float32, [None, 3], "x"), v1.placeholder(tf.float32, [None], "y")
        w = v1.get_variable("w", [3], initializer=v1.zeros_initializer())
        out = tf.reduce_sum(x * w, axis=1, name="out")
        changes = [tf.random.uniform(tf.shape(out), name="dice")][: int(noise)]
        cost = tf.reduce_mean((tf.add_n([out, *changes]) - y) ** 2)
        seen = v1.get_variable("seen", [], initializer=v1.zeros_initializer(), trainable=False)
        updates = [seen.assign_add(1.0)][: int(update)]
        for op in updates:
            v1.add_to_collection(v1.GraphKeys.UPDATE_OPS, op)
        return ws.TFGraph(inputs=[x, y], cost=cost, optimizer=v1.train.MomentumOptimizer(0.1, 0.9))


def train(model: ws.TFGraph, **arguments: Any) -> ws.Trainer:
    trainer = ws.Trainer(model)
    data = ws.Batches((INPUTS, INPUTS[:, 0]), 4)
    trainer.train(**{"data": data, "max_epoch": 2, **arguments})
    return trainer


def test_the_global_step_counts_and_survives_a_resume(folder: Path) -> None:
    train(make())
    trainer = train(make(), resume_from=folder, max_epoch=3)
    assert int(trainer.session.read("global_step")) == trainer.step == 15


def test_update_ops_run_by_default(folder: Path) -> None:
    assert float(train(make(update=True)).session.read("seen")) == 10


def test_tensorflow_goes_on_from_the_metagraph_and_the_checkpoint(folder: Path) -> None:
    weights = train(make()).session.read("w")
    with tf.Graph().as_default() as graph, v1.Session() as session:
        saver = v1.train.import_meta_graph(str(next(folder.glob("graph-*.meta"))))
        (saver or v1.train.Saver()).restore(session, v1.train.latest_checkpoint(str(folder)))
        out = session.run("out:0", {"x:0": INPUTS})
        assert int(session.run(v1.train.get_global_step(graph))) == 10
    np.testing.assert_allclose(out, INPUTS @ weights, rtol=1e-6)


def test_stateful_random_operations_are_refused_at_the_start_unless_accepted(folder: Path) -> None:
    with pytest.raises(ws.ResumeError, match=r"bring back 1 of its pieces\n  dice.*") as caught:
        train(make(noise=True))
    assert "accept that a resumed run will not end with the same bits: accept=(" in str(
        caught.value
    )
    assert not list(folder.glob("model-*"))
    train(make(noise=True), accept=("dice*",))
    with pytest.raises(ws.ResumeError, match="1 of the run's pieces cannot be restored\n  dice"):
        train(make(noise=True), resume_from=folder)
    assert train(make(noise=True), resume_from=folder, accept=("dice*",), max_epoch=3).step == 15


def test_a_run_that_saves_nothing_may_depend_on_what_cannot_be_saved(folder: Path) -> None:
    assert train(make(noise=True), callbacks=[]).finished


@pytest.mark.parametrize("kind", ["folder", "npz"])
def test_a_graph_predicts_from_what_was_trained(folder: Path, kind: str) -> None:
    model = make()
    train(model)
    expected = model.session.tf_session.run("out:0", {"x:0": INPUTS})
    ws.convert(folder / "model-10", folder / "w.npz")
    sources = {"folder": folder, "npz": folder / "w.npz"}
    predict = ws.OfflinePredictor(
        ws.PredictConfig(
            model=make(), session_init=sources[kind], input_names=["x"], output_names=["out"]
        )
    )
    np.testing.assert_array_equal(predict(INPUTS), [expected])
