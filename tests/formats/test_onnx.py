"""ONNX: the contract of reading, and the package onnx as the judge."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from warmstart import formats
from warmstart.errors import (
    CheckpointNotFound,
    CorruptCheckpoint,
    UnsupportedCheckpoint,
)
from warmstart.formats import onnx as ours
from warmstart.formats.onnx import values
from warmstart.formats.onnx.tensors import TYPES
from warmstart.source import Source
from warmstart.testing import ReadingContract
from warmstart.testing.formats import values_of
from warmstart.testing.reading import bits

GOLDEN = Path(__file__).parents[1] / "golden/onnx"


class TestONNX(ReadingContract):
    format = ours

    def sample(self, folder: Path) -> Path:
        return Path(shutil.copy(GOLDEN / "model.onnx", folder))

    def petabyte(self, path: Path) -> None:
        tensor = TensorProto(name="x", data_type=TensorProto.FLOAT, dims=[2**48])
        path.write_bytes(model_of([tensor]).SerializeToString())


class TestExternalData(TestONNX):
    def sample(self, folder: Path) -> Path:
        shutil.copy(GOLDEN / "external.data", folder)
        return Path(shutil.copy(GOLDEN / "external.onnx", folder))

    def petabyte(self, path: Path) -> None:
        tensor = external("x", location="x.data", length=2**50)
        tensor.dims[:] = [2**48]
        path.with_name("x.data").write_bytes(b"small")
        path.write_bytes(model_of([tensor]).SerializeToString())


def model_of(tensors: list[TensorProto], nodes: Any = (), **options: Any) -> onnx.ModelProto:
    graph = helper.make_graph(list(nodes), "g", [], [], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], **options)


def opened(model: Any, folder: Path, **options: Any) -> Source:
    raw = model if isinstance(model, bytes) else model.SerializeToString()
    (folder / "m.onnx").write_bytes(raw)
    return formats.open_source(folder / "m.onnx", **options)


def external(name: str, **entries: Any) -> TensorProto:
    """Return a tensor float32 (2,) whose values lie elsewhere."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def typed(code: int) -> TensorProto:
    """Return a tensor of all kinds of values, as numbers in the field of its type."""
    raw = raw_tensor(code)
    tensor = TensorProto(name="x", data_type=code, dims=raw.dims)
    field = getattr(tensor, helper.tensor_dtype_to_field(code))
    stored = helper.tensor_dtype_to_storage_tensor_dtype(code)
    array = np.frombuffer(raw.raw_data, np.uint8)
    wide = {"complex64": "f4", "complex128": "f8", "float32": "f4", "float64": "f8"}
    dtype = TYPES[code].dtype
    if dtype in wide:
        field.extend(array.view(wide[dtype]).tolist())
    elif TYPES[code].bits < 8 and TYPES[code].bits != 6:
        field.extend(array.tolist())
    elif TYPES[code].bits == 6:
        field.extend(values_of(dtype).view(np.uint8).ravel().tolist())
    else:
        signs = "i" if stored == TensorProto.INT32 and "u" not in dtype else "u"
        kind = dtype if dtype in ("int32", "int64") else f"{signs}{TYPES[code].bits // 8}"
        field.extend(array.view(kind).tolist())
    return tensor


def raw_tensor(code: int) -> TensorProto:
    """Return a tensor of all kinds of values, as bytes."""
    tensor = numpy_helper.from_array(values_of(TYPES[code].dtype), "x")
    assert tensor.data_type == code
    return tensor


def text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


# --- the package ------------------------------------------------------------------------------

PLAIN = sorted(TYPES.keys() - {TensorProto.STRING})


def test_every_type_of_the_package_is_known() -> None:
    theirs = {
        code: np.dtype(helper.tensor_dtype_to_np_dtype(code)).name
        for code in TensorProto.DataType.values()
        if code
    }
    assert {code: type_.dtype for code, type_ in TYPES.items()} == theirs | {8: "string"}


@pytest.mark.parametrize("code", PLAIN, ids=lambda code: TYPES[code].dtype)
@pytest.mark.parametrize("made", [raw_tensor, typed])
def test_values_are_those_of_the_package(made: Any, code: int, tmp_path: Path) -> None:
    tensor = made(code)
    expected = numpy_helper.to_array(tensor)
    with opened(model_of([tensor]), tmp_path) as source:
        found = source.read("x")
    assert bits(found) == bits(expected) == bits(values_of(TYPES[code].dtype))
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)


def test_a_whole_model() -> None:
    theirs = onnx.load(GOLDEN / "model.onnx")
    with formats.open_source(GOLDEN / "model.onnx") as source:
        for tensor in theirs.graph.initializer:
            found, expected = source.read(tensor.name), numpy_helper.to_array(tensor)
            assert list(map(text, found.ravel())) == list(map(text, expected.ravel()))
        assert source.read("one").tolist() == 1
        assert source.read("choose/then_branch/b").tolist() == [1, 1, 1]
        assert source.read("choose/else_branch/b").dtype == np.float16
        assert len(source.specs) == len(theirs.graph.initializer) + 3
        assert dict(source.metadata) == {
            "onnx.ir_version": str(theirs.ir_version),
            "onnx.producer": "make.py",
            "onnx.graph": "tiny",
            "onnx.inputs": '{"x": "float32 (batch, 3)", "c": "bool ()"}',
            "onnx.outputs": '{"y": "float32"}',
            "onnx.opset_import": '{"": 21}',
        }


def test_external_data_of_the_package(tmp_path: Path) -> None:
    arrays = {name: np.random.default_rng(0).random((300, 5)) for name in "abc"}
    model = model_of([numpy_helper.from_array(array, name) for name, array in arrays.items()])
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0)
    with formats.open_source(tmp_path / "m.onnx") as source:
        for name, array in arrays.items():
            np.testing.assert_array_equal(source.read(name), array, strict=True)
        assert list(source.read_order()) == list("abc")


def test_everything_else_that_is_told(tmp_path: Path) -> None:
    model = model_of([], producer_version="1.2", domain="org", model_version=3, doc_string="doc")
    helper.set_model_props(model, {"author": "me"})
    model.graph.input.extend(
        [
            helper.make_tensor_value_info("odd", 99, [None, 2]),
            helper.make_tensor_sequence_value_info("list", TensorProto.FLOAT, None),
        ]
    )
    with opened(model, tmp_path) as source:
        found = dict(source.metadata)
    assert found["onnx.producer_version"] == "1.2"
    assert (found["onnx.domain"], found["onnx.model_version"]) == ("org", "3")
    assert (found["onnx.doc"], found["author"]) == ("doc", "me")
    assert json.loads(found["onnx.inputs"]) == {
        "odd": "of unknown type (?, 2)",
        "list": "no tensor",
    }


def test_an_initializer_is_no_input(tmp_path: Path) -> None:
    model = model_of([numpy_helper.from_array(np.ones(2), "w")])
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.DOUBLE, [2]))
    with opened(model, tmp_path) as source:
        assert source.metadata["onnx.inputs"] == "{}"


def test_sparse_initializers(tmp_path: Path) -> None:
    model = model_of([])
    values_, indices = np.array([1.5, 2.5]), np.array([3, 7])
    model.graph.sparse_initializer.append(
        helper.make_sparse_tensor(
            numpy_helper.from_array(values_, "s"), numpy_helper.from_array(indices), [10**9, 10**9]
        )
    )
    with opened(model, tmp_path) as source:
        assert source.read("s/values").tolist() == [1.5, 2.5]
        assert source.read("s/indices").tolist() == [3, 7]
        assert source.metadata["onnx.sparse"] == '{"s": [1000000000, 1000000000]}'


def test_functions_and_training(tmp_path: Path) -> None:
    node = helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(np.ones(1)))
    model = model_of([])
    model.functions.append(helper.make_function("d", "gelu", [], [], [node], []))
    stage = model.training_info.add()
    stage.algorithm.initializer.append(numpy_helper.from_array(np.zeros(2), "rate"))
    with opened(model, tmp_path) as source:
        assert sorted(source.specs) == ["functions/gelu/k", "training/0/algorithm/rate"]


def test_graphs_in_one_attribute(tmp_path: Path) -> None:
    graphs = [
        helper.make_graph([], "g", [], [], [numpy_helper.from_array(np.ones(1), "w")])
        for _ in range(2)
    ]
    node = helper.make_node("Many", [], ["out"], domain="mine")
    node.attribute.append(helper.make_attribute("parts", graphs))
    with opened(model_of([], [node]), tmp_path) as source:
        assert sorted(source.specs) == ["out/parts/0/w", "out/parts/1/w"]


# --- reading ----------------------------------------------------------------------------------


def test_external_data_are_a_view_of_their_file() -> None:
    with formats.open_source(GOLDEN / "external.onnx") as source:
        w = source.read("w")
        assert np.shares_memory(w, source.read_slice("w", 1))
        assert not w.flags.owndata


def test_numbers_that_are_not_packed(tmp_path: Path) -> None:
    head = bytes([8, 2, 16, TensorProto.INT32, 66, 1]) + b"i"  # sizes, type, name
    ints = head + b"\x28\x05" + b"\x28" + b"\xff" * 9 + b"\x01"
    floats = b"\x0a\x01\x02\x10\x01\x42\x01f" + b"\x25\0\0\x80\x3f" * 2
    graph = b"".join(b"\x2a" + bytes([len(t)]) + t for t in (ints, floats))
    with opened(b"\x3a" + bytes([len(graph)]) + graph + b"\x42\x02\x10\x15", tmp_path) as source:
        assert source.read("i").tolist() == [5, -1]
        assert source.read("f").tolist() == [1, 1]


def test_long_lists_of_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "AT_ONCE", 64)
    numbers = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, 1000) >> np.arange(1000) % 64
    narrow = np.arange(1000) % 16
    tensors = [
        helper.make_tensor("x", TensorProto.INT64, [1000], numbers.tolist()),
        helper.make_tensor("n", TensorProto.UINT4, [1000], narrow.tolist()),
    ]
    with opened(model_of(tensors), tmp_path) as source:
        np.testing.assert_array_equal(source.read("x"), numbers)
        np.testing.assert_array_equal(source.read("n").astype(int), narrow)


def test_the_only_model_of_a_folder(tmp_path: Path) -> None:
    shutil.copy(GOLDEN / "model.onnx", tmp_path)
    assert ours.locate(tmp_path) == tmp_path / "model.onnx"
    shutil.copy(GOLDEN / "model.onnx", tmp_path / "other.onnx")
    assert ours.locate(tmp_path) is None


def test_a_file_called_so_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"PK\3\4")
    with pytest.raises(CorruptCheckpoint, match="field 0 of a message has the unknown kind 3"):
        formats.open_source(tmp_path / "m.onnx")


def test_listing_needs_no_numpy() -> None:
    code = (
        "import sys; from warmstart.formats import open_source\n"
        f"s = open_source({str(GOLDEN / 'model.onnx')!r})\n"
        "print(dict(s.specs), dict(s.metadata))\n"
        "assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- bytes from outside -----------------------------------------------------------------------


def test_external_data_that_are_missing() -> None:
    model = model_of([external("a", location="a.data"), external("b", location="dir/b.data")])
    raw = model.SerializeToString()
    with pytest.raises(CheckpointNotFound, match=r"2 of 2 files .* missing: a.data, dir/b.data"):
        check_all(raw)


def check_all(raw: bytes) -> None:
    """Ask of a model in an empty folder whether its tensors are all where it says."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder, opened(raw, Path(folder)) as source:
        assert len(source.specs) == 2
        source.check(source.specs)


def test_external_data_that_are_cut_off(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(12))
    tensors = [external("a", location="x", offset=4), external("b", location="x", offset=8)]
    with opened(model_of(tensors), tmp_path) as source:
        assert source.read("a").tolist() == [0, 0]
        with pytest.raises(CorruptCheckpoint, match="off:\n  'b' ends at byte 16 of x, which h"):
            source.read("b")


# each would show a file that is not the model's: a key, a password, another user's weights
@pytest.mark.parametrize("location", ["../up", "/etc/passwd", "", "a/../../b", "..\\up", "a\0b"])
def test_external_data_outside_the_folder(location: str, tmp_path: Path) -> None:
    with pytest.raises(CorruptCheckpoint, match="'x' lies outside the folder of the model: "):
        opened(model_of([external("x", location=location)]), tmp_path)


def tensor_of(**fields: Any) -> TensorProto:
    return TensorProto(**{"name": "x", "data_type": 1, "dims": [2], **fields})


def nested(depth: int) -> onnx.ModelProto:
    graph = helper.make_graph([], "g", [], [], [])
    for _ in range(depth):
        node = helper.make_node("If", [], ["y"], name="n", then_branch=graph)
        graph = helper.make_graph([node], "g", [], [], [])
    return helper.make_model(graph)


SPARSE = model_of([])
SPARSE.graph.sparse_initializer.add().values.name = "s"

BROKEN = {
    "'x' has 4 bytes; float32 (2,) takes 8": model_of([tensor_of(raw_data=bytes(4))]),
    "'x' has 4 bytes of numbers; float32 (3,) takes at least 12": model_of(
        [tensor_of(dims=[3], float_data=[1.0])]
    ),
    "'x' has 0 bytes of numbers; float32 (2,) takes at least 8": model_of([tensor_of()]),
    "'x' has strings in its bytes": model_of([tensor_of(data_type=8, raw_data=b"ab")]),
    "'x' lies at no place in d: offset '-8', length 'one'": model_of(
        [external("x", location="d", offset=-8, length="one")]
    ),
    "'x' has 9 bytes in d; float32 (2,) takes 8": model_of([external("x", location="d", length=9)]),
    "two tensors are called 'x'": model_of([tensor_of(raw_data=bytes(8))] * 2),
    # each level would take a frame of the interpreter's stack
    "graphs lie more than 32 deep in nodes": nested(33),
    "a sparse initializer has no values or no indices": SPARSE,
    "shape (-1,) has a negative dimension": model_of([tensor_of(dims=[-1])]),
    "the model has no graph and no version of operators": b"\x08\x0a",
    "the graph is a number where bytes are expected": b"\x38\x01\x42\x02\x10\x15",
    "a version is bytes where a number is expected": b"\x3a\x00\x42\x02\x12\x00",
    "field 7 claims 9 bytes, where 2 are left": b"\x3a\x09\0\0",
    "field 1 ends beyond its message": b"\x3a\x01\x08\x08\x0a\x42\x02\x10\x15",
    "field 7 of a message has the unknown kind 3": b"\x3b\x00",
    "its name is not UTF-8: b'\\xff'": b"\x3a\x03\x12\x01\xff\x42\x02\x10\x15",
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_model(message: str, tmp_path: Path) -> None:
    with pytest.raises(CorruptCheckpoint) as caught:
        opened(BROKEN[message], tmp_path)
    assert message in str(caught.value)


MISCOUNTED = {
    "'x' has 12 bytes of numbers; float32 (2,) takes 8": tensor_of(float_data=[1, 2, 3]),
    "'x' has 3 numbers; int32 (2,) takes 2": tensor_of(data_type=6, int32_data=[1, 2, 3]),
    "'x' has 1 numbers; int64 (2,) takes 2": tensor_of(data_type=7, int64_data=[2**40]),
    "'x' has 2 numbers; int4 (2,) takes 1": tensor_of(data_type=22, int32_data=[1, 2]),
    "'x' has 3 numbers; float6_e2m3fn (2,) takes 2": tensor_of(data_type=27, int32_data=[1, 2, 3]),
    "'x' has 1 strings; string (2,) takes 2": tensor_of(data_type=8, string_data=[b"long"]),
}


@pytest.mark.parametrize("message", MISCOUNTED)
def test_a_tensor_of_too_few_or_too_many_values(message: str, tmp_path: Path) -> None:
    with opened(model_of([MISCOUNTED[message]]), tmp_path) as source:
        with pytest.raises(CorruptCheckpoint) as caught:
            source.read("x")
        assert message in str(caught.value)


@pytest.mark.parametrize("raw", [b"\xff" * 5, b"\x05" + b"\xff" * 4])
def test_numbers_that_are_cut_off(raw: bytes, tmp_path: Path) -> None:
    tensor = b"\x08\x02\x10\x06\x42\x01x\x2a" + bytes([len(raw)]) + raw
    graph = b"\x2a" + bytes([len(tensor)]) + tensor
    source = opened(b"\x3a" + bytes([len(graph)]) + graph + b"\x42\x02\x10\x15", tmp_path)
    with pytest.raises(CorruptCheckpoint, match="5 bytes of packed numbers end inside a number"):
        source.read("x")


def test_strings_that_lie_outside(tmp_path: Path) -> None:
    tensor = external("x", location="d")
    tensor.data_type = TensorProto.STRING
    with pytest.raises(CorruptCheckpoint, match="'x' has strings in d, which cannot be"):
        opened(model_of([tensor]), tmp_path)


def test_a_type_of_tomorrow(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedCheckpoint, match="'x' has the unknown type 99; known are 1 "):
        opened(model_of([tensor_of(data_type=99)]), tmp_path)


def test_a_segment(tmp_path: Path) -> None:
    tensor = tensor_of(raw_data=bytes(8))
    tensor.segment.begin = 1
    with pytest.raises(UnsupportedCheckpoint, match="'x' is a segment of a tensor, which is not"):
        opened(model_of([tensor]), tmp_path)
