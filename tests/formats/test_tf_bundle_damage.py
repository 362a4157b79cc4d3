"""A small bundle of two data files, changed and cut at every byte: read or refused."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from warmstart import formats
from warmstart.binary.checksum import crc32c, mask
from warmstart.binary.table import write_table
from warmstart.binary.wire import bytes_field, number_field
from warmstart.errors import CheckpointError
from warmstart.formats.tf_bundle.protos import Entry, Header, Slice, encode_entry, encode_header
from warmstart.formats.tf_bundle.slices import slice_key
from warmstart.formats.tf_bundle.strings import encode_strings
from warmstart.testing.reading import same

HALVES = (Slice((0,), (2,)), Slice((2,), (2,)))


def values(number: int) -> np.ndarray:
    return np.arange(number, number + 2, dtype=np.float32)


def two_shards(folder: Path) -> Path:
    """Write a bundle with strings, a scalar, an empty tensor, tensors alike, and one in pieces."""
    strings, crc = encode_strings([b"hello", b"", b"tf"])
    first, second = bytearray(strings), bytearray(b"?")  # the second file's are not aligned
    entries = {
        "strings": Entry("string", (3,), 0, 0, len(strings), mask(crc)),
        "empty": Entry("int64", (0, 4), 1, 1, 0, mask(0)),
    }

    def add(name: str, array: np.ndarray, data: bytearray, shard: int) -> None:
        crc = mask(crc32c(array.tobytes()))
        place = shard, len(data), array.nbytes, crc
        entries[name] = Entry(str(array.dtype), array.shape, *place)
        data += array.tobytes()

    add("scalar", np.array(7, np.int32), second, 1)
    for number in range(20):
        add(f"alike{number:02}", values(number), (first, second)[number % 2], number % 2)
    pieces = {}
    for number, half in enumerate(HALVES):
        add("half", values(number), second, 1)
        pieces[slice_key(b"whole", half)] = encode_entry(entries.pop("half"))
    extents = [bytes_field(1, number_field(1, h.starts[0]) + number_field(2, 2)) for h in HALVES]
    whole = encode_entry(Entry("float32", (4,))) + b"".join(bytes_field(7, e) for e in extents)
    items = {b"": encode_header(Header(2)), b"whole": whole, **pieces}
    items |= {name.encode(): encode_entry(entry) for name, entry in entries.items()}
    (folder / "m.index").write_bytes(write_table(sorted(items.items())))
    (folder / "m.data-00000-of-00002").write_bytes(first)
    (folder / "m.data-00001-of-00002").write_bytes(second)
    return folder / "m"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return two_shards(tmp_path)


def read_all(prefix: Path, *, verify: bool = True) -> dict[str, np.ndarray]:
    with formats.open_source(prefix, verify=verify) as source:
        assert all(spec.nbytes >= 0 for spec in source.specs.values())
        return source.read_all()


def outcome(prefix: Path, *, verify: bool = True) -> dict[str, np.ndarray] | None:
    """Return what is read, or None where it is refused; nothing else may come of bytes."""
    try:
        return read_all(prefix, verify=verify)
    except CheckpointError:
        return None


def variants(whole: bytes) -> Iterator[bytes]:
    """Yield *whole* with each byte changed in three ways."""
    for at, byte in enumerate(whole):
        for flip in (0x01, 0x80, 0xFF):
            yield whole[:at] + bytes([byte ^ flip]) + whole[at + 1 :]


FILES = ["m.index", "m.data-00000-of-00002", "m.data-00001-of-00002"]


def test_the_bundle_itself(bundle: Path) -> None:
    found = read_all(bundle)
    assert found["strings"].tolist() == [b"hello", b"", b"tf"]
    assert found["scalar"].shape == ()
    assert found["empty"].shape == (0, 4)
    np.testing.assert_array_equal(found["alike13"], values(13))
    np.testing.assert_array_equal(found["whole"], [0, 1, 1, 2])


@pytest.mark.parametrize("file", FILES)
def test_a_changed_byte_never_changes_what_is_read(file: str, bundle: Path) -> None:
    whole, path = read_all(bundle), bundle.with_name(file)
    for changed in variants(path.read_bytes()):
        path.unlink()
        path.write_bytes(changed)
        found = outcome(bundle)
        assert found is None or same(found, whole)


@pytest.mark.parametrize("file", FILES)
def test_a_changed_byte_is_read_or_refused_unverified(file: str, bundle: Path) -> None:
    path = bundle.with_name(file)
    outcomes = set()
    for changed in variants(path.read_bytes()):
        path.unlink()
        path.write_bytes(changed)
        outcomes.add(type(outcome(bundle, verify=False)))
    assert dict in outcomes


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("file", FILES)
def test_every_truncation_is_refused(file: str, verify: bool, bundle: Path) -> None:
    path = bundle.with_name(file)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.unlink()
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError):
            read_all(bundle, verify=verify)


def test_bytes_behind_the_tensors_are_no_fault(bundle: Path) -> None:
    before = read_all(bundle)
    with bundle.with_name(FILES[1]).open("ab") as file:
        file.write(b"padding")
    assert same(read_all(bundle), before)
