"""`warmstart ls --graph`."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef

Run = Callable[..., Any]
GOLDEN = Path(__file__).parents[1] / "golden" / "tf_objects"

METAGRAPH = """\
m.meta

tags         serve, gpu
written by   TensorFlow 1.15.0
assets       words.txt
collections  train_op 1
operations   3 operations: Const 2, MatMul 1
functions    1, 1 operation: Mul 1

signature serving_default  tensorflow/serving/predict
  input   x  float32  (?, 3)  x:0
  output  y  int64    ?       y:0

signature nothing
"""

OBJECTS = """\
m-1

OBJECT                    KIND              TENSOR          OWN NAME
root                      object
  model                   object
    layer_with_weights-0  object
      bias                variable          float32 (2,)    d1/bias
      kernel              variable          float32 (3, 2)  d1/kernel
"""


@pytest.fixture
def metagraph(tmp_path: Path) -> MetaGraphDef:
    """Write `m.meta`, a graph with a little of everything."""
    graph = MetaGraphDef()
    graph.meta_info_def.tags.extend(["serve", "gpu"])
    graph.meta_info_def.tensorflow_version = "1.15.0"
    for name, op in (("a", "Const"), ("b", "Const"), ("c", "MatMul")):
        graph.graph_def.node.add(name=name, op=op)
    graph.graph_def.library.function.add().node_def.add(name="d", op="Mul")
    graph.collection_def["train_op"].node_list.value.append("c")
    graph.asset_file_def.add(filename="words.txt")
    signature = graph.signature_def["serving_default"]
    signature.method_name = "tensorflow/serving/predict"
    signature.inputs["x"].name, signature.inputs["x"].dtype = "x:0", 1
    for size in (-1, 3):
        signature.inputs["x"].tensor_shape.dim.add(size=size)
    signature.outputs["y"].name, signature.outputs["y"].dtype = "y:0", 9
    graph.signature_def["nothing"].SetInParent()
    (tmp_path / "m.meta").write_bytes(graph.SerializeToString())
    return graph


@pytest.mark.usefixtures("metagraph")
def test_a_metagraph(warmstart: Run) -> None:
    done = warmstart("ls", "m.meta", "--graph")
    first, second = METAGRAPH.split("\nsignature serving_default")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(first)
    assert "\nsignature serving_default" + second.partition("\n\nsignature nothing")[0] in done.out
    assert "\nsignature nothing\n" in done.out


def test_variables_of_a_metagraph(metagraph: MetaGraphDef, warmstart: Run) -> None:
    node = metagraph.graph_def.node.add(name="w", op="VariableV2")
    node.attr["dtype"].type = 14
    node.attr["shape"].shape.dim.add(size=4)
    for collection, name in (
        ("variables", b"w:0"),
        ("trainable_variables", b"w:0"),
        ("variables", b"v:0"),
    ):
        value = b"\n" + bytes([len(name)]) + name  # VariableDef, field 1
        metagraph.collection_def[collection].bytes_list.value.append(value)
    Path("m.meta").write_bytes(metagraph.SerializeToString())
    assert warmstart("ls", "m.meta", "--graph").out.partition("VARIABLE")[2].splitlines()[:3] == [
        "  DTYPE     SHAPE  TRAINABLE",
        "v         ?         ?      -",
        "w         bfloat16  (4,)   yes",
    ]  # fmt: skip


@pytest.mark.usefixtures("metagraph")
def test_a_metagraph_as_json(warmstart: Run) -> None:
    value = json.loads(warmstart("ls", "m.meta", "--graph", "--json").out)
    (graph,) = value["graphs"]
    assert (value["path"], graph["tags"]) == ("m.meta", ["serve", "gpu"])
    assert graph["ops"] == {"Const": 2, "MatMul": 1}
    assert graph["signatures"][1]["inputs"] == [
        {"name": "x", "tensors": ["x:0"], "dtype": "float32", "shape": [None, 3]}
    ]


def test_objects(tmp_path: Path, warmstart: Run) -> None:
    for file in GOLDEN.glob("keras2-legacy-1.*"):
        shutil.copy(file, tmp_path / file.name.replace("keras2-legacy", "m"))
    done = warmstart("ls", "m-1", "--graph")
    assert done.out.startswith(OBJECTS)
    assert "\n  optimizer               optimizer (m, v)\n" in done.out
    value = json.loads(warmstart("ls", "m-1", "--graph", "--json").out)
    assert value["objects"][3]["own_name"] == "d1/bias"
    assert "graphs" not in value


@pytest.mark.usefixtures("metagraph")
def test_patterns_are_not_taken(warmstart: Run) -> None:
    done = warmstart("ls", "m.meta", "fc/*", "--graph")
    assert done.code == 2
    assert "--graph shows the whole graph: it takes no pattern" in done.err


@pytest.mark.usefixtures("metagraph")
def test_a_metagraph_without_the_option_is_told_from_values(warmstart: Run) -> None:
    done = warmstart("ls", "m.meta")
    assert done.code == 2
    assert "m.meta is the graph of a TensorFlow checkpoint, and not its values" in done.err
    assert "shown by ls --graph" in done.err


def test_nothing_there(warmstart: Run) -> None:
    done = warmstart("ls", "missing", "--graph")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: nothing is at missing")
    assert "while looking for the graph of missing" in done.err
