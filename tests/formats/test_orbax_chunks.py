"""Arrays in compressed chunks and in shards, with tensorstore as the judge."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore as ts

from warmstart.binary.checksum import crc32c
from warmstart.errors import CorruptCheckpoint
from warmstart.formats import orbax as ours
from warmstart.formats.orbax import tensorstore_edge as edge

VALUES = np.arange(7 * 10, dtype=np.int32).reshape(7, 10)
LARGE = np.random.default_rng(0).standard_normal((300, 301))  # chunks go to threads

ZSTD2 = {"compressor": {"id": "zstd", "level": 1}}
BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
ZSTD3 = {"name": "zstd", "configuration": {"level": 3}}


def sharded(chunks: list[int], *codecs: Any, **more: Any) -> dict[str, Any]:
    index = [BYTES, {"name": "crc32c"}]
    said = {"chunk_shape": chunks, "codecs": list(codecs), "index_codecs": index, **more}
    return {"codecs": [{"name": "sharding_indexed", "configuration": said}]}


def zarr3(chunks: list[int], said: dict[str, Any]) -> dict[str, Any]:
    return {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}}, **said}


BIG = {"name": "bytes", "configuration": {"endian": "big"}}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "zarr 2": ("zarr", {"chunks": [3, 4], **ZSTD2}),
    "zarr 2, rows": ("zarr", {"chunks": [2, 10], **ZSTD2}),
    "zarr 2, one": ("zarr", {"chunks": [7, 10], **ZSTD2}),
    "zarr 2, other byte order": ("zarr", {"chunks": [2, 10], "dtype": ">", **ZSTD2}),
    "zarr 3": ("zarr3", zarr3([3, 4], {"codecs": [BYTES, ZSTD3]})),
    "zarr 3, other byte order": ("zarr3", zarr3([7, 10], {"codecs": [BIG, ZSTD3]})),
    "shards": ("zarr3", zarr3([4, 6], sharded([2, 3], BYTES, ZSTD3))),
    "shards, index first": (
        "zarr3", zarr3([4, 6], sharded([2, 3], BYTES, ZSTD3, index_location="start"))
    ),
    "shards, not compressed": ("zarr3", zarr3([4, 6], sharded([4, 6], BYTES))),
}  # fmt: skip


def item(folder: Path, kind: str, values: np.ndarray = VALUES, *, sparse: bool = True) -> Path:
    """Let tensorstore write *values* as the array "w" of an item in *folder*."""
    key = {"key": "w", "key_type": 2}
    leaf = {"key_metadata": [key], "value_metadata": {"value_type": "np.ndarray"}}
    tree = {"tree_metadata": {"w": leaf}, "store_array_data_equal_to_fill_value": not sparse}
    (folder / "_METADATA").write_text(json.dumps(tree))
    driver, said = KINDS[kind]
    said = {"shape": list(values.shape), **said}
    if driver == "zarr":
        said["dtype"] = said.get("dtype", "<") + values.dtype.str[1:]
    else:
        said["data_type"] = values.dtype.name
    store = {"driver": "file", "path": f"{folder}/w/"}
    spec = {"driver": driver, "kvstore": store, "metadata": said, "create": True}
    ts.open(spec).result().write(values).result()
    return folder


@pytest.fixture(autouse=True)
def no_tensorstore(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be read by the judge itself."""
    monkeypatch.setattr(edge, "read_one", None)
    monkeypatch.setattr(edge, "tensorstore", None)


def opened(folder: Path) -> Any:
    return ours.open_source(folder, verify=True)


@pytest.mark.parametrize("kind", KINDS)
def test_what_tensorstore_writes_is_read(kind: str, tmp_path: Path) -> None:
    source = opened(item(tmp_path, kind))
    for found in (source.read("w"), source.read_all()["w"]):
        np.testing.assert_array_equal(found, VALUES)
        assert found.dtype == VALUES.dtype
    for index in [(3, 4), (slice(1, 6, 2), slice(-1, None, -3)), (..., 0), slice(0, 0)]:
        np.testing.assert_array_equal(source.read_slice("w", index), VALUES[index])


@pytest.mark.parametrize("chunks", [[100, 301], [128, 100], [300, 301]], ids=str)
def test_large_chunks_are_read_in_threads(
    chunks: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KINDS, "large", ("zarr", {"chunks": chunks, **ZSTD2}))
    source = opened(item(tmp_path, "large", LARGE))
    np.testing.assert_array_equal(source.read("w"), LARGE)
    np.testing.assert_array_equal(source.read_slice("w", slice(90, 110)), LARGE[90:110])


@pytest.mark.parametrize("kind", ["zarr 2", "zarr 3", "shards"])
def test_chunks_of_zeros_are_left_out(kind: str, tmp_path: Path) -> None:
    values = VALUES * (VALUES % 10 > 5) * (VALUES < 30)
    np.testing.assert_array_equal(opened(item(tmp_path, kind, values)).read("w"), values)


def test_a_scalar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "scalar", ("zarr", {"chunks": [], **ZSTD2}))
    source = opened(item(tmp_path, "scalar", np.array(5)))
    assert source.read("w") == source.read_slice("w", ...) == 5


# --- shards from hostile hands ----------------------------------------------------------------


def shard(folder: Path) -> Path:
    return item(folder, "shards") / "w" / "c" / "0" / "0"


def refused(folder: Path, raw: bytes, message: str) -> None:
    """Put *raw* in the place of the first shard, which then is refused with *message*."""
    (folder / "w" / "c" / "0" / "0").write_bytes(raw)
    with pytest.raises(CorruptCheckpoint, match=message):
        opened(folder).read("w")


def test_a_shard_without_its_index(tmp_path: Path) -> None:
    shard(tmp_path)
    refused(tmp_path, bytes(67), r"'c/0/0' of 'w' has 67 bytes; the index of its 4 chunks takes 68")


def test_a_shard_whose_index_changed(tmp_path: Path) -> None:
    raw = bytearray(shard(tmp_path).read_bytes())
    raw[-10] ^= 1
    refused(tmp_path, raw, "the CRC-32C of the index of the chunk 'c/0/0' of 'w' is wrong")


def test_a_chunk_outside_its_shard(tmp_path: Path) -> None:
    """What follows in the file, another array perhaps, would be read as this one's."""
    shard(tmp_path)
    index = np.array([[0, 2**40]] * 4, "<u8").tobytes()
    crc = np.array(crc32c(index), "<u4").tobytes()
    refused(tmp_path, index + crc, rf"chunk 0 in the chunk .* lie at bytes 0 to {2**40} of 68")
