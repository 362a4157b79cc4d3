"""Entries that claim what their data files cannot hold: refused before room is made for them."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from warmstart import formats
from warmstart.binary.checksum import crc32c, mask
from warmstart.binary.table import write_table
from warmstart.binary.wire import bytes_field
from warmstart.errors import CheckpointNotFound, CorruptCheckpoint, UnsupportedCheckpoint, full_text
from warmstart.files.convert import convert
from warmstart.files.dump import dump
from warmstart.files.verify import verify
from warmstart.formats import tf_bundle
from warmstart.formats.tf_bundle.protos import Entry, Header, encode_entry, encode_header
from warmstart.source import DictSource

Bundle = Callable[..., Path]


def placed(begin: int, size: int, shard: int = 0) -> Entry:
    """Return the entry of *size* zeros at *begin*."""
    return Entry("uint8", (size,), shard, begin, size, mask(crc32c(bytes(size))))


HUGE = Entry("float32", (1 << 48,), 0, 0, 1 << 50)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """Return the writer of a bundle of 16 zeros, whose entries are taken as they come."""

    def write(entries: Mapping[str, Entry | bytes], shards: int = 1) -> Path:
        encoded = {
            name.encode(): entry if isinstance(entry, bytes) else encode_entry(entry)
            for name, entry in entries.items()
        }
        header = encode_header(Header(shards))
        (tmp_path / "m.index").write_bytes(write_table([(b"", header), *sorted(encoded.items())]))
        (tmp_path / f"m.data-00000-of-{shards:05}").write_bytes(bytes(16))
        return tmp_path / "m"

    return write


@pytest.mark.parametrize("write", [convert, dump])
@pytest.mark.parametrize("target", ["out", "out.npz", "out.safetensors"])
def test_a_petabyte_is_refused_before_it_is_reserved(
    target: str, write: Callable[..., object], bundle: Bundle, tmp_path: Path
) -> None:
    prefix = bundle({"x": HUGE, "y": placed(8, 9), "z": placed(0, 8)})
    with pytest.raises(CorruptCheckpoint) as caught:
        write(prefix, tmp_path / target)
    assert str(caught.value).splitlines() == [
        "2 tensors cannot be where the index says:",
        "  'x': its bytes end at 1125899906842624 of m.data-00000-of-00001, which has 16: "
        "the file was cut short",
        "  'y': its bytes end at 17 of m.data-00000-of-00001, which has 16: the file was cut short",
    ]
    assert f"while reading {prefix}" in full_text(caught.value)
    assert not list(tmp_path.glob("out*"))


CLAIMS = {
    "'x': it has 16 bytes, where float32 (281474976710656,) takes": HUGE._replace(size=16),
    "'x': it is said to be in data file 7 of 1": placed(0, 4, shard=7),
    "'x': float32 (281474976710656,) is larger than the 16 bytes of the data files": encode_entry(
        HUGE
    )
    + bytes_field(7, bytes_field(1, b"")),
}


@pytest.mark.parametrize("message", CLAIMS)
def test_what_no_file_has_is_refused(message: str, bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(CorruptCheckpoint, match=re.escape(message)):
        convert(bundle({"x": CLAIMS[message]}), tmp_path / "out")


def test_what_is_dropped_is_not_looked_at(bundle: Bundle, tmp_path: Path) -> None:
    prefix = bundle({"x": HUGE, "y": placed(0, 4), "z": placed(0, 4, shard=1)}, shards=2)
    convert(prefix, tmp_path / "out.npz", rules=["drop x", "drop z"])
    with formats.open_source(tmp_path / "out.npz") as source:
        assert list(source.specs) == ["y"]


def test_a_data_file_that_is_not_there(bundle: Bundle, tmp_path: Path) -> None:
    prefix = bundle({"x": placed(0, 4, shard=1)}, shards=2)
    with pytest.raises(
        CheckpointNotFound, match=r"1 tensor cannot be read, for want of:\n  .*-00002: x"
    ):
        convert(prefix, tmp_path / "out")


def test_all_that_is_missing_is_named_at_once(bundle: Bundle, tmp_path: Path) -> None:
    entries = {f"layer{i}/{n}": placed(0, 4, shard=i) for i in range(3) for n in "wb"}
    prefix = bundle({**entries, "here": placed(0, 4)}, shards=4)
    lines = [
        "4 tensors cannot be read, for want of:",
        f"  {prefix}.data-00001-of-00004: layer1/{{b,w}}",
        f"  {prefix}.data-00002-of-00004: layer2/{{b,w}}",
    ]
    with formats.open_source(prefix) as source:
        assert len(source.specs) == 7
        np.testing.assert_array_equal(source.read("here"), np.zeros(4, np.uint8))
        for attempt in (source.read_all, lambda: source.check(source.specs)):
            with pytest.raises(CheckpointNotFound) as caught:
                attempt()
            assert str(caught.value).splitlines() == lines
        source.check(["here", "layer0/w"])
    assert [str(fault) for fault in verify(prefix).faults] == [
        f"layer{i}/{{b,w}}: its data file {prefix}.data-0000{i}-of-00004 is not there"
        for i in (1, 2)
    ]


def test_bytes_that_belong_to_no_tensor(bundle: Bundle) -> None:
    rest = bundle({"x": placed(0, 4), "y": placed(8, 4), "z": placed(10, 2, shard=1)}, shards=2)
    data = rest.with_name("m.data-00000-of-00002")
    data.write_bytes(b"\0" * 4 + b"hide" + b"\0" * (4 + 64))
    with formats.open_source(rest) as source:
        assert list(source.unclaimed() or ()) == [
            "bytes 4 to 8 of m.data-00000-of-00002",
            "bytes 12 to 76 of m.data-00000-of-00002",
        ]


def test_padding_is_accounted_for(tmp_path: Path) -> None:
    arrays = {"a": np.zeros(1), "b": np.ones((3, 5)), "none": np.zeros(0), "s": np.array([b"x"])}
    tf_bundle.save_source(DictSource(arrays, roles={"a": "slot"}), tmp_path / "m")
    with formats.open_source(tmp_path / "m") as source:
        assert list(source.unclaimed() or ()) == []


OVERLAPS = {"a": placed(0, 9), "b": placed(4, 4), "c": placed(8, 8), "d": placed(16, 0)}
LINES = [
    "2 tensors overlap another:",
    "  'b', bytes 4 to 8 of data file 0, and 'a', bytes 0 to 9",
    "  'c', bytes 8 to 16 of data file 0, and 'a', bytes 0 to 9",
]


def test_tensors_that_overlap_partly_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(CorruptCheckpoint) as caught:
        convert(bundle(OVERLAPS), tmp_path / "out")
    assert str(caught.value).splitlines() == LINES


def test_verify_finds_an_overlap(bundle: Bundle) -> None:
    found = verify(bundle(OVERLAPS))
    assert [fault.what.splitlines() for fault in found.faults] == [LINES]


def test_one_place_may_have_several_names(bundle: Bundle, tmp_path: Path) -> None:
    prefix = bundle({"a": placed(0, 8), "b": placed(0, 8), "c": placed(8, 8), "d": placed(4, 0)})
    convert(prefix, tmp_path / "out.npz")
    assert verify(prefix).sound
    with formats.open_source(tmp_path / "out.npz") as source:
        np.testing.assert_array_equal(source.read("b"), np.zeros(8, np.uint8))


NO_ARRAYS = {"v": 21, "r": 20, "n": 99}


def test_what_is_no_array_is_warned_of_once(
    bundle: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    uint8 = encode_entry(placed(8, 4))
    odd = {name: uint8.replace(b"\x08\x04", bytes([8, n]), 1) for name, n in NO_ARRAYS.items()}
    convert(bundle({"a": placed(0, 4), **odd}), tmp_path / "out")
    assert caplog.messages == [
        "3 tensors left out, being no arrays: n (dtype 99), r (resource), v (variant)"
    ]


def test_what_is_no_array_is_refused_when_it_is_asked_for(bundle: Bundle) -> None:
    prefix = bundle({"a": placed(0, 4), "v": encode_entry(placed(0, 4)).replace(b"\4", b"\x15", 1)})
    with formats.open_source(prefix) as source:
        assert ("a" in source.specs, "v" in source.specs, source.specs.get("v")) == (
            True,
            False,
            None,
        )
        with pytest.raises(
            UnsupportedCheckpoint, match="a tensor has the dtype variant: it is no a"
        ):
            source.read("v")
        assert list(source.unclaimed() or ()) == []
