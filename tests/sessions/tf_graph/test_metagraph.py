from types import SimpleNamespace

import pytest
import tensorflow as tf

import warmstart as ws
from warmstart.sessions.tf_graph import metagraph

v1 = tf.compat.v1


def test_the_graph_is_read_back_by_tensorflow(make_model, tmp_path):
    model = make_model(lambda: v1.train.AdamOptimizer(0.1))
    model.prepare()
    path = model.session.save_graph(tmp_path)
    with tf.Graph().as_default() as graph:
        v1.train.import_meta_graph(str(path))
        assert len(v1.get_collection(v1.GraphKeys.UPDATE_OPS)) == 2
    again = ws.session_for(v1.Session(graph=graph))
    assert again.specs == model.session.specs


def test_the_same_graph_is_written_once(make_model, tmp_path):
    session = make_model(lambda: v1.train.AdamOptimizer(0.1)).session
    first = session.save_graph(tmp_path)
    written = first.stat().st_mtime_ns
    assert session.save_graph(tmp_path) == first
    assert first.stat().st_mtime_ns == written
    assert [path.name for path in tmp_path.iterdir()] == [first.name]
    assert first.match("graph-*.meta")


def test_equal_graphs_have_equal_names(tmp_path):
    names = set()
    for _ in range(2):
        with tf.Graph().as_default() as graph:
            v1.get_variable("w", [2])
            names.add(ws.session_for(v1.Session(graph=graph)).save_graph(tmp_path).name)
    assert len(names) == 1


def test_a_graph_too_big_for_a_metagraph_is_refused(graph, tmp_path, monkeypatch):
    def too_big(**_):
        raise ValueError("Message tensorflow.MetaGraphDef exceeds maximum protobuf size of 2GB")

    meta = SimpleNamespace(SerializeToString=too_big)
    monkeypatch.setattr(v1.train, "export_meta_graph", lambda: meta)
    with pytest.raises(ws.SaveError, match="more than the 2 GiB a metagraph can hold"):
        metagraph.save_metagraph(graph, tmp_path)
    assert list(tmp_path.iterdir()) == []
