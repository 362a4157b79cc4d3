"""Flax's msgpack from hostile hands; the bytes themselves are in tests/binary/test_msgpack.py."""

from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmstart.errors import (
    CheckpointError,
    CorruptCheckpoint,
    UnsupportedCheckpoint,
    full_text,
)
from warmstart.formats import msgpack as ours
from warmstart.formats.msgpack.leaves import read_contents


def array(shape: Any, dtype: Any = "float32", data: Any = bytes(8)) -> msgpack.ExtType:
    return msgpack.ExtType(1, msgpack.packb((shape, dtype, data)))


def chunked(**parts: Any) -> dict[str, Any]:
    return {
        "__msgpack_chunked_array__": True,
        "shape": {"0": 2, "1": 2},
        "chunks": {"0": array([2]), "1": array([2])},
        **parts,
    }


BROKEN: dict[str, tuple[Any, str]] = {
    "too few bytes": (array([3]), r"the array at byte \d+ has 8 bytes; float32 \(3,\) takes 12"),
    "too many bytes": (array([1]), r"the array at byte \d+ has 8 bytes; float32 \(1,\) takes 4"),
    "no dtype": (array([2], 5), r"the array at byte \d+ is not described by shape, dtype and"),
    "no shape": (array("x"), "is not described by shape, dtype and bytes"),
    "a truth as size": (array([True]), "is not described by shape, dtype and bytes"),
    "text as values": (array([2], data="x" * 8), "is not described by shape, dtype and bytes"),
    "nothing in it": (msgpack.ExtType(1, b""), "1 bytes are to follow"),
    "more behind it": (msgpack.ExtType(1, b"\x93\x90\xa1b\xc4\0\0"), "1 bytes follow it"),
    "negative": (array([-2]), r"shape \(-2,\) has a negative dimension"),
    "astronomical": (array([2**40, 2**40]), r"would take \d+ bytes"),
    "complex of text": (msgpack.ExtType(2, b"\x92\xa1a\xa1b"), "is not two numbers"),
    # Each would otherwise be put together from what lies outside of it, or in the wrong order.
    "no chunks": (chunked(chunks={}), "an array in chunks has none, or some that are no flat"),
    "chunks unnumbered": (chunked(chunks={"1": array([2])}), "has no shape and chunks numbered"),
    "shape unnumbered": (chunked(shape=[2, 2]), "has no shape and chunks numbered from 0"),
    "shape of text": (chunked(shape={"0": "x"}), "shape of an array in chunks is no list of num"),
    "one more key": (chunked(more=1), "has no shape and chunks numbered from 0"),
    "chunk of two axes": (chunked(chunks={"0": array([1, 2])}), "or some that are no flat arrays"),
    "chunk of numbers": (chunked(chunks={"0": 1}), "an array in chunks has none, or some that"),
    "a chunk short": (
        chunked(chunks={"0": array([2])}),
        r"shape \(2, 2\) takes 4 values of one dtype; its 1 chunks have 2 of float32",
    ),
    "two dtypes": (
        chunked(chunks={"0": array([2]), "1": array([2], "int32")}),
        "its 2 chunks have 4 of float32, int32",
    ),
    # A sum that counted negative sizes could be brought to anything.
    "chunks that lie": (chunked(shape={"0": 2**62, "1": 2**62}), r"would take \d+ bytes"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_array(fault: str, tmp_path: Path) -> None:
    leaf, message = BROKEN[fault]
    (tmp_path / "m.msgpack").write_bytes(msgpack.packb({"a": {"w": leaf}}))
    with pytest.raises(CorruptCheckpoint, match=message) as caught:
        ours.open_source(tmp_path / "m.msgpack", verify=True)
    assert f"while reading {tmp_path}/m.msgpack" in full_text(caught.value)


@pytest.mark.parametrize("dtype", ["object", "string", "float7", "V8", "datetime64[ns]"])
def test_a_dtype_that_is_not_known(dtype: str, tmp_path: Path) -> None:
    """Objects would be pointers into this process."""
    (tmp_path / "m.msgpack").write_bytes(msgpack.packb({"w": array([1], dtype)}))
    with pytest.raises(UnsupportedCheckpoint, match=r"at byte \d+ has dtype '.*'; known: bool"):
        ours.open_source(tmp_path / "m.msgpack", verify=True)


def test_a_shape_that_numpy_cannot_have(tmp_path: Path) -> None:
    (tmp_path / "m.msgpack").write_bytes(msgpack.packb({"w": array([1] * 65, data=bytes(4))}))
    source = ours.open_source(tmp_path / "m.msgpack", verify=True)
    with pytest.raises(UnsupportedCheckpoint, match="NumPy has no array of shape"):
        source.read("w")


def test_two_values_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "m.msgpack").write_bytes(msgpack.packb({"a/b": 1, "a": {"b": 2}}))
    with pytest.raises(UnsupportedCheckpoint, match="two values are called 'a/b'"):
        ours.open_source(tmp_path / "m.msgpack", verify=True)


def test_a_note_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "m.msgpack").write_bytes(msgpack.packb({"warmstart": "{}"}))
    with pytest.raises(CorruptCheckpoint, match="is not of version 1"):
        ours.open_source(tmp_path / "m.msgpack", verify=True)


def test_a_key_of_that_name_that_is_no_note(tmp_path: Path) -> None:
    (tmp_path / "m.msgpack").write_bytes(msgpack.packb({"warmstart": {"w": array([2])}}))
    source = ours.open_source(tmp_path / "m.msgpack", verify=True)
    assert np.array_equal(source.read("warmstart/w"), np.zeros(2))


def test_a_lone_array_and_a_lone_value(tmp_path: Path) -> None:
    (tmp_path / "m.msgpack").write_bytes(msgpack.packb(array([2])))
    assert ours.open_source(tmp_path / "m.msgpack", verify=True).read("").shape == (2,)
    (tmp_path / "m.msgpack").write_bytes(b"\x05")
    assert ours.open_source(tmp_path / "m.msgpack", verify=True).metadata == {"": "5"}


LEAF = st.recursive(
    st.builds(
        array,
        st.lists(st.integers(-1, 4), max_size=3) | st.none(),
        st.sampled_from(["float32", "bool", "int4", "x"]) | st.none(),
        st.binary(max_size=20),
    )
    | st.integers(-3, 3)
    | st.builds(msgpack.ExtType, st.integers(1, 3), st.binary(max_size=12)),
    lambda some: (
        st.builds(chunked, shape=some | st.just({"0": 4}), chunks=some)
        | st.dictionaries(st.sampled_from(["0", "1", "a", "shape", "chunks"]), some, max_size=3)
    ),
    max_leaves=6,
)


@given(LEAF)
def test_any_tree_is_read_or_refused(tree: Any) -> None:
    assert claims_no_more_than_there_is(msgpack.packb(tree))


def claims_no_more_than_there_is(raw: bytes) -> bool:
    """Return whether *raw* is refused, or its arrays take no more than its bytes."""
    try:
        contents = read_contents(memoryview(raw))
    except CheckpointError:
        return True
    return sum(spec.nbytes for spec in contents.specs.values()) <= len(raw)
