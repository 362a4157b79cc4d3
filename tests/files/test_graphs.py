"""What graph files say, with TensorFlow's own reading of them as the oracle."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

import warmstart as ws
from warmstart.binary.wire import bytes_field, number_field
from warmstart.errors import CheckpointNotFound, CorruptCheckpoint, UnsupportedCheckpoint
from warmstart.files.graph_search import graph_of
from warmstart.files.graphs import Endpoint, Graph, Variable, parse_graph
from warmstart.files.object_tree import MAX_DEPTH
from warmstart.formats.tf_bundle.object_graph import OBJECT_GRAPH

v1 = tf.compat.v1
GOLDEN = Path(__file__).parents[1] / "golden" / "tf_objects"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of TensorFlow 1: `model-3` with its metagraph, and `saved`, a SavedModel."""
    folder = tmp_path_factory.mktemp("tf1")
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        kernel = v1.get_variable("fc/kernel", [3, 2])
        fixed = v1.get_variable("fc/bias", [2], tf.float32, trainable=False, use_resource=False)
        rows = v1.fixed_size_partitioner(2)
        table = tf.reduce_sum(v1.get_variable("emb", [5, 2], partitioner=rows))
        y = tf.matmul(x, kernel) + fixed
        step = v1.train.get_or_create_global_step()
        cost = tf.reduce_sum(y) + table
        v1.add_to_collection("train_op", v1.train.AdamOptimizer().minimize(cost, global_step=step))
        for name, items in (("ints", [3, -300]), ("floats", [1.5, 2.5]), ("text", ["é"])):
            for item in items:
                v1.add_to_collection(name, item)
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(folder / "model"), global_step=3)
        v1.saved_model.simple_save(session, str(folder / "saved"), {"x": x}, {"y": y})
    return folder


def only(path: Path) -> Graph:
    (graph,) = graph_of(path).graphs
    return graph


def imported(path: Path) -> tuple[Counter[str], dict[str, int], list[Variable]]:
    """Return the operations, collections and variables that TensorFlow imports."""
    with tf.Graph().as_default() as graph:
        v1.train.import_meta_graph(str(path))
        trainable = {v.op.name for v in v1.trainable_variables()}
        variables = [
            Variable(v.op.name, v.dtype.base_dtype.name, tuple(v.shape), v.op.name in trainable)
            for v in v1.global_variables()
        ]
        collections = {key: len(v1.get_collection(key)) for key in graph.get_all_collection_keys()}
        return Counter(op.type for op in graph.get_operations()), collections, variables


@pytest.mark.parametrize("given", ["model-3.meta", "model-3", "model-3.index", "."])
def test_a_metagraph_says_what_tensorflow_imports(folder: Path, given: str) -> None:
    ops, collections, variables = imported(folder / "model-3.meta")
    found = only(folder / given)
    assert found.ops == ops
    assert found.collections == collections
    whole = [v for v in variables if "part_" not in v.name]
    parts = {"emb": True, "emb/Adam": False, "emb/Adam_1": False}
    expected = [*whole, *(Variable(n, "float32", (5, 2), t) for n, t in parts.items())]
    assert list(found.variables) == sorted(expected, key=lambda v: v.name)
    assert (found.tags, found.tensorflow, found.signatures) == ((), tf.__version__, ())


@pytest.mark.parametrize("given", ["saved", "saved/saved_model.pb", "saved/variables/variables"])
def test_signatures_are_those_that_tensorflow_loads(folder: Path, given: str) -> None:
    found = only(folder / given)
    assert found.tags == ("serve",)
    (signature,) = found.signatures
    with tf.Graph().as_default(), v1.Session() as session:
        expected = v1.saved_model.load(session, ["serve"], str(folder / "saved")).signature_def
    (name,) = expected
    assert (signature.name, signature.method) == (name, expected[name].method_name)
    tensor = expected[name].inputs["x"].name
    assert signature.inputs == (Endpoint("x", (tensor,), "float32", (None, 3)),)
    tensor = expected[name].outputs["y"].name
    assert signature.outputs == (Endpoint("y", (tensor,), "float32", (None, 2)),)


class Model(tf.Module):
    """Two variables of one name, a ragged and a sparse input, and a file."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self.a = tf.Variable([1.0], name="w")
        self.b = tf.Variable([2], name="w", trainable=False)
        self.file = tf.saved_model.Asset(file)

    @tf.function(
        input_signature=[
            tf.RaggedTensorSpec([None, None], tf.int64), tf.SparseTensorSpec([None, 2]),
        ]
    )  # fmt: skip
    def __call__(self, ragged: tf.RaggedTensor, sparse: tf.SparseTensor) -> dict[str, Any]:
        return {"n": tf.reduce_sum(ragged), "s": tf.sparse.reduce_sum(sparse) * self.a[0]}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tf2")
    (folder / "words.txt").write_text("a")
    model = Model(str(folder / "words.txt"))
    tf.saved_model.save(model, str(folder / "m"), signatures={"go": model.__call__})
    return folder / "m"


def test_a_saved_model_of_tensorflow_2(saved: Path) -> None:
    found = only(saved)
    assert found.variables == (
        Variable("w", "float32", (1,), trainable=True),
        Variable("w", "int32", (1,), trainable=False),
    )
    assert found.assets == ("words.txt",)
    message = SavedModel.FromString((saved / "saved_model.pb").read_bytes()).meta_graphs[0]
    functions = message.graph_def.library.function
    assert found.functions == len(functions)
    assert found.function_ops == Counter(node.op for f in functions for node in f.node_def)
    assert found.ops == Counter(node.op for node in message.graph_def.node)
    by_name = {signature.name: signature for signature in found.signatures}
    expected = message.signature_def["go"]
    for endpoint in (*by_name["go"].inputs, *by_name["go"].outputs):
        info = {**expected.inputs, **expected.outputs}[endpoint.name]
        sparse = info.coo_sparse
        names = (
            info.name, sparse.values_tensor_name, sparse.indices_tensor_name,
            sparse.dense_shape_tensor_name, *(c.name for c in info.composite_tensor.components),
        )  # fmt: skip
        assert sorted(endpoint.tensors) == sorted(filter(None, names))


def test_odd_shapes_and_dtypes() -> None:
    graph = MetaGraphDef()
    info = graph.signature_def["s"].inputs["x"]
    info.name, info.dtype = "x:0", 11
    info.tensor_shape.unknown_rank = True
    info = graph.signature_def["s"].inputs["y"]
    info.dtype = 999
    info.tensor_shape.dim.add(size=-1)
    (signature,) = parse_graph(graph.SerializeToString()).signatures
    assert signature.inputs == (
        Endpoint("x", ("x:0",), "qint8", None), Endpoint("y", (), "dtype 999", (None,)),
    )  # fmt: skip


def test_numbers_of_a_collection_that_are_not_packed() -> None:
    numbers = bytes_field(3, number_field(1, 300) + number_field(1, 5))
    data = bytes_field(4, bytes_field(1, b"n") + bytes_field(2, numbers))
    assert parse_graph(data).collections == {"n": 2}


def test_the_newest_graph_beside_a_checkpoint_is_meant(folder: Path, tmp_path: Path) -> None:
    ws.save_vars({"w": 1.0}, tmp_path / "m")
    graph = MetaGraphDef.FromString((folder / "model-3.meta").read_bytes())
    for version, age in (("1.15", 2), ("2.0", 1), ("1.0", 3)):
        graph.meta_info_def.tensorflow_version = version
        path = tmp_path / f"graph-{version}.meta"
        path.write_bytes(graph.SerializeToString())
        os.utime(path, (1000 - age, 1000 - age))
    assert only(tmp_path / "m").tensorflow == "2.0"


def test_the_objects_of_a_checkpoint() -> None:
    found = graph_of(GOLDEN / "keras2-legacy-1")
    by_name = {each.name: each for each in found.objects}
    assert found.graphs == ()
    assert (found.objects[0].name, found.objects[0].kind) == ("root", "object")
    kernel = by_name["kernel"]
    assert (kernel.depth, kernel.kind, kernel.tensor) == (3, "variable", "float32 (2, 1)")
    assert kernel.own_name == "d2/kernel"
    assert kernel.keys == ("model/layer_with_weights-2/kernel/.ATTRIBUTES/VARIABLE_VALUE",)
    assert (by_name["optimizer"].kind, by_name["optimizer"].slots) == ("optimizer", ("m", "v"))


def test_items_of_a_list_stand_in_their_order() -> None:
    names = [each.name for each in graph_of(GOLDEN / "keras3-1").objects]
    begin = names.index("_variables")
    assert names[begin + 1 : begin + 13] == [str(n) for n in range(2, 14)]


def test_objects_too_deep_in_one_another(tmp_path: Path) -> None:
    # written with an indent for each level, a chain of 100,000 objects would be 10 GB of text
    nodes = [
        bytes_field(1, bytes_field(1, number_field(1, n + 1) + bytes_field(2, b"a")))
        for n in range(MAX_DEPTH + 1)
    ]
    data = np.array(b"".join([*nodes, bytes_field(1, b"")]), object)
    ws.save_vars({OBJECT_GRAPH: data}, tmp_path / "m")
    with pytest.raises(CorruptCheckpoint, match="objects lie more than 100 deep in one another"):
        graph_of(tmp_path / "m")


def test_a_checkpoint_without_a_graph(tmp_path: Path) -> None:
    ws.save_vars({"w": 1.0}, tmp_path / "m.npz")
    with pytest.raises(CheckpointNotFound, match=r"m\.npz has no graph: there is no m\.npz\.meta"):
        graph_of(tmp_path / "m.npz")


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("m.meta", b"", "this is no metagraph: it has no operation"),
        ("saved_model.pb", b"", "this is no SavedModel: it has no graph"),
        ("saved_model.pbtxt", b"meta_graphs {}", "in binary form only, and this is text"),
    ],
)
def test_files_that_hold_no_graph(name: str, data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UnsupportedCheckpoint, match=words):
        graph_of(tmp_path / name)


def test_a_file_of_other_bytes(tmp_path: Path) -> None:
    (tmp_path / "m.meta").write_bytes(b"\x08\x01")
    with pytest.raises(CorruptCheckpoint, match="field 1 is a number where bytes are expected"):
        graph_of(tmp_path / "m.meta")


def test_every_truncation_is_read_or_refused(folder: Path, tmp_path: Path) -> None:
    data = (folder / "saved" / "saved_model.pb").read_bytes()
    for size in range(0, len(data), 997):
        (tmp_path / "saved_model.pb").write_bytes(data[:size])
        with pytest.raises((CorruptCheckpoint, UnsupportedCheckpoint)):
            graph_of(tmp_path)
