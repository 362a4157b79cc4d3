"""Real metagraphs, written by TensorFlow and read without it; and what `dump` makes of them."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from warmstart.errors import (
    CheckpointError,
    CheckpointNotFound,
    CorruptCheckpoint,
    UnsupportedCheckpoint,
)
from warmstart.files.dump import dump
from warmstart.files.metagraph import MetaGraph, Node, parse_metagraph, read_metagraph
from warmstart.files.variables import load_vars, save_vars
from warmstart.source import DictSource

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow as tf

v1 = tf.compat.v1
MODEL = {"net/emb", "net/sparse", "net/fc/kernel", "net/bn/mean"}
OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "adam": v1.train.AdamOptimizer,
    "momentum": lambda rate: v1.train.MomentumOptimizer(rate, 0.9),
    "rmsprop": lambda rate: v1.train.RMSPropOptimizer(rate, momentum=0.9, centered=True),
    "ftrl": v1.train.FtrlOptimizer,
    "under another name": lambda rate: v1.train.AdamOptimizer(rate, name="Mine"),
}


def network(use_resource: bool) -> tuple[Any, Any, Any]:
    """Build a net with a partitioned and a sparsely trained variable, and with batch norm.

    Return its cost, a variable for the learning rate, and batch norm's mean, which is in no
    collection but GLOBAL_VARIABLES.
    """
    with v1.variable_scope("net", use_resource=use_resource):
        parts = v1.get_variable("emb", [10, 4], partitioner=v1.fixed_size_partitioner(3))
        sparse = v1.get_variable("sparse", [10, 4])
        kernel = v1.get_variable("fc/kernel", [4, 2])
        zeros = v1.zeros_initializer()
        mean = v1.get_variable("bn/mean", [2], trainable=False, initializer=zeros)
        rate = v1.get_variable("rate", [], trainable=False, initializer=v1.ones_initializer())
        rows = [0, 1, 2]
        x = v1.nn.embedding_lookup(parts, rows) + v1.nn.embedding_lookup(sparse, rows)
        out = x @ kernel - mean
    v1.add_to_collection(v1.GraphKeys.UPDATE_OPS, mean.assign_sub(mean - tf.reduce_mean(out, 0)))
    return tf.reduce_sum(out * out), rate, mean


def saved(folder: Path, optimizer: Callable[[Any], Any], use_resource: bool) -> Path:
    """Train a step and save with TensorFlow's own saver, metagraph included."""
    with tf.Graph().as_default(), v1.Session() as session:
        cost, rate, _ = network(use_resource)
        step = v1.train.get_or_create_global_step()
        train = optimizer(rate).minimize(cost, global_step=step)
        session.run([v.initializer for v in v1.global_variables()])
        session.run([train, *v1.get_collection(v1.GraphKeys.UPDATE_OPS)])
        return Path(v1.train.Saver().save(session, str(folder / "model"), global_step=1))


@pytest.mark.parametrize("use_resource", [True, False], ids=["resource", "ref"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def test_what_inference_needs(
    optimizer: Callable[[Any], Any], use_resource: bool, tmp_path: Path
) -> None:
    path = saved(tmp_path, optimizer, use_resource)
    meta = path.with_name(path.name + ".meta")
    assert read_metagraph(meta).variables() == load_vars(path).keys()
    done = dump(tmp_path, tmp_path / "model.npz", meta=meta)
    assert done.rule == f"the graph in {meta}"
    assert load_vars(tmp_path / "model.npz").keys() == MODEL
    assert set(done.left_out) == load_vars(path).keys() - MODEL


def test_values_of_a_partitioned_variable_are_whole(tmp_path: Path) -> None:
    path = saved(tmp_path, v1.train.AdamOptimizer, True)
    dump(tmp_path, tmp_path / "inference", meta=f"{path}.meta")
    found = tf.train.load_checkpoint(str(tmp_path / "inference")).get_tensor("net/emb")
    assert np.array_equal(found, tf.train.load_checkpoint(str(path)).get_tensor("net/emb"))


def test_without_a_metagraph_names_decide(tmp_path: Path) -> None:
    saved(tmp_path, v1.train.AdamOptimizer, True)
    done = dump(tmp_path, tmp_path / "model.npz")
    assert "TensorFlow's names of slots" in done.rule
    assert load_vars(tmp_path / "model.npz").keys() == MODEL | {"net/rate"}


def edited(path: Path, edit: Callable[[Any], None]) -> Path:
    """Write the metagraph of *path* after *edit* has changed it."""
    graph = v1.MetaGraphDef.FromString(path.with_name(path.name + ".meta").read_bytes())
    edit(graph)
    target = path.with_name("edited.meta")
    target.write_bytes(graph.SerializeToString())
    return target


def test_an_op_that_is_not_registered(tmp_path: Path) -> None:
    def add_op(graph: Any) -> None:
        graph.graph_def.node.add(name="custom", op="NoSuchOp", input=["net/fc/kernel"])

    meta = edited(saved(tmp_path, v1.train.AdamOptimizer, True), add_op)
    with pytest.raises(tf.errors.NotFoundError, match="NoSuchOp"), tf.Graph().as_default():
        v1.train.import_meta_graph(str(meta))
    dump(tmp_path, tmp_path / "model.npz", meta=meta)
    assert load_vars(tmp_path / "model.npz").keys() == MODEL


def test_more_than_64_mb(tmp_path: Path) -> None:
    with tf.Graph().as_default():
        cost, rate, _ = network(True)
        tf.constant(np.ones(18_000_000, "f4"), name="big")
        v1.train.AdamOptimizer(rate).minimize(cost)
        v1.train.export_meta_graph(str(tmp_path / "big.meta"))
    assert (tmp_path / "big.meta").stat().st_size > 64 << 20
    graph = read_metagraph(tmp_path / "big.meta")
    assert graph.variables() - graph.training_only() == MODEL


def exported(path: Path, *more: str) -> Path:
    """Export the metagraph of the net with *more* variables, without training."""
    with tf.Graph().as_default():
        network(True)
        for name in more:
            v1.get_variable(name, [2])
        v1.train.export_meta_graph(str(path))
    return path


def test_variables_that_the_checkpoint_does_not_have(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = saved(tmp_path, v1.train.AdamOptimizer, True)
    meta = exported(tmp_path / "more.meta", "new/b", "new/a")
    done = dump(path, tmp_path / "model.npz", meta=meta)
    assert done.missing == ("new/a", "new/b")
    assert "2 variables of the graph are not in the checkpoint: new/a, new/b" in caplog.text


def test_a_graph_of_something_else(tmp_path: Path) -> None:
    save_vars({"fc.kernel": np.zeros(2)}, tmp_path / "other")
    meta = exported(tmp_path / "net.meta")
    message = "none of the 5 variables of the graph in .* is in the checkpoint; the graph has 'net/"
    with pytest.raises(UnsupportedCheckpoint, match=message):
        dump(tmp_path / "other", tmp_path / "model.npz", meta=meta)


def test_a_tensor_may_stand_under_its_other_name(tmp_path: Path) -> None:
    tied = DictSource({"w": np.ones((4, 2), "f4"), "x": np.ones(1)}, aliases={"net/fc/kernel": "w"})
    save_vars(tied, tmp_path / "tied")
    dump(tmp_path / "tied", tmp_path / "model.npz", meta=exported(tmp_path / "net.meta"))
    loaded = load_vars(tmp_path / "model.npz")
    assert (loaded.keys(), loaded.aliases) == ({"w"}, {"net/fc/kernel": "w"})


@pytest.mark.parametrize("content", [b"", b"meta_info_def {\n}", bytes(100), b"\x22\x02\x0a\x00"])
def test_a_file_that_is_no_metagraph(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.meta").write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        read_metagraph(tmp_path / "x.meta")
    assert f"while reading {tmp_path}/x.meta as a metagraph" in caught.value.__notes__


def test_a_metagraph_without_variables(tmp_path: Path) -> None:
    with tf.Graph().as_default():
        tf.constant(1)
        v1.train.export_meta_graph(str(tmp_path / "x.meta"))
    with pytest.raises(UnsupportedCheckpoint, match="has no collection 'variables'"):
        read_metagraph(tmp_path / "x.meta")


def test_text_that_is_not_utf_8() -> None:
    with pytest.raises(CorruptCheckpoint, match="field 1 of a message is not UTF-8 text"):
        parse_metagraph(b"\x22\x03\x0a\x01\xff")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound, match=r"gone\.meta is not there"):
        read_metagraph(tmp_path / "gone.meta")


def test_every_truncation_is_read_or_refused(tmp_path: Path) -> None:
    whole = exported(tmp_path / "net.meta").read_bytes()
    for size in range(0, len(whole), 11):
        with suppress(CheckpointError):
            parse_metagraph(whole[:size]).collections.get("variables")


def test_nodes_in_a_circle_do_not_hang() -> None:
    nodes = {"a": Node("Identity", ("b",)), "b": Node("Identity", ("a",))}
    assert MetaGraph(nodes, {"variables": {}}).source_of("a") in nodes
