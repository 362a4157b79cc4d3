"""Version 1 beside TensorFlow: all that its writers can write is read as it was written."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from warmstart import formats
from warmstart.testing.formats import values_of
from warmstart.testing.reading import bits

tf = pytest.importorskip("tensorflow")
v1 = tf.compat.v1

DTYPES = [
    "bool", "complex128", "complex64", "float16", "float32", "float64", "int16", "int32", "int64",
    "int8", "string", "uint16", "uint8",
]  # fmt: skip
NOT_WRITTEN = ["bfloat16", "uint32", "uint64", "int4", "float8_e5m2"]
QUANTIZED = {"qint8": "int8", "quint8": "uint8", "qint32": "int32"}
SHAPES = [(), (1,), (0,), (3, 0, 2), (2, 3, 4), (1, 1, 1, 1, 1, 1, 1, 1)]


def tensor_of(dtype: str, shape: tuple[int, ...]) -> Any:
    """Return a tensor of *dtype*, with all kinds of bits, and *shape*."""
    values = np.resize(values_of(dtype), shape)
    return tf.constant(values, tf.string if dtype == "string" else tf.as_dtype(dtype))


def save(path: Path, tensor: Any, piece: str = "") -> None:
    """Write *tensor* as x with the ops that are under every old saver."""
    tf.raw_ops.SaveSlices(
        filename=str(path), tensor_names=["x"], shapes_and_slices=[piece], data=[tensor]
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_shape(dtype: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    tensor = tensor_of(dtype, shape)
    save(tmp_path / "m", tensor)
    expected = tensor.numpy() if shape else np.asarray(tensor.numpy(), values_of(dtype).dtype)
    with formats.open_source(tmp_path / "m") as source:
        found = source.read("x")
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert bits(found) == bits(expected)


@pytest.mark.parametrize("dtype", NOT_WRITTEN)
def test_what_tensorflow_does_not_write(dtype: str, tmp_path: Path) -> None:
    with pytest.raises((tf.errors.OpError, tf.errors.UnimplementedError)):
        save(tmp_path / "m", tensor_of(dtype, (2, 3)))


@pytest.mark.parametrize("dtype", QUANTIZED)
def test_quantized_types_are_read_as_their_integers(dtype: str, tmp_path: Path) -> None:
    values = values_of(QUANTIZED[dtype])
    save(tmp_path / "m", tf.bitcast(tf.constant(values), getattr(tf, dtype)))
    with formats.open_source(tmp_path / "m") as source:
        np.testing.assert_array_equal(source.read("x"), values, strict=True)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "int16", "uint8"])
def test_what_tensorflow_reads_too_is_the_same(dtype: str, tmp_path: Path) -> None:
    save(tmp_path / "m", tensor_of(dtype, (2, 3, 4)))
    expected = tf.train.load_checkpoint(str(tmp_path / "m")).get_tensor("x")
    with formats.open_source(tmp_path / "m") as source:
        assert bits(source.read("x")) == bits(expected)


@pytest.mark.parametrize("dtype", ["float32", "string", "float16", "int64"])
def test_tiles_of_several_files(dtype: str, tmp_path: Path) -> None:
    whole = np.resize(values_of(dtype), (4, 6))
    for shard, (row, column) in enumerate(((0, 0), (0, 3), (2, 0), (2, 3))):
        tile = tensor_of(dtype, (4, 6))[row : row + 2, column : column + 3]
        place = f"4 6 {row},2:{column},3"
        save(tmp_path / f"m-{shard:05}-of-00004", tile, place)
    with formats.open_source(tmp_path / "m") as source:
        assert source.specs["x"].shape == (4, 6)
        assert bits(source.read("x")) == bits(whole)
        assert bits(source.read_slice("x", (slice(1, 3), 2))) == bits(whole[1:3, 2])


@pytest.mark.parametrize("sharded", [True, False])
def test_a_saver_with_partitioned_variables(sharded: bool, tmp_path: Path) -> None:
    with tf.Graph().as_default(), v1.Session() as session:
        rows = v1.fixed_size_partitioner(3)
        parts = v1.get_variable("emb", [7, 2], initializer=v1.ones_initializer(), partitioner=rows)
        values = [part.assign(tf.ones_like(part) * n) for n, part in enumerate(parts)]
        v1.get_variable("count", initializer=tf.constant(5))
        session.run(v1.global_variables_initializer())
        session.run(values)
        saver = v1.train.Saver(sharded=sharded, write_version=1)
        saver.save(session, str(tmp_path / "m"), global_step=3)
    expected = np.repeat(np.float32([0, 1, 2]), [3, 2, 2])[:, None] * np.ones((1, 2), np.float32)
    with formats.open_source(tmp_path) as source:
        assert list(source.specs) == ["count", "emb"]
        np.testing.assert_array_equal(source.read("emb"), expected, strict=True)
        np.testing.assert_array_equal(source.read("count"), np.array(5, np.int32), strict=True)
