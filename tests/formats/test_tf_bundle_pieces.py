"""Parts of tensors: of what is stored in pieces, as strings or in the other byte order."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from warmstart import formats
from warmstart.binary.checksum import crc32c, mask
from warmstart.binary.table import write_table
from warmstart.binary.window import PlainFile
from warmstart.binary.wire import bytes_field, number_field
from warmstart.errors import CheckpointNotFound, CorruptCheckpoint
from warmstart.formats import tf_bundle
from warmstart.formats.tf_bundle.protos import Entry, Header, Slice, encode_entry, encode_header
from warmstart.formats.tf_bundle.slices import slice_key
from warmstart.formats.tf_bundle.strings import encode_strings
from warmstart.source import DictSource, Source

ROWS = np.arange(40, dtype=np.float32).reshape(10, 4)
HALVES = (Slice((0, 0), (5, -1)), Slice((5, 0), (5, -1)))


def in_pieces(dtype: str, shape: tuple[int, ...], slices: tuple[Slice, ...]) -> bytes:
    """Return the entry of a tensor stored in *slices*, encoded."""
    whole = encode_entry(Entry(dtype, shape))
    for piece in slices:
        extents = b""
        for start, length in zip(*piece, strict=True):
            extents += bytes_field(1, number_field(1, start) + number_field(2, length % 2**64))
        whole += bytes_field(7, extents)
    return whole


def written(folder: Path, entries: Mapping[bytes, bytes], files: list[bytes], count: int) -> Path:
    """Write a bundle of encoded *entries* and the first *files* of *count*."""
    header = encode_header(Header(count))
    (folder / "m.index").write_bytes(write_table([(b"", header), *sorted(entries.items())]))
    for shard, data in enumerate(files):
        (folder / f"m.data-{shard:05}-of-{count:05}").write_bytes(data)
    return folder / "m"


def two_halves(folder: Path, *, shards: int = 2, damaged: bool = False) -> Path:
    """Write ROWS as two halves in two data files, of which *shards* are there."""
    half = [ROWS[:5].tobytes(), ROWS[5:].tobytes()]
    places = [Entry("float32", (5, 4), n, 0, 80, mask(crc32c(half[n]))) for n in (0, 1)]
    entries = {b"x": in_pieces("float32", (10, 4), HALVES)}
    entries |= {slice_key(b"x", HALVES[n]): encode_entry(places[n]) for n in (0, 1)}
    if damaged:
        half[1] = half[1][:-1] + b"!"
    return written(folder, entries, half[:shards], 2)


INDICES: dict[str, Any] = {
    "row": 3,
    "last": -1,
    "few": slice(1, 3),
    "across": (slice(3, 8), slice(1, 3)),
    "back": slice(7, 2, -2),
    "column": (..., 2),
    "picked": [1, 8],
    "new": (None, 4),
    "nothing": slice(4, 4),
}


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("index", INDICES)
def test_a_part_of_a_tensor_in_pieces(index: str, mmap: bool, tmp_path: Path) -> None:
    with formats.open_source(two_halves(tmp_path), mmap=mmap) as source:
        found = source.read_slice("x", INDICES[index])
    np.testing.assert_array_equal(found, ROWS[INDICES[index]], strict=True)


def test_a_part_reads_only_the_pieces_that_it_touches(tmp_path: Path) -> None:
    with formats.open_source(two_halves(tmp_path, damaged=True)) as source:
        np.testing.assert_array_equal(source.read_slice("x", slice(0, 5)), ROWS[:5])
        with pytest.raises(CorruptCheckpoint, match="the data are damaged"):
            source.read_slice("x", slice(0, 6))


def test_a_part_of_a_tensor_whose_other_piece_is_missing(tmp_path: Path) -> None:
    with formats.open_source(two_halves(tmp_path, shards=1)) as source:
        np.testing.assert_array_equal(source.read_slice("x", slice(1, 4)), ROWS[1:4])
        with pytest.raises(CheckpointNotFound, match="data-00001-of-00002 is not there"):
            source.read("x")
        with pytest.raises(CheckpointNotFound, match="1 tensor cannot be read, for want of:"):
            source.check(["x"])


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the sizes of what is read of plain files."""
    sizes: list[int] = []
    real = PlainFile.__getitem__

    def counted(file: PlainFile, part: slice) -> memoryview:
        sizes.append(part.stop - part.start)
        return real(file, part)

    monkeypatch.setattr(PlainFile, "__getitem__", counted)
    return sizes


def large(folder: Path) -> Path:
    """Write a tensor of 8 MB, its last byte changed."""
    tf_bundle.save_source(DictSource({"x": np.zeros((1000, 1000))}), folder / "m")
    data = folder / "m.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-1] + b"!")
    return folder / "m"


def test_a_part_of_a_large_tensor_costs_its_own_bytes(tmp_path: Path, reads: list[int]) -> None:
    with formats.open_source(large(tmp_path), mmap=False) as source:
        reads.clear()
        np.testing.assert_array_equal(source.read_slice("x", (7, slice(10, 20))), np.zeros(10))
    assert reads == [80]


def test_a_good_part_of_a_large_tensor_is_verified(tmp_path: Path) -> None:
    with (
        formats.open_source(large(tmp_path)) as source,
        pytest.raises(CorruptCheckpoint, match="the data are damaged"),
    ):
        source.read_slice("x", slice(0, 125))


def test_a_part_of_a_small_tensor_is_verified(tmp_path: Path) -> None:
    data = ROWS.tobytes()
    entry = encode_entry(Entry("float32", (10, 4), 0, 0, len(data), mask(crc32c(data))))
    with (
        formats.open_source(written(tmp_path, {b"x": entry}, [data[:-1] + b"!"], 1)) as source,
        pytest.raises(CorruptCheckpoint, match="the data are damaged"),
    ):
        source.read_slice("x", (0, 0))


def strings_in(prefix: Path, **options: Any) -> Source:
    """Open a bundle of six strings, written at *prefix*, with *options*."""
    words = [b"a", b"", b"ccc", b"dd", b"e", b"f" * 200]
    payload, crc = encode_strings(words)
    entry = encode_entry(Entry("string", (2, 3), 0, 0, len(payload), mask(crc)))
    written(prefix.parent, {b"s": entry}, [payload], 1)
    return formats.open_source(prefix, **options)


@pytest.mark.parametrize("index", [1, (1, 2), (0, slice(None, None, -1)), ..., ([1, 0], [0, 2])])
def test_a_part_of_strings(index: Any, tmp_path: Path) -> None:
    with strings_in(tmp_path / "m") as source:
        found, whole = source.read_slice("s", index), source.read("s")
    assert found.dtype == object
    assert found.tolist() == np.asarray(whole[index], object).tolist()


def test_a_part_of_a_big_endian_tensor(tmp_path: Path) -> None:
    data = ROWS.astype(">f4").tobytes()
    entry = encode_entry(Entry("float32", (10, 4), 0, 0, len(data), mask(crc32c(data))))
    header = encode_header(Header(1, big_endian=True))
    (tmp_path / "m.index").write_bytes(write_table([(b"", header), (b"x", entry)]))
    (tmp_path / "m.data-00000-of-00001").write_bytes(data)
    for verify in (True, False):
        with formats.open_source(tmp_path / "m", verify=verify) as source:
            found = source.read_slice("x", (slice(2, 9, 3), 1))
        np.testing.assert_array_equal(found, ROWS[2:9:3, 1], strict=True)


def test_an_index_whose_blocks_are_compressed(tmp_path: Path, compressed: Any) -> None:
    prefix = two_halves(tmp_path)
    index = prefix.with_name("m.index")
    index.write_bytes(compressed(index.read_bytes()))
    with formats.open_source(prefix) as source:
        assert list(source.specs) == ["x"]
        np.testing.assert_array_equal(source.read("x"), ROWS)
        assert list(source.unclaimed() or ()) == []
