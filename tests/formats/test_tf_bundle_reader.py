"""Reading bundles: lazily, verified once, without a copy; and bundles that break the rules."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from warmstart import formats
from warmstart.binary import checksum
from warmstart.binary.checksum import crc32c, mask
from warmstart.binary.table import Table, write_table
from warmstart.binary.wire import bytes_field, number_field
from warmstart.errors import (
    CheckpointError,
    CheckpointNotFound,
    CorruptCheckpoint,
    NoSuchTensor,
    UnsupportedCheckpoint,
    full_text,
)
from warmstart.formats import tf_bundle
from warmstart.formats.notes import Notes, encode
from warmstart.formats.tf_bundle import reader, values
from warmstart.formats.tf_bundle.protos import (
    Entry,
    Header,
    Heads,
    Slice,
    decode_entry,
    encode_entry,
    encode_header,
)
from warmstart.formats.tf_bundle.slices import slice_key
from warmstart.formats.tf_bundle.strings import encode_strings
from warmstart.source import DictSource, Source

FOUR = np.float32([1, 2, 3, 4])
CRC = mask(crc32c(FOUR))


def written(
    folder: Path,
    entries: dict[str | bytes, Entry | bytes],
    data: bytes = FOUR.tobytes(),
    shards: int = 1,
) -> Path:
    """Write a bundle of *entries*, encoded or not, as they are."""
    items = {b"": encode_header(Header(shards))}
    for name, entry in entries.items():
        key = name if isinstance(name, bytes) else name.encode()
        items[key] = entry if isinstance(entry, bytes) else encode_entry(entry)
    (folder / "m.index").write_bytes(write_table(sorted(items.items())))
    (folder / f"m.data-00000-of-{shards:05}").write_bytes(data)
    return folder / "m"


def sliced(dtype: str, shape: tuple[int, ...], *pieces: Slice) -> bytes:
    """Return the entry of a tensor in *pieces*, encoded."""
    whole = encode_entry(Entry(dtype, shape))
    for piece in pieces:
        extents = b""
        for start, length in zip(*piece, strict=True):
            extents += bytes_field(1, number_field(1, start) + number_field(2, length % 2**64))
        whole += bytes_field(7, extents)
    return whole


def refused(prefix: Path, name: str = "x", *, verify: bool = True) -> CheckpointError:
    """Return what is raised alike by reading the tensor *name* and by reading all."""
    with formats.open_source(prefix, verify=verify) as source:
        with pytest.raises(CheckpointError) as first:
            source.read(name)
        with pytest.raises(CheckpointError) as second:
            source.read_all()
    assert full_text(first.value) == full_text(second.value)
    return first.value


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Return the sizes of the tensors that were hashed."""
    sizes: list[int] = []

    def counted(data: Any) -> int:
        sizes.append(len(data))
        return checksum.crc32c_of(data)

    monkeypatch.setattr(values, "crc32c_of", counted)
    return sizes


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tf_bundle.save_source(
        DictSource({"a": FOUR, "b": FOUR + 1, "s": np.array([b"x"])}), tmp_path / "m"
    )
    return tmp_path / "m"


def test_a_checksum_is_checked_at_the_first_read(model: Path, hashed: list[int]) -> None:
    with formats.open_source(model) as source:
        assert hashed == []
        for _ in range(3):
            source.read("a")
            source.read_slice("a", 0)
        assert hashed == [16]


def test_no_checksum_is_checked_unverified(model: Path, hashed: list[int]) -> None:
    with formats.open_source(model, verify=False) as source:
        source.read("a")
        source.read_all()
    assert hashed == []


def test_arrays_are_read_only_views_of_the_file(model: Path) -> None:
    with formats.open_source(model) as source:
        first, again = source.read("a"), source.read("a")
    assert np.shares_memory(first, again)
    assert not first.flags.writeable
    assert first.ctypes.data % 64 == 0


def test_all_at_once_are_views_too(tmp_path: Path) -> None:
    arrays = {f"w{i}": np.full(5, i) for i in range(50)}
    tf_bundle.save_source(DictSource(arrays), tmp_path / "m")
    with formats.open_source(tmp_path / "m") as source:
        found = source.read_all()
        assert all(np.shares_memory(found[name], source.read(name)) for name in arrays)
    assert not any(array.flags.writeable for array in found.values())


def test_misaligned_tensors_are_copied(tmp_path: Path) -> None:
    entry = Entry("float32", (4,), 0, 1, 16, CRC)
    prefix = written(tmp_path, {"x": entry}, b"?" + FOUR.tobytes())
    with formats.open_source(prefix) as source:
        found = source.read("x")
        np.testing.assert_array_equal(source.read_slice("x", slice(1, 3)), FOUR[1:3])
    np.testing.assert_array_equal(found, FOUR)
    assert found.flags.aligned


def test_opening_and_listing_import_no_numpy(model: Path) -> None:
    code = (
        "import sys; from warmstart import formats\n"
        f"with formats.open_source({str(model)!r}) as source: print(len(source.specs))\n"
        "print('numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "False"]


def test_one_name_is_found_without_decoding_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tf_bundle.save_source(DictSource({f"w{i}": FOUR for i in range(9000)}), tmp_path / "m")

    def refuse(table: Table) -> None:
        raise AssertionError("all blocks of the table were asked for")

    monkeypatch.setattr(Table, "blocks", refuse)
    with formats.open_source(tmp_path / "m") as source:
        assert str(source.specs["w7777"]) == "float32 (4,)"
        assert "w9001" not in source.specs
        assert 7 not in source.specs
        np.testing.assert_array_equal(source.read("w7777"), FOUR)


def test_specs_are_a_mapping(model: Path) -> None:
    with formats.open_source(model) as source:
        assert list(source.specs) == list(source.specs.keys()) == ["a", "b", "s"]
        assert dict(source.specs.items()) == {n: source.specs[n] for n in source.specs}
        assert [spec.name for spec in source.specs.values()] == ["a", "b", "s"]
        with pytest.raises(KeyError, match="absent"):
            source.specs["absent"]
        assert "\ud800" not in source.specs


def test_tensors_are_read_in_the_order_of_the_file(tmp_path: Path) -> None:
    late, early = Entry("float32", (2,), 0, 8, 8), Entry("float32", (2,), 0, 0, 8)
    prefix = written(tmp_path, {"a": late, "b": early})
    with formats.open_source(prefix, verify=False) as source:
        assert list(source.read_order()) == ["b", "a"]


@pytest.fixture
def replaced(model: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a call that lets another process save over *model* so many times during an open."""
    real = reader.file_bytes

    def let(times: int) -> None:
        saves = iter([lambda: tf_bundle.save_source(DictSource({"a": FOUR * 9}), model)] * times)

        def map_and_save(path: Path, *, mmap: bool) -> Any:
            mapped = real(path, mmap=mmap)
            next(saves, lambda: None)()
            return mapped

        monkeypatch.setattr(reader, "file_bytes", map_and_save)

    return let


def test_a_bundle_that_is_replaced_while_it_is_opened(
    model: Path, replaced: Callable[[int], None]
) -> None:
    replaced(2)
    with formats.open_source(model) as source:
        np.testing.assert_array_equal(source.read("a"), FOUR * 9)


def test_a_bundle_that_is_replaced_again_and_again(
    model: Path, replaced: Callable[[int], None]
) -> None:
    replaced(3)
    with pytest.raises(CheckpointNotFound, match=r"index is there, but none of its . data files"):
        formats.open_source(model)


def test_a_missing_shard_matters_when_it_is_read(tmp_path: Path) -> None:
    entries = {
        "x": Entry("float32", (4,), 1, 0, 16, CRC),
        "y": Entry("float32", (4,), 0, 0, 16, CRC),
    }
    prefix = written(tmp_path, entries, shards=2)
    with formats.open_source(prefix) as source:
        np.testing.assert_array_equal(source.read("y"), FOUR)
        with pytest.raises(
            CheckpointNotFound, match=r"m\.data-00001-of-00002 is not there"
        ) as caught:
            source.read("x")
    assert "in tensor 'x'" in full_text(caught.value)


BAD_ENTRIES: dict[str, tuple[Entry | bytes, type[CheckpointError], str]] = {
    "damaged": (Entry("float32", (4,), 0, 0, 16, 1), CorruptCheckpoint, "where 0x00000001 was wri"),
    "too large": (Entry("float32", (5,), 0, 0, 20), CorruptCheckpoint, "bytes end at 20 of m.data"),
    "too far": (Entry("float32", (4,), 0, 9, 16), CorruptCheckpoint, "which has 16: the file was"),
    "shard": (Entry("float32", (4,), 7, 0, 16), CorruptCheckpoint, "in data file 7 of 1, counted"),
    "size": (
        Entry("float32", (4,), 0, 0, 12),
        CorruptCheckpoint,
        r"has 12 bytes, where float32 \(",
    ),
    "petabyte": (Entry("float32", (1 << 48,), 0, 0, 1 << 50), CorruptCheckpoint, "cut short"),
    "sides": (
        Entry("int8", (0,) + (1,) * 64, 0, 0, 0, mask(0)),
        UnsupportedCheckpoint,
        "NumPy cannot hold",
    ),
    "strings": (Entry("string", (1 << 40,), 0, 0, 16), CorruptCheckpoint, "1099511627776 strings"),
}


@pytest.mark.parametrize("fault", BAD_ENTRIES)
def test_entries_that_cannot_be_right(fault: str, tmp_path: Path) -> None:
    entry, kind, message = BAD_ENTRIES[fault]
    error = refused(written(tmp_path, {"x": entry}))
    assert type(error) is kind
    assert re.search(message, str(error))


@pytest.mark.parametrize("count", [1, 100])
def test_a_damaged_tensor_among_many_is_named(count: int, tmp_path: Path) -> None:
    sound = Entry("float32", (4,), 0, 0, 16, CRC)
    entries = dict.fromkeys((f"w{i:03}" for i in range(count)), sound)
    prefix = written(tmp_path, {**entries, "x": sound._replace(crc=1)})
    assert "in tensor 'x'" in full_text(refused(prefix))


BAD_HEADERS = {
    b"": "the header states 0 shards",
    number_field(1, 1 << 40): "the header states 1099511627776 shards",
    number_field(1, 1) + number_field(2, 2): "the header states the byte order 2",
    number_field(1, 1) + bytes_field(3, number_field(2, 9)): "asks for a reader of version 9; this",
}


@pytest.mark.parametrize("header", BAD_HEADERS, ids=BAD_HEADERS.get)
def test_headers_that_cannot_be_right(header: bytes, tmp_path: Path) -> None:
    prefix = written(tmp_path, {b"": header})
    with pytest.raises(CheckpointError, match=BAD_HEADERS[header]):
        formats.open_source(prefix)


def test_a_table_that_is_no_index(model: Path) -> None:
    index = model.with_name("m.index")
    index.write_bytes(write_table([(b"other", b"table")]))
    with pytest.raises(CorruptCheckpoint, match="the table has no header: it is no index"):
        formats.open_source(model)


SHAPE = bytes_field(2, bytes_field(2, number_field(1, 4)))
PLACE = number_field(5, 16) + b"\x35" + CRC.to_bytes(4, "little")


def test_fields_in_any_order(tmp_path: Path) -> None:
    names = {"x": PLACE + SHAPE + number_field(1, 1), "y": number_field(1, 1) + PLACE + SHAPE}
    with formats.open_source(written(tmp_path, {**names})) as source:
        assert {n: str(s) for n, s in source.specs.items()} == dict.fromkeys("xy", "float32 (4,)")
        np.testing.assert_array_equal(source.read("x"), FOUR)
        np.testing.assert_array_equal(source.read_all()["y"], FOUR)


def test_a_reference_type_is_what_it_refers_to(tmp_path: Path) -> None:
    prefix = written(tmp_path, {"x": number_field(1, 101) + SHAPE + PLACE})
    with formats.open_source(prefix) as source:
        np.testing.assert_array_equal(source.read("x"), FOUR)


BAD_MESSAGES = {
    number_field(1, 99) + SHAPE: "a tensor has dtype 99, which is not known",
    number_field(1, 1) + bytes_field(2, b"\x18\x01"): "a tensor's rank is not known",
    number_field(1, 1) + bytes_field(2, b"\x10\x01"): "a dimension is a number where bytes are exp",
    number_field(1, 1)
    + bytes_field(2, bytes_field(2, bytes_field(1, b""))): "a dimension is bytes",
    number_field(1, 1)
    + bytes_field(2, bytes_field(2, number_field(1, 2**64 - 1))): "negative dimen",
    number_field(1, 1) + bytes_field(2, bytes_field(2, b"") * 255): "a shape has 255 dimensions",
    number_field(1, 1) + SHAPE + bytes_field(4, b""): "a tensor's place is bytes where a number",
    number_field(1, 1) + SHAPE + bytes_field(7, b""): "a slice has 0 dimensions, its tensor 1",
}


@pytest.mark.parametrize("message", BAD_MESSAGES, ids=BAD_MESSAGES.get)
def test_messages_that_cannot_be_right(message: bytes) -> None:
    with pytest.raises(CheckpointError, match=BAD_MESSAGES[message]):
        decode_entry(message, Heads())


def test_a_listing_names_the_tensor_it_cannot_list(tmp_path: Path) -> None:
    with (
        formats.open_source(written(tmp_path, {"x": SHAPE})) as source,
        pytest.raises(UnsupportedCheckpoint, match="dtype 0, which is not known") as caught,
    ):
        list(source.specs)
    assert "in tensor 'x'" in full_text(caught.value)


def test_a_variant_is_refused_by_name(tmp_path: Path) -> None:
    with (
        formats.open_source(written(tmp_path, {"x": number_field(1, 21) + SHAPE})) as source,
        pytest.raises(
            UnsupportedCheckpoint, match="a tensor has the dtype variant: it is no array"
        ),
    ):
        source.read("x")


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    with (
        formats.open_source(written(tmp_path, {b"w\xff": Entry("int8", (0,))})) as source,
        pytest.raises(CorruptCheckpoint, match=r"the name b'w\\xff' is not UTF-8 text"),
    ):
        list(source.specs)


ROWS = (Slice((0,), (2,)), Slice((2,), (2,)))


def pieces(*, dtype: str = "float32", shape: tuple[int, ...] = (2,)) -> dict[str | bytes, Entry]:
    """Return the entries of the two halves of x."""
    places = [(slice_key(b"x", row), 8 * number) for number, row in enumerate(ROWS)]
    half = [mask(crc32c(FOUR[:2])), mask(crc32c(FOUR[2:]))]
    return {
        key: Entry(dtype, shape, 0, at, 8, crc) for (key, at), crc in zip(places, half, strict=True)
    }


def test_pieces_make_a_whole(tmp_path: Path) -> None:
    prefix = written(tmp_path, {"x": sliced("float32", (4,), *ROWS), **pieces()})
    with formats.open_source(prefix) as source:
        assert list(source.specs) == ["x"]
        np.testing.assert_array_equal(source.read("x"), FOUR)
        np.testing.assert_array_equal(source.read_slice("x", slice(1, 3)), FOUR[1:3])
        np.testing.assert_array_equal(source.read_all()["x"], FOUR)


def test_pieces_that_overlap_are_fine(tmp_path: Path) -> None:
    whole = Slice((0,), (-1,))
    entries = {**pieces(), slice_key(b"x", whole): Entry("float32", (4,), 0, 0, 16, CRC)}
    prefix = written(tmp_path, {"x": sliced("float32", (4,), *ROWS, whole), **entries})
    with formats.open_source(prefix) as source:
        np.testing.assert_array_equal(source.read("x"), FOUR)


BAD_PIECES: dict[str, tuple[bytes, dict[str | bytes, Entry]]] = {
    "pieces leave 2 of 4 elements without": (sliced("float32", (4,), ROWS[0]), pieces()),
    "piece at (2,) is not there as float32 (2,)": (
        sliced("float32", (4,), *ROWS),
        dict(list(pieces().items())[:1]),
    ),
    "piece at (0,) is not there as float32 (2,)": (
        sliced("float32", (4,), *ROWS),
        pieces(dtype="int32"),
    ),
    "which is not inside (4,)": (sliced("float32", (4,), Slice((3,), (2,))), {}),
    "float32 (1125899906842624,) is larger than the 16 bytes": (
        sliced("float32", (1 << 50,), *ROWS),
        pieces(),
    ),
}


@pytest.mark.parametrize("message", BAD_PIECES)
def test_pieces_that_cannot_be_right(message: str, tmp_path: Path) -> None:
    entry, rest = BAD_PIECES[message]
    error = refused(written(tmp_path, {"x": entry, **rest}))
    assert type(error) is CorruptCheckpoint
    assert message in str(error)


def test_a_damaged_piece(tmp_path: Path) -> None:
    data = bytearray(FOUR.tobytes())
    data[9] ^= 1
    prefix = written(tmp_path, {"x": sliced("float32", (4,), *ROWS), **pieces()}, bytes(data))
    assert "its checksum is" in str(refused(prefix))


def test_names_at_one_place_share_an_array(tmp_path: Path) -> None:
    entry = Entry("float32", (4,), 0, 1, 16, CRC)  # not aligned: a copy
    names = [f"x{i}" for i in range(1000)]
    prefix = written(tmp_path, dict.fromkeys(names, entry), b"?" + FOUR.tobytes())
    with formats.open_source(prefix) as source:
        found = source.read_all()
    assert len({id(array) for array in found.values()}) == 1


def test_tensors_that_overlap_otherwise_are_refused(tmp_path: Path) -> None:
    data = bytes(1 << 16)
    entries = {f"x{i}": Entry("float32", (1000,), 0, 2 * i + 1, 4000, 0) for i in range(100)}
    prefix = written(tmp_path, {**entries}, data)
    with (
        formats.open_source(prefix, verify=False) as source,
        pytest.raises(
            CorruptCheckpoint, match="take more than the 65536 bytes of the data files: t"
        ),
    ):
        source.read_all()


def strings_entry(payload: bytes, count: int, crc: int) -> dict[str | bytes, Entry | bytes]:
    return {"x": Entry("string", (count,), 0, 0, len(payload), mask(crc))}


def test_the_payload_of_strings() -> None:
    payload, crc = encode_strings([b"hello", b"", b"tf"])
    assert payload == bytes.fromhex("0500023aacdbc668656c6c6f7466")
    assert mask(crc) == 0xDF25FF25


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p[:3] + b"????" + p[7:], "the checksum of the strings' lengths is not the one"),
        (lambda p: p[:-1], "3 strings of 7 bytes in all should take 14, where 13 are stored"),
        (lambda p: p[:2], "3 strings cannot stand in 2 bytes"),
        (lambda p: b"\xff" * len(p), "a number takes more than 10 bytes"),
    ],
)
def test_strings_that_cannot_be_right(
    change: Callable[[bytes], bytes], message: str, tmp_path: Path
) -> None:
    payload, crc = encode_strings([b"hello", b"", b"tf"])
    changed = change(payload)
    error = refused(written(tmp_path, strings_entry(changed, 3, crc), changed), verify=False)
    assert message in str(error)


def with_note(tmp_path: Path, note: bytes, **change: Any) -> Source:
    """Open a bundle with *note* in the place of this library's own."""
    payload, crc = encode_strings([note])
    entry = Entry("string", (), 0, 64, len(payload), mask(crc))._replace(**change)
    prefix = written(
        tmp_path,
        {
            "a": Entry("float32", (4,), 0, 0, 16, CRC),
            "b": Entry("float32", (2,)),
            "_RUN/state": entry,
        },
        FOUR.tobytes().ljust(64) + payload,
    )
    return formats.open_source(prefix)


@pytest.mark.parametrize("aliases", [{"b": "a"}, {"c": "a"}, {"a": "c"}])
def test_an_alias_that_would_hide_a_tensor(aliases: dict[str, str], tmp_path: Path) -> None:
    note = encode(Notes(aliases=aliases)) or ""
    alias, kept = next(iter(aliases.items()))
    with (
        with_note(tmp_path, note.encode()) as source,
        pytest.raises(
            CorruptCheckpoint, match=f"'{alias}' is noted as another name of '{kept}', b"
        ),
    ):
        len(source.specs)


def test_a_note_that_is_none(tmp_path: Path) -> None:
    with (
        with_note(tmp_path, b"not JSON") as source,
        pytest.raises(CorruptCheckpoint, match="is not JSON") as caught,
    ):
        len(source.specs)
    assert "in tensor '_RUN/state'" in full_text(caught.value)


def test_a_note_that_is_no_string(tmp_path: Path) -> None:
    with (
        with_note(tmp_path, b"", dtype="int8") as source,
        pytest.raises(CorruptCheckpoint, match="it is not one string, as it should be"),
    ):
        len(source.specs)


def test_the_note_is_not_a_tensor(tmp_path: Path) -> None:
    tf_bundle.save_source(DictSource({"w": FOUR}, metadata={"a": "b"}), tmp_path / "m")
    with formats.open_source(tmp_path / "m") as source:
        assert "_RUN/state" not in source.specs
        assert list(source.read_order()) == list(source.read_all()) == ["w"]
        with pytest.raises(NoSuchTensor, match="there is no tensor '_RUN/state'"):
            source.read("_RUN/state")
