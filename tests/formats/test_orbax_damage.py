"""Orbax folders from hostile hands: our own layer of JSON and files, and what tensorstore is asked.

Databases are in tests/binary/test_ocdbt.py.  What tensorstore decodes by itself is promised no more
than that its errors are ours; `untrusted=True` reads it in a child process.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmstart import formats
from warmstart.errors import (
    CheckpointError,
    CheckpointNotFound,
    CorruptCheckpoint,
    UnsupportedCheckpoint,
    full_text,
)
from warmstart.formats import orbax as ours
from warmstart.formats.orbax.tree import tree_of
from warmstart.formats.orbax.zarr import parse_layout
from warmstart.source import DictSource

ZARRAY = {
    "zarr_format": 2, "shape": [2, 3], "chunks": [2, 2], "dtype": "<f4", "order": "C",
    "compressor": None, "filters": None, "fill_value": None,
}  # fmt: skip
ZSTD = {"compressor": {"id": "zstd", "level": 1}}
ZARR_JSON = {
    "zarr_format": 3, "node_type": "array", "shape": [2, 3], "data_type": "float32",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 2]}},
    "chunk_key_encoding": {"name": "default"}, "fill_value": 0.0,
    "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
}  # fmt: skip
CHUNKS = {"0.0": [0, 1, 3, 4], "0.1": [2, 9, 5, 9]}  # the 9s lie beyond the edge


def leaf(*keys: str, kind: str = "np.ndarray") -> dict[str, Any]:
    described = [{"key": key, "key_type": 2} for key in keys]
    return {"key_metadata": described, "value_metadata": {"value_type": kind}}


def item(folder: Path, *leaves: dict[str, Any], **said: Any) -> Path:
    """Make the `_METADATA` of an item of *leaves*, by default of one array "w"."""
    tree = {str(i): each for i, each in enumerate(leaves or [leaf("w")])}
    (folder / "_METADATA").write_text(json.dumps({"tree_metadata": tree, **said}))
    return folder


def files(folder: Path, said: dict[str, Any] = ZARRAY, **chunks: bytes) -> Path:
    """Make the array "w", described by *said*, with CHUNKS or others."""
    (folder / "w").mkdir()
    (folder / "w" / ".zarray").write_text(json.dumps(said))
    for key, values in CHUNKS.items():
        (folder / "w" / key).write_bytes(np.array(values, "<f4").tobytes())
    for key, raw in chunks.items():
        (folder / "w" / key).write_bytes(raw)
    return folder


def open_item(folder: Path) -> Any:
    return ours.open_source(folder, verify=True)


def test_files_of_several_chunks(tmp_path: Path) -> None:
    source = open_item(files(item(tmp_path)))
    assert source.read("w").tolist() == [[0, 1, 2], [3, 4, 5]]
    assert source.read_slice("w", (1, slice(1, 3))).tolist() == [4, 5]


def test_files_of_the_other_byte_order(tmp_path: Path) -> None:
    said = ZARRAY | {"dtype": ">i2", "shape": [2], "chunks": [2]}
    source = open_item(files(item(tmp_path), said, **{"0": b"\0\1\1\0"}))
    assert source.read("w").tolist() == [1, 256]
    assert source.read("w").dtype.isnative


def test_files_of_zarr_3(tmp_path: Path) -> None:
    (tmp_path / "w" / "c" / "0").mkdir(parents=True)
    (tmp_path / "w" / "zarr.json").write_text(json.dumps(ZARR_JSON))
    for column, values in enumerate(CHUNKS.values()):
        raw = np.array(values, "<f4").tobytes()
        (tmp_path / "w" / "c" / "0" / str(column)).write_bytes(raw)
    assert open_item(item(tmp_path)).read("w").tolist() == [[0, 1, 2], [3, 4, 5]]


# --- the tree ---------------------------------------------------------------------------------

TREES: dict[str, tuple[Any, str]] = {
    "no tree": ({}, "_METADATA has no tree_metadata"),
    "a list": ({"tree_metadata": []}, "_METADATA has no tree_metadata"),
    "a leaf that is none": ({"tree_metadata": {"a": 1}}, "a leaf of _METADATA has no keys or no"),
    "a key that is none": (
        {"tree_metadata": {"a": {"key_metadata": [1], "value_metadata": {"value_type": "x"}}}},
        "a leaf of _METADATA has no keys or no type",
    ),
    "deep": ({"tree_metadata": {"a": leaf(*"x" * 101)}}, "has no keys or no type"),
    # Which of the two is read would depend on who reads it.
    "twice": ({"tree_metadata": {"a": leaf("a/b"), "b": leaf("a", "b")}}, "called 'a/b'"),
    "custom": ({"tree_metadata": {}, "custom_metadata": 1}, "are not a JSON object"),
    "note": ({"tree_metadata": {}, "custom_metadata": {"warmstart": "{}"}}, "not of version 1"),
}


@pytest.mark.parametrize("fault", TREES)
def test_a_broken_tree(fault: str, tmp_path: Path) -> None:
    said, message = TREES[fault]
    (tmp_path / "_METADATA").write_text(json.dumps(said))
    with pytest.raises(CorruptCheckpoint, match=message) as caught:
        open_item(tmp_path)
    assert f"while reading {tmp_path}" in full_text(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1, "a": 2}', "[" * 100_000])
def test_a_tree_that_is_no_object(text: str, tmp_path: Path) -> None:
    (tmp_path / "_METADATA").write_text(text)
    with pytest.raises(CorruptCheckpoint, match="_METADATA"):
        open_item(tmp_path)


@pytest.mark.parametrize("keys", [("..", "/etc"), ("/etc/passwd",), ("../../etc/passwd",)])
def test_arrays_outside_the_folder(keys: tuple[str, ...], tmp_path: Path) -> None:
    """Any folder of the machine that looks like an array would be read."""
    with pytest.raises(CorruptCheckpoint, match=r"2 arrays would lie outside|1 arrays would lie"):
        open_item(item(tmp_path, leaf(*keys) if keys[0] != ".." else leaf("../../etc")))


@pytest.mark.parametrize(
    "key", ["http://127.0.0.1:9/x", "s3://bucket/x", "gs://bucket/x", "file:///etc"]
)
def test_addresses_are_names(key: str, tmp_path: Path) -> None:
    """A request to a server of the file's choosing says who opened it, and brings what it likes."""
    with pytest.raises(CheckpointNotFound, match="1 arrays of the tree are not there"):
        open_item(item(tmp_path, leaf(key)))


def test_a_link_of_the_owner_is_followed(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "item").mkdir()
    files(tmp_path / "store")
    os.symlink(tmp_path / "store" / "w", tmp_path / "item" / "w")
    assert open_item(item(tmp_path / "item")).read("w").shape == (2, 3)


def test_arrays_that_are_missing_are_all_named(tmp_path: Path) -> None:
    leaves = [leaf(f"w{i}") for i in range(12)]
    with pytest.raises(CheckpointNotFound, match=r"12 arrays .* 'w0', .*'w9', \.\.\."):
        open_item(item(tmp_path, *leaves))


# --- the arrays -------------------------------------------------------------------------------

LAYOUTS: dict[str, tuple[dict[str, Any], str]] = {
    "no shape": ({"shape": None}, "does not describe an array of zarr 2"),
    "negative": ({"shape": [-1, 3]}, "does not describe an array of zarr 2"),
    "a truth": ({"shape": [True, 3]}, "does not describe an array of zarr 2"),
    "no dtype": ({"dtype": 5}, "does not describe an array of zarr 2"),
    "empty dtype": ({"dtype": ""}, "does not describe an array of zarr 2"),
    "records": ({"dtype": [["a", "<f4"]]}, "does not describe an array|which is not known"),
    "separator": ({"dimension_separator": "../"}, "does not describe an array of zarr 2"),
    "rank": ({"chunks": [2]}, r"has shape \(2, 3\) in chunks of \(2,\), which cannot be"),
    "astronomical": ({"shape": [2**60, 2**60]}, r"would take \d+ bytes"),
    "chunks beyond it": ({"chunks": [2**60, 2**60]}, r"would take \d+ bytes"),
}


@pytest.mark.parametrize("fault", LAYOUTS)
def test_a_broken_array(fault: str, tmp_path: Path) -> None:
    change, message = LAYOUTS[fault]
    with pytest.raises(CheckpointError, match=message):
        open_item(files(item(tmp_path), ZARRAY | change))


def test_a_dtype_that_is_not_known(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedCheckpoint, match=r"'w' has dtype '\|O', which is not known"):
        open_item(files(item(tmp_path), ZARRAY | {"dtype": "|O"}))


def test_zarr_3_of_another_node(tmp_path: Path) -> None:
    raw = json.dumps(ZARR_JSON | {"node_type": "group"}).encode()
    with pytest.raises(CorruptCheckpoint, match="does not describe an array of zarr 3"):
        parse_layout(raw, 3, "w")


def test_a_chunk_of_another_size(tmp_path: Path) -> None:
    source = open_item(files(item(tmp_path), **{"0.1": bytes(15)}))
    with pytest.raises(CorruptCheckpoint, match=r"chunk '0.1' of 'w' has 15 bytes; .* takes 16"):
        source.read("w")


def test_a_chunk_that_is_missing(tmp_path: Path) -> None:
    files(item(tmp_path, store_array_data_equal_to_fill_value=True))
    (tmp_path / "w" / "0.1").unlink()
    with pytest.raises(CorruptCheckpoint, match=r"the chunk '0\.1' of 'w' is missing"):
        open_item(tmp_path).read("w")


def test_more_chunks_than_the_folder_has_bytes(tmp_path: Path) -> None:
    """A list of them would take all memory."""
    said = ZARRAY | {"shape": [2**40, 1], "chunks": [1, 1]}
    with pytest.raises(CorruptCheckpoint, match=f"'w' claims {2**40} chunks"):
        open_item(files(item(tmp_path), said)).read_slice("w", 0)


BOMBS = {
    "a petabyte": {"shape": [2**48], "chunks": [2**20]},
    "one large chunk": {"shape": [4], "chunks": [2**48]},
    "many chunks": {"shape": [2**33], "chunks": [1]},
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_compressed_array_that_claims_too_much(bomb: str, tmp_path: Path) -> None:
    """What is not there counts as zeros in old checkpoints: tensorstore would make room for it."""
    source = open_item(files(item(tmp_path), ZARRAY | ZSTD | BOMBS[bomb]))
    for read in (lambda: source.read("w"), source.read_all):
        with pytest.raises(
            CorruptCheckpoint, match=r"arrays claim more than .* 'w', float|'w' claims"
        ):
            read()


@pytest.mark.parametrize("codec", ["zstd", "zlib"])
def test_a_compressed_chunk_that_is_none(codec: str, tmp_path: Path) -> None:
    """The one is read here, the other by tensorstore."""
    source = open_item(files(item(tmp_path), ZARRAY | {"compressor": {"id": codec, "level": 1}}))
    message = "the chunk '0.0' of 'w' is not a zstd frame: |tensorstore cannot read 'w': "
    with pytest.raises(CorruptCheckpoint, match=message) as caught:
        source.read("w")
    assert f"while reading {tmp_path}" in full_text(caught.value)
    with pytest.raises(CorruptCheckpoint, match=message):
        source.read_all()


def test_room_that_there_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "empty", full_memory)
    with pytest.raises(UnsupportedCheckpoint, match=r"'w', float32 \(2, 3\), does not fit: none"):
        open_item(files(item(tmp_path))).read("w")


def full_memory(*_: Any) -> Any:
    raise MemoryError("none")


@pytest.mark.parametrize("sparse", [True, False])
def test_chunks_of_zeros_that_old_versions_left_out(sparse: bool, tmp_path: Path) -> None:
    item(tmp_path, store_array_data_equal_to_fill_value=not sparse)
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / ".zarray").write_text(json.dumps(ZARRAY | ZSTD | {"fill_value": 0}))
    outcome = "zeros" if sparse else "refused"
    assert outcome_of(open_item(tmp_path)) == outcome


def outcome_of(source: Any) -> str:
    try:
        return "zeros" if source.read("w").tolist() == [[0] * 3] * 2 else "others"
    except CorruptCheckpoint:
        return "refused"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=5), some),
    max_leaves=5,
)


@given(st.sampled_from(sorted(ZARRAY)), JSON)
def test_any_zarray_is_read_or_refused(key: str, value: Any) -> None:
    assert refused_or_read(lambda: parse_layout(json.dumps(ZARRAY | {key: value}).encode(), 2, "w"))


@given(st.sampled_from(sorted(ZARR_JSON)), JSON)
def test_any_zarr_json_is_read_or_refused(key: str, value: Any) -> None:
    raw = json.dumps(ZARR_JSON | {key: value}).encode()
    assert refused_or_read(lambda: parse_layout(raw, 3, "w"))


@given(JSON, JSON)
def test_any_tree_is_read_or_refused(leaves: Any, custom: Any) -> None:
    said = {"tree_metadata": {"a": leaves, "b": leaf("b")}, "custom_metadata": custom}
    assert refused_or_read(lambda: tree_of(said, {}))


def refused_or_read(read: Any) -> bool:
    """Return True; anything but CheckpointError that comes out of *read* fails the test."""
    try:
        read()
    except CheckpointError:
        return True
    return True


def test_untrusted_files_are_read_in_a_child(tmp_path: Path) -> None:
    files(item(tmp_path))
    with formats.open_source(tmp_path, untrusted=True) as source:
        assert source.read("w").tolist() == [[0, 1, 2], [3, 4, 5]]


def test_what_a_stopped_save_left_is_no_item(tmp_path: Path) -> None:
    # Beside one checkpoint, each that was left would be read as another item of it.
    formats.save_source(DictSource({"w": np.ones(2)}), tmp_path / "m.orbax")
    shutil.copytree(tmp_path / "m.orbax", tmp_path / ".m.orbax.1-ab.warmstart-tmp")
    with formats.open_source(tmp_path) as source:
        assert not [name for name in source.specs if "warmstart-tmp" in name]
