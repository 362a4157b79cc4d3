"""safetensors: the contract, and the reference as the judge."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import given
from hypothesis import strategies as st

from warmstart import formats
from warmstart.errors import (
    CannotHold,
    CheckpointError,
    CheckpointNotFound,
    CorruptCheckpoint,
    UnsupportedCheckpoint,
    full_text,
)
from warmstart.formats import safetensors as ours
from warmstart.formats.safetensors import writing
from warmstart.formats.safetensors.header import CODES, read_header
from warmstart.formats.safetensors.packing import pack, unpack
from warmstart.source import DictSource
from warmstart.testing import FormatContract
from warmstart.testing.formats import values_of

F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


class TestSafetensors(FormatContract):
    format = ours
    dtypes = frozenset(dtype for dtype, _ in CODES.values())

    def petabyte(self, path: Path) -> None:
        entry = {"dtype": "F32", "shape": [2**48], "data_offsets": [0, 2**50]}
        path.write_bytes(file_of({"x": entry}, b""))


def file_of(header: Any, data: bytes = bytes(8)) -> bytes:
    """Return a file with *header*, JSON or bytes, and *data*."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + data


def save(tensors: Mapping[str, Any], path: Path, **notes: Mapping[str, str]) -> Path:
    formats.save_source(DictSource(tensors, **notes), path)
    return path


def load(path: Path) -> dict[str, np.ndarray]:
    with formats.open_source(path) as source:
        return source.read_all()


# --- the reference ----------------------------------------------------------------------------

REFERENCE = {
    name: values_of(name)
    for name, bits in CODES.values()
    if bits >= 8
}  # fmt: skip


def test_the_bytes_are_those_of_the_reference(tmp_path: Path) -> None:
    tensors = {
        **REFERENCE,
        "scalar": np.array(2.0),
        "empty": np.zeros((0, 3), np.int64),
        'odd "\\/\b\f\n\r\t\x01\x1f\x7f é \u2028 \U0001f600': np.ones(1, np.int8),
    }
    metadata = {"format": "np"}  # one: the reference writes several in no fixed order
    save(tensors, tmp_path / "ours.safetensors", metadata=metadata)
    safetensors.numpy.save_file(tensors, tmp_path / "theirs.safetensors", metadata)
    ours_, theirs = (tmp_path / f"{who}.safetensors" for who in ("ours", "theirs"))
    assert ours_.read_bytes() == theirs.read_bytes()


def test_the_reference_reads_what_was_written(tmp_path: Path) -> None:
    known = {"float32", "int64", "bool", "uint16", "complex64", "float16"}
    tensors = {name: array for name, array in REFERENCE.items() if name in known}
    path = save(tensors, tmp_path / "m.safetensors", metadata={"a": "1", "b": "2"})
    found = safetensors.numpy.load_file(path)
    assert found.keys() == tensors.keys()
    assert all(found[name].tobytes() == array.tobytes() for name, array in tensors.items())
    with safetensors.safe_open(path, "np") as file:
        assert file.metadata() == {"a": "1", "b": "2"}


def test_torch_reads_and_writes_the_same_four_bit_floats(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    raw = torch.arange(12, dtype=torch.uint8).reshape(2, 6)
    save_file({"x": raw.view(torch.float4_e2m1fn_x2)}, tmp_path / "theirs.safetensors")
    found = load(tmp_path / "theirs.safetensors")["x"]
    assert (found.dtype, found.shape) == (ml_dtypes.float4_e2m1fn, (2, 12))
    assert found.view(np.uint8)[0, :6].tolist() == [0, 0, 1, 0, 2, 0]  # the low half is first
    path = save({"x": found}, tmp_path / "ours.safetensors")
    assert load_file(path)["x"].view(torch.uint8).equal(raw)


def test_tied_weights_of_the_reference_are_aliases(tmp_path: Path) -> None:
    from safetensors.torch import save_model

    model = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 2))
    model[1].weight = model[0].weight
    save_model(model, str(tmp_path / "m.safetensors"))
    with formats.open_source(tmp_path / "m.safetensors") as source:
        assert sorted(source.specs) == ["0.weight", "1.bias"]
        assert dict(source.aliases) == {"1.weight": "0.weight"}
        assert source.read("1.weight").tolist() == model[0].weight.tolist()


# --- mapped -----------------------------------------------------------------------------------


def test_arrays_are_views_of_the_file(tmp_path: Path) -> None:
    path = save({"x": np.arange(4.0), "y": np.ones(3, np.float16)}, tmp_path / "m.safetensors")
    with formats.open_source(path) as source:
        x, y = source.read("x"), source.read("y")
        assert np.shares_memory(x, source.read_slice("x", slice(1, 3)))
        assert not x.flags.owndata
        assert not x.flags.writeable
        assert y.flags.aligned


def test_what_lies_unaligned_is_copied(tmp_path: Path) -> None:
    header = json.dumps({"x": F32}).encode()
    header += b" " * (-len(header) % 8 + 1)
    (tmp_path / "m.safetensors").write_bytes(file_of(header, np.arange(2, dtype="<f4").tobytes()))
    x = load(tmp_path / "m.safetensors")["x"]
    assert x.flags.aligned
    assert x.tolist() == [0, 1]


def test_listing_imports_no_numpy(tmp_path: Path) -> None:
    path = save({"x": np.ones(3)}, tmp_path / "m.safetensors")
    code = (
        "import sys; from warmstart import formats\n"
        f"source = formats.open_source({str(path)!r})\n"
        "print(*source.specs.values(), 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "float64 (3,) False\n"


# --- bytes from outside -----------------------------------------------------------------------

NAMED = {"w": F32}
BROKEN: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "m.safetensors is empty"),
    "too short": (b"\x01", "the file has 1 bytes; the length of a header takes 8"),
    "long header": (b"\xff" * 8, "the header claims 18446744073709551615 bytes; 0 are left and"),
    "header beyond the end": (b"\x03" + bytes(8), "the header claims 3 bytes; 1 are left"),
    "no JSON": (file_of(b"{'w'}"), "the header is not JSON in UTF-8"),
    "no UTF-8": (file_of(b'{"\xff": 1}'), "the header is not JSON in UTF-8"),
    "UTF-16": (file_of('{"w": 1}'.encode("utf-16")), "the header is not JSON in UTF-8"),
    "half a pair": (file_of(rb'{"\ud800": 1}'), "the header is not JSON in UTF-8"),
    "half a pair inside": (file_of(rb'{"__metadata__": {"a": "\uDFFF"}}'), "is not JSON in UTF-8"),
    "deep": (file_of(b"[" * 200_000), "the header is not JSON in UTF-8"),
    "long number": (file_of(b'{"w":' + b"9" * 5000 + b"}"), "the header is not JSON in UTF-8"),
    "a list": (file_of([]), "the header is not a JSON object from its first byte on"),
    "a space first": (file_of(b' {"w": 1}'), "is not a JSON object from its first byte on"),
    "twice": (file_of(b'{"w": 1, "v": 1, "w": 2}'), "the header has keys more than once: 'w'"),
    "twice inside": (file_of(b'{"w": {"a": 1, "a": 2}}'), "has keys more than once: 'a'"),
    "metadata": (file_of({"__metadata__": {"a": 1}}), "__metadata__ does not map text to text"),
    "metadata list": (file_of({"__metadata__": []}), "__metadata__ does not map text to text"),
    "note": (file_of({"__metadata__": {"warmstart": "1"}}), "is not of version 1: '1'"),
    "no tensor": (file_of({"w": 1}), "'w' is not described as a tensor: 1"),
    "no shape": (file_of({"w": {"dtype": "F32"}}), "'w' is not described as a tensor: {'dtype'"),
    "negative": (file_of({"w": F32 | {"shape": [-2]}}), "'w' is not described as a tensor"),
    "a truth": (file_of({"w": F32 | {"shape": [True]}}), "'w' is not described as a tensor"),
    "a fraction": (file_of({"w": F32 | {"shape": [2.0]}}), "'w' is not described as a tensor"),
    "three offsets": (file_of({"w": F32 | {"data_offsets": [0, 4, 8]}}), "is not described"),
    "gap": (
        file_of({"w": F32 | {"data_offsets": [4, 12]}}, bytes(12)),
        "'w' begins at byte 4 of the data, not 0",
    ),
    "overlap": (file_of({"w": F32, "x": F32}), "'x' begins at byte 0 of the data, not 8"),
    "size": (file_of({"w": F32 | {"shape": [3]}}), r"'w' has 8 bytes; float32 \(3,\) takes 12"),
    "backwards": (file_of({"w": F32 | {"data_offsets": [0, -8]}}), "'w' is not described"),
    "junk": (file_of({"w": F32}, bytes(9)), "the tensors end at byte 8 of the data, which has 9"),
    "inside a byte": (
        file_of({"w": {"dtype": "F4", "shape": [3], "data_offsets": [0, 2]}}, bytes(2)),
        r"'w' float4_e2m1fn \(3,\) takes 12 bits, not whole bytes",
    ),
    "too many dimensions": (
        file_of({"w": F32 | {"shape": [1] * 300}}),
        "a shape has 300 dimensions; at most 254 can be",
    ),
    "astronomical": (
        file_of({"w": F32 | {"shape": [2**40, 2**40]}}),
        r"float32 \(1099511627776, 1099511627776\) would take \d+ bytes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_file(fault: str, tmp_path: Path) -> None:
    content, message = BROKEN[fault]
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(CorruptCheckpoint, match=message) as caught:
        load(tmp_path / "m.safetensors")
    assert f"while reading {tmp_path}/m.safetensors" in full_text(caught.value)


def test_a_dtype_of_the_future(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(file_of({"w": F32 | {"dtype": "F2"}}))
    with pytest.raises(UnsupportedCheckpoint, match="'w' has dtype 'F2'; known: BOOL, F4, "):
        load(tmp_path / "m.safetensors")


@pytest.mark.parametrize("shape", [[1] * 65, [0] + [1] * 64])
def test_a_shape_that_numpy_cannot_have(shape: list[int], tmp_path: Path) -> None:
    nbytes = 4 * int(np.prod(shape))
    entry = {"dtype": "F32", "shape": shape, "data_offsets": [0, nbytes]}
    (tmp_path / "m.safetensors").write_bytes(file_of({"w": entry}, bytes(nbytes)))
    with formats.open_source(tmp_path / "m.safetensors") as source:
        assert source.specs["w"].shape == tuple(shape)
        with pytest.raises(UnsupportedCheckpoint, match="NumPy has no array of shape"):
            source.read("w")


def test_aliases_that_the_tensors_contradict(tmp_path: Path) -> None:
    note = json.dumps({"warmstart": 1, "aliases": {"w": "x", "y": "w"}})
    header = {"__metadata__": {"warmstart": note}, "w": F32}
    (tmp_path / "m.safetensors").write_bytes(file_of(header))
    with pytest.raises(CorruptCheckpoint, match="the tensors contradict: 'w' for 'x'"):
        load(tmp_path / "m.safetensors")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda some: (
        st.lists(some, max_size=4) | st.dictionaries(st.text(max_size=5), some, max_size=4)
    ),
    max_leaves=8,
)
ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from([*CODES, "X"]) | JSON,
        "shape": st.lists(st.integers(-1, 2**64) | JSON, max_size=4) | JSON,
        "data_offsets": st.lists(st.integers(-1, 40), max_size=3) | JSON,
    }
)


@given(
    header=st.dictionaries(st.sampled_from(["w", "x", "__metadata__"]), ENTRY | JSON, max_size=3),
    data=st.binary(max_size=40),
)
def test_any_header_is_read_or_refused(header: dict[str, Any], data: bytes) -> None:
    assert read_or_refused(file_of(header, data))


@given(st.binary(max_size=60).map(lambda raw: file_of(b"{" + raw, b"")) | st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    assert read_or_refused(content)


def read_or_refused(content: bytes) -> bool:
    """Return True; anything but CheckpointError that comes out of *content* fails the test."""
    try:
        header = read_header(memoryview(content))
    except CheckpointError:
        return True
    return sum(e.end - e.begin for e in header.entries.values()) <= len(content)


# --- writing ----------------------------------------------------------------------------------


def test_everything_it_cannot_hold_is_named(tmp_path: Path) -> None:
    tensors = {
        "double": np.ones(3, np.complex128),
        "text": np.array([b"a"]),
        "half": np.ones(3, ml_dtypes.float4_e2m1fn),
        "__metadata__": np.ones(1),
        "\ud800": np.ones(1),
        "fine": np.ones(1),
    }
    notes = {
        "aliases": {"fine": "double", "lost": "absent", "\udfff": "fine"},
        "metadata": {"warmstart": "", "key": "\ud800"},
    }
    with pytest.raises(CannotHold) as caught:
        save(tensors, tmp_path / "m.safetensors", **notes)
    assert full_text(caught.value) == (
        "safetensors cannot hold 10 of these:\n"
        "  'fine'          is not another name of 'double', as the source has it\n"
        "  'lost'          is not another name of 'absent', as the source has it\n"
        "  '\\udfff'        is not Unicode text\n"
        "  'key'           has metadata that are not Unicode text\n"
        "  'double'        complex128 (3,): no such dtype in the format\n"
        "  'text'          string (1,): no such dtype in the format\n"
        "  'half'          float4_e2m1fn (3,): ends inside a byte\n"
        "  '__metadata__'  is the reserved name of the metadata\n"
        "  '\\ud800'        is not Unicode text\n"
        "  'warmstart'     is the key of this library's own note in the metadata\n"
        "An .npz or a TensorFlow bundle may hold them.\n"
        f"while saving {tmp_path}/m.safetensors"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_header_beyond_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "MAX_HEADER", 50)
    with pytest.raises(CannotHold, match="names and metadata take 56 bytes; safetensors holds 50"):
        save({"w": np.ones(1)}, tmp_path / "m.safetensors")


@given(st.sampled_from([4, 6]), st.binary(max_size=60))
def test_packing_is_undone_by_unpacking(bits: int, raw: bytes) -> None:
    values = np.frombuffer(raw, np.uint8)[: len(raw) // 4 * 4] & ((1 << bits) - 1)
    packed = pack(values, bits)
    assert packed.size * 8 == values.size * bits
    assert unpack(packed, bits).tolist() == values.tolist()


def test_six_bits_are_packed_from_the_low_end() -> None:
    packed = pack(np.array([1, 2, 3, 4], np.uint8), 6)
    assert int.from_bytes(packed.tobytes(), "little") == 1 | 2 << 6 | 3 << 12 | 4 << 18


# --- folders ----------------------------------------------------------------------------------

INDEX = "model.safetensors.index.json"


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """Return a folder of two shards with an index, as Hugging Face's libraries write it."""
    safetensors.numpy.save_file(
        {"a": np.arange(3.0), "b": np.ones(2)}, tmp_path / "m-1.safetensors"
    )
    safetensors.numpy.save_file({"c": np.zeros(4)}, tmp_path / "m-2.safetensors", {"format": "np"})
    write_index(tmp_path, {"a": "m-1.safetensors", "b": "m-1.safetensors", "c": "m-2.safetensors"})
    return tmp_path


def write_index(folder: Path, weight_map: Any, metadata: Any = None) -> None:
    index = {"metadata": metadata or {"total_size": 72}, "weight_map": weight_map}
    (folder / INDEX).write_text(json.dumps(index))


@pytest.mark.parametrize("path", ["", INDEX])
def test_a_sharded_checkpoint(path: str, sharded: Path) -> None:
    with formats.open_source(sharded / path) as source:
        assert sorted(source.specs) == ["a", "b", "c"]
        assert list(source.read_order()) == ["a", "b", "c"]
        assert source.metadata == {"total_size": "72", "format": "np"}
        assert source.read("a").tolist() == [0, 1, 2]
        assert source.read_slice("c", slice(2)).tolist() == [0, 0]
        with pytest.raises(CheckpointError, match="there is no tensor 'd' among the 3"):
            source.read("d")


def test_a_shard_by_itself(sharded: Path) -> None:
    assert list(load(sharded / "m-2.safetensors")) == ["c"]


def test_a_tied_weight_in_an_index(sharded: Path) -> None:
    tensors = {"c": np.zeros(4)}
    safetensors.numpy.save_file(tensors, sharded / "m-2.safetensors", {"tied": "c"})
    shards = {"a": 1, "b": 1, "c": 2, "tied": 2}
    write_index(sharded, {name: f"m-{n}.safetensors" for name, n in shards.items()})
    with formats.open_source(sharded) as source:
        assert source.aliases == {"tied": "c"}
        assert source.read("tied").shape == (4,)


def test_the_only_file_of_a_folder(tmp_path: Path) -> None:
    save({"x": np.ones(2)}, tmp_path / "any.safetensors")
    (tmp_path / "config.json").write_text("{}")
    assert list(load(tmp_path)) == ["x"]


def test_a_file_by_any_name(tmp_path: Path) -> None:
    save({"x": np.ones(2)}, tmp_path / "m.safetensors").rename(tmp_path / "weights.bin")
    assert formats.locate(tmp_path / "weights.bin") == ("safetensors", tmp_path / "weights.bin")


def test_a_folder_of_several_files_and_no_index(sharded: Path) -> None:
    (sharded / INDEX).unlink()
    message = r"2 files \*.safetensors and none that joins them; open one of them: m-1.* m-2"
    with pytest.raises(CheckpointNotFound, match=message):
        formats.locate(sharded)


def test_a_training_folder_is_not_ours(tmp_path: Path) -> None:
    save({"x": np.ones(2)}, tmp_path / "exported.safetensors")
    (tmp_path / "checkpoint").write_text("")
    assert ours.locate(tmp_path) is None


def test_an_empty_folder_is_not_ours(tmp_path: Path) -> None:
    assert ours.locate(tmp_path) is None


@pytest.mark.parametrize(
    "file", ["../m-1.safetensors", "/m-1.safetensors", "", "a/../../b", "a\0b"]
)
def test_a_shard_outside_the_folder(file: str, sharded: Path) -> None:
    write_index(sharded, {"a": file, "c": "m-2.safetensors"})
    with pytest.raises(CorruptCheckpoint, match="names 1 shards outside its own folder") as caught:
        load(sharded)
    assert repr(file) in str(caught.value)


def test_shards_that_are_missing(sharded: Path) -> None:
    for path in sharded.glob("m-*"):
        path.unlink()
    message = "2 of 2 shards are missing: 'm-1.safetensors', 'm-2.safetensors'"
    with pytest.raises(CheckpointNotFound, match=message):
        load(sharded)


def test_an_index_that_is_not_what_the_shards_say(sharded: Path) -> None:
    write_index(sharded, {"a": "m-2.safetensors", "x": "m-1.safetensors", "c": "m-2.safetensors"})
    with pytest.raises(CorruptCheckpoint) as caught:
        load(sharded)
    assert str(caught.value) == (
        "the index and the shards do not agree:\n"
        "  'a' is not in m-2.safetensors, as the index says\n"
        "  'x' is not in m-1.safetensors, as the index says\n"
        "  'a' is in m-1.safetensors, which the index does not say\n"
        "  'b' is in m-1.safetensors, which the index does not say"
    )


BROKEN_INDEX = {
    "is empty": "",
    "the index is not JSON": "{",
    "the index has keys more than once: 'a'": '{"weight_map": {"a": "m", "a": "n"}}',
    "the index has no weight_map": '{"a": 1}',
    "no weight_map from names to files": '{"weight_map": {"a": 1}}',
    "the metadata of the index are not a JSON object": '{"weight_map": {}, "metadata": []}',
}


@pytest.mark.parametrize("message", BROKEN_INDEX)
def test_a_broken_index(message: str, tmp_path: Path) -> None:
    (tmp_path / INDEX).write_text(BROKEN_INDEX[message])
    with pytest.raises(CorruptCheckpoint, match=message):
        load(tmp_path)


def test_an_index_beyond_the_limit(sharded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from warmstart.formats import sharded as module

    monkeypatch.setattr(module, "MAX_INDEX", 10)
    with pytest.raises(CorruptCheckpoint, match=r"the index has \d+ bytes; 10 are allowed"):
        load(sharded)


def test_every_byte_is_accounted_for(tmp_path: Path) -> None:
    path = save({"x": np.zeros(3)}, tmp_path / "m.safetensors")
    index = tmp_path / "m.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": path.name}}))
    for found in (path, index):
        with formats.open_source(found) as source:
            assert list(source.unclaimed()) == []


def test_shards_are_read_plainly_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save({"x": np.arange(3.0)}, tmp_path / "m.safetensors")
    index = tmp_path / "m.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": path.name}}))
    monkeypatch.setattr("warmstart.binary.window.map_file", lambda path: 1 / 0)
    with formats.open_source(index, mmap=False) as source:
        assert source.read("x").tolist() == [0, 1, 2]
