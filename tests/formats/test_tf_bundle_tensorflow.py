"""Bundles beside TensorFlow: what it writes we read equal, what we write it reads equal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from warmstart import formats
from warmstart.binary.checksum import crc32c, mask
from warmstart.binary.table import Table, write_table
from warmstart.formats import tf_bundle
from warmstart.formats.tf_bundle.protos import (
    NUMBERS,
    QUANTIZED,
    Header,
    Heads,
    Slice,
    decode_entry,
    decode_header,
    encode_entry,
    encode_header,
)
from warmstart.formats.tf_bundle.slices import slice_key
from warmstart.source import DictSource
from warmstart.testing.formats import LAYOUTS, bits, values_of

tf = pytest.importorskip("tensorflow")
v1 = tf.compat.v1

DTYPES = sorted(NUMBERS)
SHAPES = [(), (1,), (0,), (3, 0, 2), (2, 3, 4), (1, 1, 1, 1, 1, 1, 1, 1)]


def save_with_tensorflow(
    prefix: Path, tensors: Mapping[str, Any], slices: Mapping[str, str] | None = None
) -> None:
    """Write *tensors* with the op that is under every saver of TensorFlow."""
    slices = slices or {}
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(tensors),
        shape_and_slices=[slices.get(name, "") for name in tensors],
        tensors=list(tensors.values()),
    )


def read_all(path: Path) -> dict[str, np.ndarray]:
    with formats.open_source(path) as source:
        each = {name: source.read(name) for name in source.specs}
        together = source.read_all()
    assert {n: bits(a) for n, a in each.items()} == {n: bits(a) for n, a in together.items()}
    return each


def tensor_of(dtype: str, shape: tuple[int, ...] = (2, 3, 4)) -> Any:
    """Return a tensor of *dtype*, with all kinds of bits, and *shape*."""
    values = np.resize(values_of(dtype), shape)
    return tf.constant(values, tf.as_dtype(dtype) if dtype != "string" else tf.string)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_that_tensorflow_writes(dtype: str, tmp_path: Path) -> None:
    save_with_tensorflow(tmp_path / "m", {"a/b": tensor_of(dtype), "other": tf.constant(1)})
    found = read_all(tmp_path / "m")
    assert (str(found["a/b"].dtype), found["other"]) == (
        dtype.replace("string", "object"),
        1,
    )
    assert bits(found["a/b"]) == bits(values_of(dtype))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "string", "bool", "complex128"])
def test_every_shape_that_tensorflow_writes(
    dtype: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    save_with_tensorflow(tmp_path / "m", {"x": tensor_of(dtype, shape)})
    found = read_all(tmp_path / "m")["x"]
    assert found.shape == shape
    assert bits(found) == bits(np.resize(values_of(dtype), shape))


@pytest.mark.parametrize("number", QUANTIZED)
def test_quantized_types_are_read_as_their_integers(number: int, tmp_path: Path) -> None:
    quantized = tf.as_dtype(number)
    integers = tf.constant([0, 1, 100], tf.as_dtype(quantized.name.replace("q", "")))
    save_with_tensorflow(tmp_path / "m", {"x": tf.bitcast(integers, quantized)})
    np.testing.assert_array_equal(read_all(tmp_path / "m")["x"], integers.numpy(), strict=True)


def test_many_tensors_alike_among_others(tmp_path: Path) -> None:
    tensors = {f"layer{i}/kernel": np.full((3, 5), i, np.float32) for i in range(300)}
    tensors |= {f"layer{i}/bias": np.full(7, i, np.int16) for i in range(300)}
    tensors |= {f"step{i}": np.array(i) for i in range(40)}
    save_with_tensorflow(tmp_path / "m", {n: tf.constant(a) for n, a in tensors.items()})
    found = read_all(tmp_path / "m")
    assert {n: bits(a) for n, a in found.items()} == {n: bits(a) for n, a in tensors.items()}


def test_several_shards(tmp_path: Path) -> None:
    parts = [{f"part{i}/w": tf.fill([4], i), f"part{i}/s": tf.constant([f"{i}"])} for i in range(3)]
    for number, part in enumerate(parts):
        save_with_tensorflow(tmp_path / f"part{number}", part)
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=[str(tmp_path / f"part{i}") for i in range(3)],
        destination_prefix=str(tmp_path / "m"),
    )
    assert len(list(tmp_path.glob("m.data-*-of-00003"))) == 3
    found = read_all(tmp_path / "m")
    expected = {name: value.numpy() for part in parts for name, value in part.items()}
    assert {n: bits(a) for n, a in found.items()} == {n: bits(a) for n, a in expected.items()}


def test_a_saver_with_partitioned_variables(tmp_path: Path) -> None:
    with tf.Graph().as_default(), v1.Session() as session:
        rows = v1.fixed_size_partitioner(3)
        emb = tf.convert_to_tensor(v1.get_variable("emb", [7, 4], partitioner=rows))
        v1.get_variable("w", initializer=np.float32(2))
        session.run(v1.global_variables_initializer())
        values = session.run(emb)
        prefix = v1.train.Saver(sharded=True).save(session, str(tmp_path / "m"), global_step=7)
    found = read_all(Path(prefix))
    assert sorted(found) == ["emb", "w"]
    np.testing.assert_array_equal(found["emb"], values)
    with formats.open_source(tmp_path) as source:
        assert str(source.specs["emb"]) == "float32 (7, 4)"
        np.testing.assert_array_equal(source.read_slice("emb", (slice(2, 5), 1)), values[2:5, 1])


@pytest.mark.parametrize("dtype", ["int64", "string"])
def test_tiles_of_a_matrix(dtype: str, tmp_path: Path) -> None:
    whole = np.resize(values_of(dtype), (5, 6))
    tiles = {"0,2:0,6": whole[:2], "2,3:0,4": whole[2:, :4], "2,3:4,2": whole[2:, 4:]}
    for number, (place, tile) in enumerate(tiles.items()):
        tensors = {"m/x": tf.constant(tile, tf.as_dtype(dtype))}
        save_with_tensorflow(tmp_path / f"p{number}", tensors, {"m/x": f"5 6 {place}"})
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=[str(tmp_path / f"p{i}") for i in range(3)],
        destination_prefix=str(tmp_path / "m"),
    )
    assert bits(read_all(tmp_path / "m")["m/x"]) == bits(whole)


def test_a_checkpoint_of_objects(tmp_path: Path) -> None:
    path = tf.train.Checkpoint(w=tf.Variable([1.0, 2.0])).save(tmp_path / "m")
    found = read_all(Path(path))
    np.testing.assert_array_equal(found["w/.ATTRIBUTES/VARIABLE_VALUE"], np.float32([1, 2]))
    assert found["_CHECKPOINTABLE_OBJECT_GRAPH"].shape == ()


def test_variants_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    iterator = iter(tf.data.Dataset.range(3))
    path = tf.train.Checkpoint(iterator=iterator, w=tf.Variable(1.0)).save(tmp_path / "m")
    found = read_all(Path(path))
    assert "w/.ATTRIBUTES/VARIABLE_VALUE" in found
    assert "1 tensor left out, being no arrays: iterator" in caplog.text


@pytest.mark.parametrize("dtype", DTYPES)
def test_tensorflow_reads_every_dtype_of_ours(dtype: str, tmp_path: Path) -> None:
    arrays = {
        "x": values_of(dtype),
        "empty": values_of(dtype)[:0],
        "scalar": values_of(dtype)[0, 0, 1],
    }
    tf_bundle.save_source(DictSource(arrays), tmp_path / "m")
    kinds = [tf.as_dtype(NUMBERS[dtype])] * 3
    found = tf.raw_ops.RestoreV2(
        prefix=str(tmp_path / "m"),
        tensor_names=list(arrays),
        shape_and_slices=[""] * 3,
        dtypes=kinds,
    )
    expected = [np.asarray(array, values_of(dtype).dtype) for array in arrays.values()]
    assert [bits(tensor.numpy()) for tensor in found[:2]] == [bits(a) for a in expected[:2]]
    assert [tuple(tensor.shape) for tensor in found] == [(2, 3, 4), (0, 3, 4), ()]


def test_tensorflow_reads_any_layout_of_ours(tmp_path: Path) -> None:
    tf_bundle.save_source(DictSource(LAYOUTS), tmp_path / "m")
    reader = tf.train.load_checkpoint(str(tmp_path / "m"))
    assert sorted(reader.get_variable_to_shape_map()) == sorted(LAYOUTS)
    for name, array in LAYOUTS.items():
        np.testing.assert_array_equal(reader.get_tensor(name), array)


def test_a_saver_restores_what_we_wrote(tmp_path: Path) -> None:
    source = DictSource(
        {"w:0": np.float32([1, 2, 3]), "emb": np.arange(28, dtype=np.float32).reshape(7, 4)},
        roles={"w:0": "trainable"},
        metadata={"run": "{}"},
        aliases={"tied": "w:0"},
    )
    tf_bundle.save_source(source, tmp_path / "m")
    with tf.Graph().as_default(), v1.Session() as session:
        w = v1.get_variable("w", [3])
        tied = v1.get_variable("tied", [3])
        emb = v1.get_variable("emb", [7, 4], partitioner=v1.fixed_size_partitioner(3))
        v1.train.Saver().restore(session, str(tmp_path / "m"))
        found = session.run([w, tied, tf.convert_to_tensor(emb)])
    np.testing.assert_array_equal(found[0], [1, 2, 3])
    np.testing.assert_array_equal(found[1], [1, 2, 3])
    np.testing.assert_array_equal(found[2], source.read("emb"))


def test_tensorflow_reads_what_was_saved_over_another(tmp_path: Path) -> None:
    for value in range(4):
        tf_bundle.save_source(DictSource({"w": np.full(3, value)}), tmp_path / "m")
        reader = tf.train.load_checkpoint(str(tmp_path / "m"))
        np.testing.assert_array_equal(reader.get_tensor("w"), [value] * 3)
        assert len(list(tmp_path.iterdir())) == 2


def test_the_table_is_the_one_that_tensorflow_writes(tmp_path: Path) -> None:
    tensors = {f"layer{i}/kernel": tf.zeros([i % 9]) for i in range(100)}
    save_with_tensorflow(tmp_path / "m", tensors)
    raw = (tmp_path / "m.index").read_bytes()
    items = pairs_in(raw)
    again = write_table(items)
    assert Table(again, verify=True).get(b"layer7/kernel") == dict(items)[b"layer7/kernel"]
    blocks = raw.index(b"\0\0\0\0\x01\0\0\0", len(raw) - 200)  # the metaindex is empty
    assert again[:blocks] == raw[:blocks]


def pairs_in(table: bytes) -> list[tuple[bytes, bytes]]:
    """Return every (key, value) of *table*."""
    blocks = Table(table, verify=True).blocks()
    return [pair for keys, values in blocks for pair in zip(keys, values, strict=True)]


def as_big_endian(prefix: Path, dtypes: Mapping[str, str]) -> None:
    """Turn the bundle at *prefix* into one that a big-endian machine would have written."""
    index = prefix.with_name(prefix.name + ".index")
    data = prefix.with_name(prefix.name + ".data-00000-of-00001")
    raw = index.read_bytes()
    items = pairs_in(raw)
    assert decode_header(items[0][1]) == Header(1)
    swapped = bytearray(data.read_bytes())
    again = [(b"", encode_header(Header(1, big_endian=True)))]
    for key, message in items[1:]:
        entry = decode_entry(message, Heads())
        part = slice(entry.offset, entry.offset + entry.size)
        unit = np.dtype(f"u{dtypes[key.decode()]}")
        swapped[part] = np.frombuffer(swapped[part], unit).byteswap().tobytes()
        again.append((key, encode_entry(entry._replace(crc=mask(crc32c(swapped[part]))))))
    data.write_bytes(swapped)
    index.write_bytes(write_table(again))


def test_big_endian_bundles(tmp_path: Path) -> None:
    units = {"bfloat16": "2", "bool": "1", "complex64": "4", "float64": "8", "int16": "2"}
    arrays = {dtype: values_of(dtype) for dtype in units}
    tf_bundle.save_source(DictSource(arrays), tmp_path / "m")
    as_big_endian(tmp_path / "m", units)
    found = read_all(tmp_path / "m")
    assert {n: bits(a) for n, a in found.items()} == {n: bits(a) for n, a in arrays.items()}
    with formats.open_source(tmp_path / "m") as source:
        np.testing.assert_array_equal(
            source.read_slice("int16", (1, slice(0, 2))), arrays["int16"][1, :2]
        )
    reader = tf.train.load_checkpoint(str(tmp_path / "m"))
    assert bits(reader.get_tensor("float64")) == bits(arrays["float64"])
    assert bits(reader.get_tensor("complex64")) == bits(arrays["complex64"])


def test_slice_keys_are_those_of_tensorflow(tmp_path: Path) -> None:
    place = "100 2000000 64,8:-"
    tensors = {"emb/\0part\xff": tf.zeros([8, 2_000_000], tf.int8)}
    save_with_tensorflow(tmp_path / "m", tensors, dict.fromkeys(tensors, place))
    key = slice_key("emb/\0part\xff".encode(), Slice((64, 0), (8, -1)))
    assert Table((tmp_path / "m.index").read_bytes(), verify=True).get(key) is not None
