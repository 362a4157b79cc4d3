"""GGUF: the contract of reading, and the package gguf as the judge."""

import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from gguf import GGUFReader, GGUFWriter

from warmstart import formats
from warmstart.errors import (
    CheckpointNotFound,
    CorruptCheckpoint,
    UnsupportedCheckpoint,
)
from warmstart.formats import gguf as ours
from warmstart.formats.gguf import blocks, header, reading
from warmstart.formats.gguf.types import TYPES
from warmstart.source import Source, filtered
from warmstart.testing import ReadingContract

GOLDEN = Path(__file__).parents[1] / "golden/gguf"

BY_NAME = {type_.name: type_ for type_ in TYPES.values()}
#: Those that the package can turn into floats too.
JUDGED = sorted(reading.DEQUANTIZED - {"Q8_K"})


class TestGGUF(ReadingContract):
    format = ours

    def sample(self, folder: Path) -> Path:
        return Path(shutil.copy(GOLDEN / "v3.gguf", folder))

    def petabyte(self, path: Path) -> None:
        path.write_bytes(file_of([("x", [2**48], 0, 0)]))


class TestFirstVersion(TestGGUF):
    def sample(self, folder: Path) -> Path:
        return Path(shutil.copy(GOLDEN / "v1.gguf", folder))


class TestDequantised(TestGGUF):
    def open(self, path: Path, *, verify: bool = True, **options: Any) -> Source:
        return super().open(path, verify=verify, dequantize=True, **options)


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def pair(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def info(name: str, sizes: list[int], kind: int, offset: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, offset)


def file_of(
    tensors: list[tuple[str, list[int], int, int]], pairs: tuple[bytes, ...] = (), nbytes: int = 64
) -> bytes:
    """Return a file of version 3 with *nbytes* of data."""
    start = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs))
    raw = start + b"".join(pairs) + b"".join(info(*tensor) for tensor in tensors)
    return raw + bytes(-len(raw) % 32) + bytes(nbytes)


def opened(raw: bytes, folder: Path, **options: Any) -> Source:
    (folder / "m.gguf").write_bytes(raw)
    return formats.open_source(folder / "m.gguf", **options)


def written(folder: Path, tensors: dict[str, Any], **options: Any) -> Path:
    """Write *tensors*, arrays or (blocks, type), by the package."""
    writer = GGUFWriter(folder / "m.gguf", "llama", **options)
    for name, value in tensors.items():
        array, kind = value if isinstance(value, tuple) else (value, None)
        writer.add_tensor(name, array, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder / "m.gguf"


def random_blocks(name: str, *shape: int) -> np.ndarray:
    """Return blocks of any bits: scales that are no number or infinite too."""
    type_ = BY_NAME[name]
    sizes = (*shape[:-1], shape[-1] // type_.elements * type_.nbytes)
    return np.random.default_rng(0).integers(0, 256, sizes, dtype=np.uint8)


# --- the package ------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["v1", "v3"])
def test_golden_files(version: str) -> None:
    with formats.open_source(GOLDEN / f"{version}.gguf") as source:
        assert source.read("token_embd.weight").tolist() == [[0, 1, 2], [3, 4, 5]]
        assert source.read("blk.0.attn_q.weight").shape == (1, 2, 4)
        assert source.read("output.weight").tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
        expected = {
            "general.architecture": "llama",
            "general.name": "Tiny",
            "llama.rope.scale": "0.1",
            "yes": "true",
            "tokenizer.ggml.tokens": '["<s>", "ü", "b"]',
            "tokenizer.ggml.scores": "[0.5, -1.0, 3.25]",
        }
        assert {key: source.metadata[key] for key in expected} == expected
        assert list(source.unclaimed()) == []


def test_every_type_is_as_large_as_the_package_says() -> None:
    named = {kind.name: gguf.GGML_QUANT_SIZES[kind] for kind in Kind}
    known = {t.name: (t.elements, t.nbytes) for t in TYPES.values() if t.name in named}
    assert {name: named[name] for name in known} == known
    assert named.keys() - known.keys() == {"Q8_1"}
    assert {Kind(n).name for n, t in TYPES.items() if t.name in named} == known.keys()


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int8", "int16", "int32", "int64"]
)
@pytest.mark.parametrize("order", list(gguf.GGUFEndian))
def test_plain_types(dtype: str, order: gguf.GGUFEndian, tmp_path: Path) -> None:
    array = np.arange(24).astype(dtype).reshape(2, 3, 4)
    path = written(tmp_path, {"x": array}, endianess=order)
    with formats.open_source(path) as source:
        np.testing.assert_array_equal(source.read("x"), array, strict=True)
        np.testing.assert_array_equal(source.read_slice("x", (1, 2)), array[1, 2])
        assert dict(source.stored) == {}


@pytest.mark.parametrize("order", list(gguf.GGUFEndian))
def test_bfloat16(order: gguf.GGUFEndian, tmp_path: Path) -> None:
    values = np.linspace(-3, 3, 64, dtype=np.float32).reshape(2, 32)
    raw = gguf.quants.quantize(values, Kind.BF16)
    stored = raw if order == gguf.GGUFEndian.LITTLE else raw.view(np.uint16).byteswap()
    path = written(tmp_path, {"x": (stored.view(np.uint8), Kind.BF16)}, endianess=order)
    with formats.open_source(path) as source:
        assert source.specs["x"].dtype == "bfloat16"
        found = source.read("x").astype(np.float32)
    np.testing.assert_array_equal(found, gguf.quants.dequantize(raw, Kind.BF16))


@pytest.mark.parametrize("name", JUDGED)
def test_dequantised_bits_are_those_of_the_package(name: str, tmp_path: Path) -> None:
    raw = random_blocks(name, 3, 5, 1024)
    path = written(tmp_path, {"x": (raw, Kind[name])})
    with np.errstate(all="ignore"):
        expected = gguf.quants.dequantize(raw, Kind[name])
    with formats.open_source(path, dequantize=True) as source:
        assert source.specs["x"][1:3] == ("float32", (3, 5, 1024))
        assert source.read("x").tobytes() == expected.tobytes()
        assert (
            source.read_slice("x", (1, slice(3, 0, -2))).tobytes() == expected[1, 3:0:-2].tobytes()
        )


@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
def test_what_the_package_quantised_comes_back(name: str, tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=(70, 2048)).astype(np.float32)
    raw = gguf.quants.quantize(values, Kind[name])
    path = written(tmp_path, {"x": (raw, Kind[name])})
    with formats.open_source(path, dequantize=True) as source:
        found = source.read("x")
    assert found.tobytes() == gguf.quants.dequantize(raw, Kind[name]).tobytes()
    np.testing.assert_allclose(found, values, atol=0.5)


def test_the_widest_type_has_plain_scales(tmp_path: Path) -> None:
    raw = random_blocks("Q8_K", 2, 512)
    raw.reshape(-1, 292)[:, :4] = np.full((4, 1), 0.5, np.float32).view(np.uint8)
    with formats.open_source(written(tmp_path, {"x": (raw, Kind.Q8_K)}), dequantize=True) as source:
        found = source.read("x")
    expected = raw.reshape(-1, 292)[:, 4:260].view(np.int8).reshape(2, 512) * np.float32(0.5)
    np.testing.assert_array_equal(found, expected, strict=True)


#: type -> where its numbers of two bytes lie in a block, and of four.
NUMBERS = {"Q4_0": [0], "Q8_0": [0], "Q4_K": [0, 2], "Q6_K": [208]}


@pytest.mark.parametrize("name", NUMBERS)
def test_blocks_of_the_other_byte_order(name: str, tmp_path: Path) -> None:
    raw = random_blocks(name, 2, 512)
    swapped = raw.reshape(-1, BY_NAME[name].nbytes).copy()
    for at in NUMBERS[name]:
        swapped[:, [at, at + 1]] = swapped[:, [at + 1, at]]
    path = written(
        tmp_path, {"x": (swapped.reshape(raw.shape), Kind[name])}, endianess=gguf.GGUFEndian.BIG
    )
    with np.errstate(all="ignore"):
        expected = gguf.quants.dequantize(raw, Kind[name])
    with formats.open_source(path, dequantize=True) as source:
        assert source.read("x").tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", sorted({kind.name for kind in Kind} & BY_NAME.keys()))
def test_every_type_is_listed_and_read_as_the_package_shows_it(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, {"x": (random_blocks(name, 3, 512), Kind[name])})
    expected = GGUFReader(path).tensors[0]
    with formats.open_source(path) as source:
        found = source.read("x")
        assert found.tobytes() == expected.data.tobytes()
        assert found.nbytes == source.specs["x"].nbytes == expected.n_bytes
        assert source.read_slice("x", slice(1, 2)).tobytes() == found[1:2].tobytes()


def test_a_quantised_tensor_says_what_it_is(tmp_path: Path) -> None:
    path = written(tmp_path, {"x": (random_blocks("Q4_K", 3, 512), Kind.Q4_K), "y": np.ones(2)})
    with formats.open_source(path) as source:
        assert source.stored == {"x": "Q4_K (3, 512)"}
        assert source.specs["x"][1:3] == ("uint8", (3, 288))
        assert json.loads(source.metadata["gguf.tensor_types"]) == source.stored
        shown = filtered(source, lambda spec: spec.name == "x")
        assert shown.stored == {"x": "Q4_K (3, 512)"}


def test_types_that_are_not_dequantised(tmp_path: Path) -> None:
    tensors = {
        "a": (random_blocks("IQ2_XS", 1, 256), Kind.IQ2_XS),
        "b": (random_blocks("TQ1_0", 1, 256), Kind.TQ1_0),
        "c": (random_blocks("Q4_0", 1, 256), Kind.Q4_0),
    }
    with formats.open_source(written(tmp_path, tensors), dequantize=True) as source:
        message = "(?s)'a' is IQ2_XS\n  'b' is TQ1_0\nwithout dequantize these can be read as"
        with pytest.raises(UnsupportedCheckpoint, match=message):
            source.check(source.specs)
        with pytest.raises(UnsupportedCheckpoint, match="'a' is IQ2_XS"):
            source.read("a")
        assert source.read("c").shape == (1, 256)


# --- reading ----------------------------------------------------------------------------------


def test_arrays_are_views_of_the_file(tmp_path: Path) -> None:
    with formats.open_source(written(tmp_path, {"x": np.arange(64.0)})) as source:
        x = source.read("x")
        assert np.shares_memory(x, source.read_slice("x", slice(1, 3)))
        assert not x.flags.owndata
        assert not x.flags.writeable


def test_a_slice_reads_its_own_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = random_blocks("Q4_0", 4, 1000, 1024)
    path = written(tmp_path, {"x": (raw, Kind.Q4_0)})
    asked: list[int] = []

    class Counted:
        def __init__(self, raw: bytes) -> None:
            self.raw = raw

        def __len__(self) -> int:
            return len(self.raw)

        def __getitem__(self, part: slice) -> memoryview:
            asked.append(part.stop - (part.start or 0))
            return memoryview(self.raw)[part]

    monkeypatch.setattr(reading, "file_bytes", lambda path, mmap: Counted(path.read_bytes()))
    with formats.open_source(path, dequantize=True) as source:
        asked.clear()
        assert source.read_slice("x", (2, slice(10, 20))).shape == (10, 1024)
        assert asked == [10 * 1024 // 32 * 18]


def test_a_long_header_is_read_in_growing_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(header, "FIRST_LOOK", 8)
    shutil.copy(GOLDEN / "v3.gguf", tmp_path)
    with formats.open_source(tmp_path / "v3.gguf", mmap=False) as source:
        assert len(source.specs) == 4


def test_listing_needs_no_numpy() -> None:
    code = (
        "import sys; from warmstart.formats import open_source\n"
        f"s = open_source({str(GOLDEN / 'v3.gguf')!r}, dequantize=True)\n"
        "print(dict(s.specs), dict(s.metadata), list(s.unclaimed()))\n"
        "assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_metadata_of_every_kind(tmp_path: Path) -> None:
    numbers = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 10: "Q", 11: "q", 12: "d"}
    nested = (
        struct.pack("<IQ", 9, 2) + struct.pack("<IQ", 0, 2) + b"\1\2" + struct.pack("<IQ", 4, 0)
    )
    long = struct.pack("<IQ", 5, 10_000) + struct.pack("<10000i", *range(10_000))
    pairs = [pair(f"n{kind}", kind, struct.pack("<" + code, 7)) for kind, code in numbers.items()]
    pairs += [
        pair("f", 6, struct.pack("<f", 1e-5)),
        pair("nan", 6, struct.pack("<f", float("nan"))),
        pair("no", 7, b"\0"),
        pair("bytes", 8, text(b"a\xffb")),
        pair("nested", 9, nested),
        pair("long", 9, long),
        pair("flags", 9, struct.pack("<IQ", 7, 2) + b"\0\1"),
    ]
    with opened(file_of([], tuple(pairs)), tmp_path) as source:
        found = dict(source.metadata)
        assert len(source.metadata) == len(pairs)
    assert {json.loads(found[f"n{kind}"]) for kind in numbers} == {7}
    assert (found["f"], found["nan"], found["no"]) == ("1e-05", "NaN", "false")
    assert (found["bytes"], found["nested"], found["flags"]) == (
        "a\\xffb",
        "[[1, 2], []]",
        "[false, true]",
    )
    assert json.loads(found["long"]) == list(range(10_000))


def test_another_alignment(tmp_path: Path) -> None:
    raw = file_of([("x", [2], 0, 0), ("y", [4], 0, 8)], (pair(header.ALIGNMENT, 4, b"\x08\0\0\0"),))
    with opened(raw, tmp_path) as source:
        assert [source.read(name).tolist() for name in "xy"] == [[0, 0], [0, 0, 0, 0]]


def test_bytes_that_nothing_claims(tmp_path: Path) -> None:
    raw = file_of([("x", [2], 0, 0), ("y", [2], 0, 64)], nbytes=200)
    with opened(raw, tmp_path) as source:
        data = len(raw) - 200
        assert list(source.unclaimed()) == [
            f"bytes {data + 8} to {data + 64} of m.gguf",
            f"bytes {data + 72} to {data + 200} of m.gguf",
        ]


# --- several files ----------------------------------------------------------------------------


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """Return the first of three files, as the package splits a model by tensors."""
    writer = GGUFWriter(tmp_path / "m.gguf", "llama", split_max_tensors=2)
    for i in range(5):
        writer.add_tensor(f"t{i}", np.full(4, i, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tmp_path / "m-00001-of-00003.gguf"


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_any_part_opens_the_whole_model(number: int, split: Path) -> None:
    part = split.with_name(f"m-{number:05}-of-00003.gguf") if number else split.parent
    with formats.open_source(part) as source:
        assert {name: array[0] for name, array in source.read_all().items()} == {
            f"t{i}": i for i in range(5)
        }
        assert source.metadata["general.architecture"] == "llama"
        assert sorted(source.read_order()) == sorted(source.specs)


def test_a_part_that_is_missing(split: Path) -> None:
    split.with_name("m-00002-of-00003.gguf").unlink()
    with pytest.raises(CheckpointNotFound, match=r"1 of 3 parts are missing: m-00002-of-00003\.gg"):
        formats.open_source(split)


def test_a_part_under_a_wrong_name(split: Path) -> None:
    wrong = split.rename(split.with_name("m-00001-of-00002.gguf"))
    with pytest.raises(CorruptCheckpoint, match="is one of 2 by its name, but says it is one of 3"):
        formats.open_source(wrong)


def test_a_tensor_in_two_parts(split: Path) -> None:
    shutil.copy(split, split.with_name("m-00002-of-00003.gguf"))
    with pytest.raises(CorruptCheckpoint, match=r"'t0' is in m-00001-of-.* and in m-00002"):
        formats.open_source(split)


def test_a_part_alone_under_a_name_of_its_own(split: Path) -> None:
    with formats.open_source(split.rename(split.with_name("alone.gguf"))) as source:
        assert sorted(source.specs) == ["t0", "t1"]


def test_a_folder_of_several_models_is_not_ours(tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copy(GOLDEN / "v3.gguf", tmp_path / f"{name}.gguf")
    assert ours.locate(tmp_path) is None


# --- bytes from outside -----------------------------------------------------------------------

NESTED = struct.pack("<IQ", 9, 1) * 17 + struct.pack("<IQ", 0, 0)

HOSTILE = {
    # would read another tensor's bytes again and again: a small file asks for a large memory
    "'y' begins at byte 96, in another that ends at 104": file_of(
        [("x", [2], 0, 0), ("y", [2], 0, 0)]
    ),
    "two tensors have one name: 'x'": file_of([("x", [2], 0, 0), ("x", [2], 0, 32)]),
    "'x' ends at byte 328; the file has 128": file_of([("x", [66], 0, 0)]),
    r"the header needs \d{21} bytes at byte 16, where 90 are left": file_of([])[:8]
    + b"\xff" * 8
    + bytes(90),
    "the metadata have the key 'k' twice": file_of([], (pair("k", 0, b"\1"),) * 2),
    "has the unknown kind 13": file_of([], (pair("k", 13, b"\1"),)),
    # each level would take a frame of the interpreter's stack
    "arrays lie more than 16 deep in one another": file_of([], (pair("k", 9, NESTED),)),
    # a count that would keep the reader busy for centuries
    "the header needs 18446744073709551615 bytes at": file_of(
        [], (pair("k", 9, struct.pack("<IQ", 0, 2**64 - 1)),)
    ),
    "the header needs 49 bytes at byte 49, where 27": file_of(
        [], (pair("k", 9, struct.pack("<IQ", 8, 2) + text("a") + struct.pack("<Q", 32)),), nbytes=0
    )[:76],
    "general.alignment is no power of 2": file_of([], (pair(header.ALIGNMENT, 4, b"\3\0\0\0"),)),
    "is no power of 2 in an unsigned": file_of([], (pair(header.ALIGNMENT, 5, b"\2\0\0\0"),)),
    "a key of the metadata is not UTF-8: b'.xff'": file_of([], (text(b"\xff") + bytes(5),)),
    "the name of a tensor is not UTF-8": file_of([(b"\xff", [2], 0, 0)]),  # type: ignore[list-item]
    "no whole blocks: its shape is .33,., and a block of Q4_0 has 32 elements": file_of(
        [("x", [33], 2, 0)]
    ),
    "the file begins with b'GGUX', not with b'GGUF'": b"GGUX",
    "float32 .1000000000000, 1099511627776. would take 4398046511104000000000000 bytes": file_of(
        [("x", [2**40, 10**12], 0, 0)]
    ),
}


@pytest.mark.parametrize("message", HOSTILE)
def test_a_hostile_file(message: str, tmp_path: Path) -> None:
    with pytest.raises(CorruptCheckpoint, match=message):
        opened(HOSTILE[message], tmp_path)


def test_a_type_of_tomorrow(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedCheckpoint, match="'x' has the unknown type 99; known: F32, F16"):
        opened(file_of([("x", [2], 99, 0)]), tmp_path)


def test_a_version_of_tomorrow(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedCheckpoint, match="is of version 4; known are 1, 2 and 3"):
        opened(b"GGUF\4\0\0\0" + bytes(16), tmp_path)


def test_the_types_that_are_dequantised_are_told_without_numpy() -> None:
    assert set(blocks.KERNELS) == set(blocks.RECORDS) == reading.DEQUANTIZED
