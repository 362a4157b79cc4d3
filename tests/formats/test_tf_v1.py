"""Checkpoints of version 1: what TensorFlow wrote, and files that break the rules."""

import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from warmstart import formats
from warmstart.binary.table import write_table
from warmstart.binary.wire import bytes_field, number_field, varint
from warmstart.errors import (
    CheckpointNotFound,
    CorruptCheckpoint,
    NoSuchTensor,
    UnknownFormat,
    UnsupportedCheckpoint,
    full_text,
)
from warmstart.files.convert import convert
from warmstart.formats import tf_v1
from warmstart.formats.tf_bundle.protos import Slice
from warmstart.formats.tf_bundle.slices import slice_key
from warmstart.source import Source
from warmstart.testing.reading import ReadingContract

GOLDEN = Path(__file__).parents[1] / "golden" / "tf_v1"
FLOAT, INT32, STRING, HALF = 1, 3, 7, 19

EXPECTED = {
    "emb": np.ones((5, 2), np.float32),
    "empty": np.zeros((0, 4), np.int64),
    "flags": np.array([True, False, True]),
    "layer/bias": np.array([1.5, -2.5], np.float16),
    "layer/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "scalar": np.array(-3, np.int32),
    "words": np.array([b"hello", b"", b"tf"], object),
    "z": np.array([1 + 2j], np.complex64),
}


def extents(piece: Slice) -> bytes:
    """Return *piece* as a TensorSliceProto."""
    sides = zip(*piece, strict=True)
    return b"".join(
        bytes_field(1, number_field(1, start) + (number_field(2, n) if n >= 0 else b""))
        for start, n in sides
    )


def stated(
    name: str, dtype: int, shape: Iterable[int], pieces: Iterable[Slice], *, version: int = 0
) -> bytes:
    """Return the part of a header that says what the tensor *name* is, and its pieces here."""
    dims = b"".join(bytes_field(2, number_field(1, n % 2**64)) for n in shape)
    fields = bytes_field(1, name.encode()) + bytes_field(2, dims) + number_field(3, dtype)
    fields += b"".join(bytes_field(4, extents(piece)) for piece in pieces)
    return bytes_field(1, bytes_field(1, fields) + bytes_field(2, number_field(2, version)))


def whole(shape: tuple[int, ...]) -> Slice:
    """Return the piece that is all of a tensor."""
    return Slice((0,) * len(shape), (-1,) * len(shape))


def written(path: Path, header: bytes, pieces: dict[tuple[str, Slice], bytes]) -> Path:
    """Write a checkpoint with *header* and the values, TensorProtos, of *pieces*."""
    items = {
        slice_key(n.encode(), p): bytes_field(2, bytes_field(3, v)) for (n, p), v in pieces.items()
    }
    path.write_bytes(write_table(sorted({b"": header, **items}.items())))
    return path


def one(path: Path, dtype: int, shape: tuple[int, ...], values: bytes) -> Path:
    """Write a checkpoint of one tensor x, in one piece with *values*."""
    piece = whole(shape)
    return written(path, stated("x", dtype, shape, [piece]), {("x", piece): values})


def floats(*values: float) -> bytes:
    """Return *values* as the packed floats of a TensorProto."""
    return bytes_field(5, struct.pack(f"<{len(values)}f", *values))


def unclaimed(path: Path) -> NoReturn:
    """Raise as is done for a file that no format claims."""
    raise UnknownFormat(f"{path} is none of these")


class TestVersion1(ReadingContract):
    format = tf_v1
    checksummed = True

    def sample(self, folder: Path) -> Path:
        return Path(shutil.copy(GOLDEN / "model-7", folder / "model-7"))

    def open(self, path: Path, *, verify: bool = True, **options: Any) -> Source:
        found = tf_v1.locate(path) or unclaimed(path)  # its mark is at the end, and may be cut off
        return tf_v1.open_source(found, verify=verify, **options)

    def damaged_path(self, folder: Path) -> Path:
        return folder / "model"

    def petabyte(self, path: Path) -> None:
        one(path, FLOAT, (1 << 48,), floats(1))


@pytest.mark.parametrize("name", ["model-7", "sharded-7"])
def test_what_tensorflow_wrote(name: str) -> None:
    with formats.open_source(GOLDEN / name) as source:
        assert list(source.specs) == list(EXPECTED)
        for tensor, array in EXPECTED.items():
            np.testing.assert_array_equal(source.read(tensor), array, strict=True)
        assert list(source.unclaimed() or ()) == []


def test_it_becomes_a_bundle(tmp_path: Path) -> None:
    convert(GOLDEN / "sharded-7", tmp_path / "new")
    with formats.open_source(tmp_path / "new") as source:
        for tensor, array in EXPECTED.items():
            np.testing.assert_array_equal(source.read(tensor), array, strict=True)


def test_compressed_blocks(tmp_path: Path, compressed: Callable[[bytes], bytes]) -> None:
    (tmp_path / "old").write_bytes(compressed((GOLDEN / "model-7").read_bytes()))
    with formats.open_source(tmp_path / "old") as source:
        for tensor, array in EXPECTED.items():
            np.testing.assert_array_equal(source.read(tensor), array, strict=True)


def test_opening_and_listing_import_no_numpy() -> None:
    code = (
        "import sys; from warmstart import formats\n"
        f"with formats.open_source({str(GOLDEN)!r}) as source: print(len(source.specs))\n"
        "print('numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["8", "False"]


# --- the ways to say values -------------------------------------------------------------------


def loose(number: int, kind: int, *values: bytes) -> bytes:
    """Return a repeated field that is not packed."""
    return b"".join(varint(number << 3 | kind) + value for value in values)


VALUES: dict[str, tuple[int, bytes, list[Any]]] = {
    "packed": (FLOAT, floats(1, 2, 3), [1, 2, 3]),
    "packed in parts": (FLOAT, floats(1) + floats(2, 3), [1, 2, 3]),
    "not packed": (FLOAT, loose(5, 5, *(struct.pack("<f", n) for n in (1, 2, 3))), [1, 2, 3]),
    "both": (FLOAT, loose(5, 5, struct.pack("<f", 1)) + floats(2, 3), [1, 2, 3]),
    "content": (FLOAT, bytes_field(4, struct.pack("<3f", 1, 2, 3)), [1, 2, 3]),
    "one for all": (FLOAT, floats(7), [7, 7, 7]),
    "the last for the rest": (FLOAT, floats(7, 8), [7, 8, 8]),
    "doubles": (2, loose(6, 1, struct.pack("<d", 5)), [5, 5, 5]),
    "complex": (8, bytes_field(9, struct.pack("<2f", 1, -2)), [1 - 2j] * 3),
    "negative": (INT32, bytes_field(7, varint(2**64 - 5) + b"\1\2"), [-5, 1, 2]),
    "integers not packed": (INT32, loose(7, 0, varint(2**64 - 5), b"\1", b"\2"), [-5, 1, 2]),
    "half": (HALF, bytes_field(13, varint(0x3C00) + varint(0xC000)), [1, -2, -2]),
    "bfloat16": (14, bytes_field(13, varint(0x3F80)), [1, 1, 1]),
    "large": (23, bytes_field(17, varint(2**64 - 1)), [2**64 - 1] * 3),
    "strings": (STRING, b"".join(bytes_field(8, s) for s in (b"a", b"", b"c")), [b"a", b"", b"c"]),
}


@pytest.mark.parametrize("way", VALUES)
def test_ways_to_say_values(way: str, tmp_path: Path) -> None:
    dtype, values, expected = VALUES[way]
    with formats.open_source(one(tmp_path / "m", dtype, (3,), values)) as source:
        assert source.read("x").tolist() == expected


BAD_VALUES: dict[str, tuple[int, tuple[int, ...], bytes]] = {
    "4 values are stored, where float32 (3,) has 3": (FLOAT, (3,), floats(1, 2, 3, 4)),
    "0 values are stored, where float32 (3,) has 3": (FLOAT, (3,), b"\x70\1" * 3),
    "9 bytes of values are no whole number of float32": (FLOAT, (2,), bytes_field(5, bytes(9))),
    "the value 300 is stored where uint8 is stated": (4, (1,), bytes_field(7, varint(300))),
    "the value 4294967296 is stored where uint32": (FLOAT, (1,), loose(5, 0, varint(1 << 32))),
    "the value 65536 is stored where uint16": (HALF, (1,), bytes_field(13, varint(65536))),
    # One zero byte that would have been repeated until the memory was full.
    "float32 (1099511627776,) takes 4398046511104 bytes, where 6": (FLOAT, (1 << 40,), floats(0)),
    "string (1099511627776,) takes 8796093022208 bytes": (STRING, (1 << 40,), b"\x42\0"),
    "bytes of packed numbers end inside a number": (INT32, (1,), bytes_field(7, b"\x80")),
    "numbers is a number where bytes are expected": (STRING, (1,), b"\x40\1" * 9),
}


@pytest.mark.parametrize("message", BAD_VALUES)
def test_values_that_cannot_be_right(message: str, tmp_path: Path) -> None:
    path = one(tmp_path / "m", *BAD_VALUES[message])
    with formats.open_source(path) as source, pytest.raises(CorruptCheckpoint) as caught:
        source.read("x")
    assert message.replace("numbers is", "a string is") in str(caught.value)
    assert "in tensor 'x'" in full_text(caught.value)


@pytest.mark.parametrize(
    ("dtype", "shape", "message"),
    [
        (30, (1,), "a checkpoint of version 1 has no place for uint4"),
        (FLOAT, (0,) + (1,) * 64, r"NumPy cannot hold the shape \(0, 1, 1"),
    ],
)
def test_what_is_not_read(dtype: int, shape: tuple[int, ...], message: str, tmp_path: Path) -> None:
    path = one(tmp_path / "m", dtype, shape, b"")
    with (
        formats.open_source(path) as source,
        pytest.raises(UnsupportedCheckpoint, match=message),
    ):
        source.read("x")


def test_a_conversion_is_refused_before_room_is_made(tmp_path: Path) -> None:
    path = one(tmp_path / "m", FLOAT, (1 << 48,), floats(1))
    with pytest.raises(CorruptCheckpoint, match="the tensors take 1125899906842624 bytes, which"):
        convert(path, tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()


# --- headers ------------------------------------------------------------------------------------

ALL = [whole((3,))]
BAD_HEADERS: dict[str, bytes] = {
    "the header names the tensor 'x' twice": stated("x", FLOAT, (3,), ALL) * 2,
    "a tensor has the dtype variant: it is no array": stated("x", 21, (3,), ALL),
    "a tensor has dtype 99, which is not known": stated("x", 99, (3,), ALL),
    "asks for a reader of version 2; this one knows 1": stated("x", FLOAT, (3,), ALL, version=2),
    "a slice has 1 dimensions, its tensor 2": stated("x", FLOAT, (3, 3), ALL),
    "shape (-1,) has a negative dimension": stated("x", FLOAT, (-1,), ALL),
    "'x' has no pieces, and so no values": stated("x", FLOAT, (3,), []),
    "the header is a number where bytes are expected": b"\x08\x01",
    "field 1 of a message is not UTF-8 text": bytes_field(
        1, bytes_field(1, bytes_field(1, b"\xff"))
    ),
}


@pytest.mark.parametrize("message", BAD_HEADERS)
def test_headers_that_cannot_be_right(message: str, tmp_path: Path) -> None:
    path = written(tmp_path / "m", BAD_HEADERS[message], {})
    with pytest.raises((CorruptCheckpoint, UnsupportedCheckpoint), match=re.escape(message)):
        formats.open_source(path)


def test_a_table_without_a_header(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(write_table([(b"a", b"b")]))
    with pytest.raises(CorruptCheckpoint, match="no header: it is no checkpoint of version 1"):
        formats.open_source(tmp_path / "m")


def test_a_name_that_is_not_there() -> None:
    with (
        formats.open_source(GOLDEN) as source,
        pytest.raises(NoSuchTensor, match="no tensor 'scaler' among the 8; near it: 'scalar'"),
    ):
        source.read("scaler")


# --- pieces and shards ----------------------------------------------------------------------------

TOP, BOTTOM = Slice((0,), (2,)), Slice((2,), (2,))


def halves(folder: Path, *, top: bytes = b"", bottom: bytes = b"", shape: int = 4) -> Path:
    """Write a tensor x of 1 to 4 as two files, each with half of it."""
    for shard, (piece, header) in enumerate(((TOP, top), (BOTTOM, bottom))):
        values = floats(*(shard * 2 + n for n in (1, 2)))
        path = folder / f"m-{shard:05}-of-00002"
        written(path, header or stated("x", FLOAT, (shape,), [piece]), {("x", piece): values})
    return folder / "m"


@pytest.mark.parametrize("index", [..., slice(1, 3), 3, slice(None, None, -1), [0, 2], slice(0, 0)])
@pytest.mark.parametrize("mmap", [True, False])
def test_pieces_of_several_files(index: Any, mmap: bool, tmp_path: Path) -> None:
    with formats.open_source(halves(tmp_path), mmap=mmap) as source:
        found = source.read_slice("x", index)
    np.testing.assert_array_equal(found, np.float32([1, 2, 3, 4])[index], strict=True)


def decoded(source: Source, index: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how many pieces of x were decoded to read *index* of it."""
    calls: list[int] = []
    real = tf_v1.values.decode_values  # type: ignore[attr-defined]

    def counted(*args: Any) -> np.ndarray:
        calls.append(1)
        found: np.ndarray = real(*args)
        return found

    monkeypatch.setattr("warmstart.formats.tf_v1.values.decode_values", counted)
    source.read_slice("x", index)
    monkeypatch.undo()
    return len(calls)


def test_only_the_pieces_that_are_touched_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with formats.open_source(halves(tmp_path)) as source:
        source.read("x")
        counts = [decoded(source, index, monkeypatch) for index in (0, slice(3, 4), slice(1, 3))]
    assert counts == [1, 1, 2]


def test_files_that_disagree(tmp_path: Path) -> None:
    path = halves(tmp_path, bottom=stated("x", FLOAT, (5,), [BOTTOM]))
    with pytest.raises(
        CorruptCheckpoint, match=r"'x' is float32 \(5,\) here, and float32 \(4,\) in"
    ):
        formats.open_source(path)


BAD_PIECES: dict[str, dict[str, Any]] = {
    "its 2 pieces leave 4 of 8 elements without a value": {"shape": 8},
    "its piece at (0,) is not there": {"bottom": stated("x", FLOAT, (4,), [BOTTOM, TOP])},
    "which is not inside (3,)": {"shape": 3},
    # Room would have been made for a petabyte, to be filled from sixteen bytes.
    "float32 (281474976710656,) takes 1125899906842624 bytes": {"shape": 1 << 48},
}


@pytest.mark.parametrize("message", BAD_PIECES)
def test_pieces_that_cannot_be_right(message: str, tmp_path: Path) -> None:
    path = halves(tmp_path, **BAD_PIECES[message])
    with formats.open_source(path) as source, pytest.raises(CorruptCheckpoint) as caught:
        source.read("x")
    assert message in str(caught.value)


def test_a_shard_that_is_missing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copy(GOLDEN / "sharded-7-00000-of-00002", tmp_path)
    with formats.open_source(tmp_path / "sharded-7") as source:
        np.testing.assert_array_equal(source.read("emb"), EXPECTED["emb"])
        for attempt in (source.read_all, lambda: source.check(["emb"])):
            with pytest.raises(CheckpointNotFound, match="1 of 2 files are not there, and what is"):
                attempt()
    assert caplog.messages == [
        "1 of 2 files are not there, and what is in them is not known: sharded-7-00001-of-00002"
    ]


def test_what_belongs_to_no_tensor(tmp_path: Path) -> None:
    piece, hidden = whole((1,)), Slice((0,), (1,))
    header = stated("x", FLOAT, (1,), [piece])
    path = written(tmp_path / "m", header, {("x", piece): floats(1), ("h", hidden): floats(2)})
    with formats.open_source(path) as source:
        assert list(source.unclaimed() or ()) == [
            r"m: the entry b'\x00h\x00\x01\x01\x01\x80\x81' is of no tensor in the header"
        ]
