"""npz and npy: the contract, and NumPy as the judge."""

import io
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from warmstart import formats
from warmstart.binary.window import PlainFile
from warmstart.errors import (
    CannotHold,
    CheckpointError,
    CorruptCheckpoint,
    NoSuchTensor,
    UnsupportedCheckpoint,
    full_text,
)
from warmstart.formats import npz
from warmstart.formats.npz.npy import MAX_HEAD, OBJECTS, npy_head, parse_npy
from warmstart.formats.npz.writing import fixed_width
from warmstart.source import DictSource
from warmstart.spec import NUMPY_NAMES
from warmstart.testing import FormatContract
from warmstart.testing.formats import INDICES, LAYOUTS, bits, values_of

STRUCTURED = np.zeros(2, [("a", "<i4"), ("b", "<f4", (2,))])


class TestNpz(FormatContract):
    format = npz
    checksummed = True

    def petabyte(self, path: Path) -> None:
        """Claim so much deflated, in the headers of the member and of the archive."""
        write_members(path, {"x.npy": npy_head("<f4", (2**48,))})
        sizes = (2**50).to_bytes(8, "little")
        content = path.read_bytes()
        path.write_bytes(content.replace(b"\xff" * 8, sizes))


class TestCompressed(FormatContract):
    """Archives as `np.savez_compressed` makes them, with our note, read as ours are."""

    format = npz
    checksummed = True
    petabyte = TestNpz.petabyte

    def save(self, tensors: Any, folder: Path) -> Path:
        path = super().save(tensors, folder)
        with zipfile.ZipFile(path) as stored:
            members = {name: stored.read(name) for name in stored.namelist()}
        write_members(path, members, zipfile.ZIP_DEFLATED)
        return path


def write_members(
    path: Path, members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED
) -> Path:
    """Write an archive of *members* with Python's own library."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return path


def save(tensors: Mapping[str, Any], path: Path, **notes: Mapping[str, str]) -> Path:
    formats.save_source(DictSource(tensors, **notes), path)
    return path


def load(path: Path) -> dict[str, np.ndarray]:
    with formats.open_source(path) as source:
        return source.read_all()


def npy(array: np.ndarray) -> bytes:
    """Return what `np.save` writes."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


# --- NumPy ------------------------------------------------------------------------------------

KNOWN = {name: values_of(name) for name in sorted(NUMPY_NAMES)}
ARRAYS = {**KNOWN, **LAYOUTS}


@pytest.mark.parametrize("writer", [np.savez, np.savez_compressed])
def test_what_numpy_writes_is_read_equal(writer: Any, tmp_path: Path) -> None:
    writer(tmp_path / "m.npz", **ARRAYS)
    found = load(tmp_path / "m.npz")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert bits(found[name]) == bits(array)
        assert found[name].dtype.isnative
        assert found[name].flags.c_contiguous


def test_what_was_written_numpy_reads_equal(tmp_path: Path) -> None:
    path = save({**ARRAYS, "a/b:0": np.ones(2), "ü": np.ones(1)}, tmp_path / "m.npz")
    with np.load(path, allow_pickle=False) as found:
        assert sorted(found) == sorted([*ARRAYS, "a/b:0", "ü"])
        for name, array in ARRAYS.items():
            assert found[name].shape == array.shape
            assert bits(found[name]) == bits(array)


@pytest.mark.parametrize("name", sorted({*KNOWN, "scalar", "empty", "one"}))
def test_members_are_byte_for_byte_what_numpy_saves(name: str, tmp_path: Path) -> None:
    path = save({"x": ARRAYS[name]}, tmp_path / "m.npz")
    with zipfile.ZipFile(path) as archive:
        assert archive.read("x.npy") == npy(ARRAYS[name])


def test_python_finds_the_archive_sound(tmp_path: Path) -> None:
    path = save({**ARRAYS, "ü": np.ones(1)}, tmp_path / "m.npz", metadata={"a": "b"})
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert "ü.npy" in archive.namelist()


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_header(version: tuple[int, int], tmp_path: Path) -> None:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.arange(3), version=version)
    (tmp_path / "x.npy").write_bytes(file.getvalue())
    assert load(tmp_path / "x.npy")["x"].tolist() == [0, 1, 2]


def test_headers_that_python_2_wrote(tmp_path: Path) -> None:
    """Its long integers end in an L, which is no Python literal any more."""
    content = npy(np.arange(3)).replace(b"(3,), }", b"(3L,),}")
    (tmp_path / "x.npy").write_bytes(content)
    assert load(tmp_path / "x.npy")["x"].tolist() == [0, 1, 2]


def test_the_narrow_types_of_ml_dtypes_come_back(tmp_path: Path) -> None:
    arrays = {name: values_of(name) for name in ("bfloat16", "float8_e4m3fn", "int4")}
    path = save(arrays, tmp_path / "m.npz")
    with np.load(path) as found:  # raw bytes to NumPy, as np.savez leaves them
        assert found["bfloat16"].dtype == np.dtype("V2")
        assert found["bfloat16"].view(ml_dtypes.bfloat16).tobytes() == arrays["bfloat16"].tobytes()
    assert {name: array.dtype for name, array in load(path).items()} == {
        name: array.dtype for name, array in arrays.items()
    }


def test_the_one_narrow_type_that_numpy_names(tmp_path: Path) -> None:
    array = values_of("float8_e5m2")
    np.savez(tmp_path / "m.npz", x=array)
    assert load(tmp_path / "m.npz")["x"].tobytes() == array.tobytes()


def test_strings_of_numpy(tmp_path: Path) -> None:
    texts = np.array([["a", "ü"], ["", "long"]])
    np.savez(tmp_path / "m.npz", u=texts, s=np.array([b"a", b"bc"]), big=texts.astype(">U4"))
    found = load(tmp_path / "m.npz")
    assert found["u"].tolist() == [[b"a", "ü".encode()], [b"", b"long"]]
    assert found["s"].tolist() == [b"a", b"bc"]
    assert found["big"].tolist() == found["u"].tolist()


@pytest.mark.parametrize(
    "strings", [["a", "ü"], [b"a", "b"], [b"", b""], [], np.array(["a"]), np.array([b"a"])]
)
def test_strings_are_written_at_the_width_of_the_longest(strings: Any, tmp_path: Path) -> None:
    array = np.asarray(strings, None if isinstance(strings, np.ndarray) else object)
    expected = [i if isinstance(i, bytes) else i.encode() for i in array.tolist()]
    path = save({"x": array}, tmp_path / "m.npz")
    assert load(path)["x"].tolist() == expected
    with np.load(path, allow_pickle=False) as found:
        assert found["x"].tolist() == expected
    assert fixed_width(array).dtype.itemsize == max([len(i) for i in expected], default=0) or 1


# --- mapped -----------------------------------------------------------------------------------


def test_stored_members_are_views_of_the_file(tmp_path: Path) -> None:
    path = save({"x": np.arange(4.0), "long name": np.ones(3)}, tmp_path / "m.npz")
    with formats.open_source(path) as source:
        for name in source.specs:
            array = source.read(name)
            assert not array.flags.owndata
            assert not array.flags.writeable
            assert array.ctypes.data % 64 == 0
            assert np.shares_memory(array, source.read(name))
            assert np.shares_memory(array, source.read_slice(name, slice(2)))


def test_stored_members_of_numpy_are_views_too(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", xyz=np.arange(4.0))
    with formats.open_source(tmp_path / "m.npz") as source:
        assert np.shares_memory(source.read("xyz"), source.read("xyz"))


@pytest.mark.parametrize("name", ["m.npz", "m.npy"])
def test_listing_imports_no_numpy(name: str, tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "m.npz", x=np.ones(3))
    np.save(tmp_path / "m.npy", np.ones(3))
    code = (
        "import sys; from warmstart import formats\n"
        f"source = formats.open_source({str(tmp_path / name)!r})\n"
        "print(*source.specs.values(), 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "float64 (3,) False\n"


# --- checksums --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_changed_value_is_refused_at_the_first_read(method: int, tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    write_members(path, {"x.npy": npy(np.ones(3)), "y.npy": npy(np.ones(3))}, method)
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\1\2") + 16] ^= 1  # the CRC-32 of y
    path.write_bytes(content)
    with formats.open_source(path) as source:
        assert source.read("x").tolist() == [1, 1, 1]
        for read in (source.read, lambda name: source.read_slice(name, 0)):
            with pytest.raises(CorruptCheckpoint, match="its CRC-32 is not that of its") as caught:
                read("y")
            assert "in the member 'y.npy'" in full_text(caught.value)
    with formats.open_source(path, verify=False) as source:
        assert source.read("y").tolist() == [1, 1, 1]


# --- names ------------------------------------------------------------------------------------


def test_names_of_members(tmp_path: Path) -> None:
    names = ("a.npy", "b", "c:0.npy", "d/e.npy", "/f.npy", "../g.npy", "folder/")
    contents = {name: npy(np.ones(1)) for name in names} | {"folder/": b""}
    path = write_members(tmp_path / "m.npz", contents)
    assert sorted(load(path)) == ["../g", "/f", "a", "b", "c:0", "d/e"]


def test_names_that_are_there_twice(tmp_path: Path) -> None:
    path = write_members(tmp_path / "m.npz", {"w": npy(np.ones(1)), "w.npy": npy(np.ones(1))})
    with pytest.raises(CorruptCheckpoint, match="arrays that are there twice: 'w'"):
        load(path)


def test_a_single_array_is_called_as_its_file(tmp_path: Path) -> None:
    np.save(tmp_path / "weights.v1.npy", np.arange(6).reshape(2, 3))
    with formats.open_source(tmp_path / "weights.v1.npy") as source:
        assert list(source.specs) == ["weights.v1"]
        assert source.read("weights.v1").tolist() == [[0, 1, 2], [3, 4, 5]]
        assert (dict(source.metadata), dict(source.aliases)) == ({}, {})
        with pytest.raises(NoSuchTensor, match="no tensor 'w' among the 1"):
            source.read("w")


@pytest.mark.parametrize("index", INDICES)
def test_a_slice_of_a_single_array(index: str, tmp_path: Path) -> None:
    base = np.arange(24.0).reshape(2, 3, 4)
    np.save(tmp_path / "x.npy", np.asfortranarray(base))
    with formats.open_source(tmp_path / "x.npy") as source:
        part = source.read_slice("x", INDICES[index])
    np.testing.assert_array_equal(part, base[INDICES[index]])


@pytest.mark.parametrize(("written", "found"), [("m.npz", "a.bin"), ("m.npy", "weights")])
def test_files_by_other_names(written: str, found: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", x=np.ones(1))
    np.save(tmp_path / "m.npy", np.ones(1))
    (tmp_path / written).rename(tmp_path / found)
    assert formats.locate(tmp_path / found) == ("npz", tmp_path / found)
    assert [a.tolist() for a in load(tmp_path / found).values()] == [[1]]


def test_a_dictionary_is_not_written_to_npy(tmp_path: Path) -> None:
    with pytest.raises(CannotHold, match=r"one array without a name; save to m\.npz instead"):
        save({"x": np.ones(1)}, tmp_path / "m.npy")


# --- what cannot be read ----------------------------------------------------------------------

UNREADABLE = {
    "it holds dates, for which checkpoints have no dtype": np.array(["2020-01-01"], "M8[D]"),
    "it holds time spans, for which checkpoints have no dtype": np.array([1], "m8[s]"),
    "it is a structured array with 2 fields; save each field by itself": STRUCTURED,
    "it holds raw values of 2 bytes ('<V2'), of no stated dtype": values_of("bfloat16"),
    "NumPy's dtype '<c32' has no counterpart in a checkpoint": np.ones(1, np.clongdouble),
}


@pytest.mark.filterwarnings("ignore:Custom dtypes:UserWarning")
@pytest.mark.parametrize("message", UNREADABLE)
def test_what_numpy_saves_and_cannot_be_read(message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.asarray(UNREADABLE[message]), allow_pickle=True)
    with pytest.raises(UnsupportedCheckpoint, match=re.escape(message)):
        load(tmp_path / "x.npy")


def test_all_that_cannot_be_read_is_named_at_once(tmp_path: Path) -> None:
    dates = np.array(["2020-01-01"], "M8[D]")
    np.savez(tmp_path / "m.npz", a=dates, b=STRUCTURED, c=np.ones(1))
    with pytest.raises(UnsupportedCheckpoint) as caught:
        load(tmp_path / "m.npz")
    lines = str(caught.value).splitlines()
    assert lines[0] == "2 members cannot be read:"
    assert [line[:20] for line in lines[1:]] == ["  'a.npy': it holds ", "  'b.npy': it is a s"]


def test_raw_values_are_named_with_what_to_do(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", a=values_of("bfloat16"), b=values_of("float8_e4m3"))
    with pytest.raises(UnsupportedCheckpoint, match="2 members cannot be read:") as caught:
        load(tmp_path / "m.npz")
    assert "array.view(ml_dtypes.bfloat16) gives them back" in str(caught.value)


def test_a_note_that_the_values_contradict(tmp_path: Path) -> None:
    note = b'{"warmstart": 1, "dtypes": {"float8_e4m3": ["x"]}}'
    members = {"x.npy": npy(values_of("bfloat16")), "_RUN/state.npy": npy_of(note)}
    with pytest.raises(CorruptCheckpoint, match="'x' is noted as float8_e4m3, but has 2-byte"):
        load(write_members(tmp_path / "m.npz", members))


@pytest.mark.parametrize("dtype", ["string", "nonsense"])
def test_a_note_of_no_such_dtype(dtype: str, tmp_path: Path) -> None:
    note = f'{{"warmstart": 1, "dtypes": {{"{dtype}": ["x"]}}}}'.encode()
    members = {"x.npy": npy(values_of("bfloat16")), "_RUN/state.npy": npy_of(note)}
    with pytest.raises(CorruptCheckpoint, match=f"'x' is noted as {dtype}, but has 2-byte values"):
        load(write_members(tmp_path / "m.npz", members))


def npy_of(text: bytes) -> bytes:
    return npy(np.frombuffer(text, np.uint8))


def test_text_that_is_none(tmp_path: Path) -> None:
    array = np.frombuffer((0xD800).to_bytes(4, "little"), "<U1")
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(CorruptCheckpoint, match="an array of '<U1' holds what is no text"):
        load(tmp_path / "x.npy")


def test_more_text_than_there_can_be(tmp_path: Path) -> None:
    content = npy(np.array(["ab"])).replace(b"ab"[:1] + b"\0\0\0", b"\xff" * 4)
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(CorruptCheckpoint, match="an array of '<U2' holds what is no text"):
        load(tmp_path / "x.npy")


def test_a_dimension_too_many_for_numpy(tmp_path: Path) -> None:
    content = npy_head("<f4", (1,) * 65) + bytes(4)
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(UnsupportedCheckpoint, match="NumPy has no array of shape"):
        load(tmp_path / "x.npy")


@pytest.mark.parametrize("content", [b"", b"text, not an array", b"PK\5\6" + bytes(5)])
@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_files_that_are_not_what_their_name_says(content: bytes, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorruptCheckpoint):
        load(tmp_path / name)


def test_a_member_that_is_no_array(tmp_path: Path) -> None:
    path = write_members(tmp_path / "m.npz", {"a.npy": npy(np.ones(1)), "notes.txt": b"hello"})
    with pytest.raises(CorruptCheckpoint, match=r"an \.npy begins b") as caught:
        load(path)
    assert "in the member 'notes.txt'" in full_text(caught.value)


def test_an_array_larger_than_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def empty(size: int, dtype: Any) -> np.ndarray:
        raise MemoryError

    np.savez_compressed(tmp_path / "m.npz", x=np.ones(3))
    monkeypatch.setattr(np, "empty", empty)
    with pytest.raises(UnsupportedCheckpoint, match="152 bytes do not fit into memory"):
        load(tmp_path / "m.npz")


# --- headers ----------------------------------------------------------------------------------

FIELDS = "'descr': '<f4', 'fortran_order': False"
BROKEN = {
    "an .npy begins b'\\x93NUMPY', not b'text": b"text, not a header at all",
    "claims 200 bytes; 2 are left, 10000 allowed": b"\x93NUMPY\1\0\xc8\0{}",
    "claims 65535 bytes; 65535 are left, 10000 allowed": b"\x93NUMPY\1\0\xff\xff" + bytes(65535),
    "the .npy header is not UTF-8": b"\x93NUMPY\3\0\2\0\0\0\xff\xff",
    "the .npy header is not a Python literal: \"'\\\\d": r"'\d'",
    "the .npy header is not a Python literal: '{'": "{",
    "the .npy header is not a Python literal: '((((": "(" * 9000,
    "the .npy header is not a Python literal: '----": "-" * 9000 + "1",
    "the .npy header is not a Python literal: '1+1+": "1+" * 4000 + "1j",
    "the .npy header is not a Python literal: '{[]: 1}'": "{[]: 1}",
    'the .npy header is not a Python literal: "open(': "open('/tmp/x', 'w')",
    "does not describe an array: '[]'": "[]",
    "does not describe an array: \"{'shape': (3,), 'descr'": "{'shape': (3,), 'descr': '<f4'}",
    "does not describe an array: \"{'a": f"{{'a': 1, {FIELDS}, 'shape': (3,)}}",
    'does not describe an array: "{1: 2': f"{{1: 2, {FIELDS}, 'shape': (3,)}}",
    "does not describe an array: \"{'descr': '<f4', 'fortran_order': False, 'shape': (-3,": (
        f"{{{FIELDS}, 'shape': (-3,)}}"
    ),
    "does not describe an array: \"{'descr': '<f4', 'fortran_order': False, 'shape': (Tr": (
        f"{{{FIELDS}, 'shape': (True,)}}"
    ),
    "does not describe an array: \"{'descr': '<f4', 'fortran_order': 1": (
        "{'descr': '<f4', 'fortran_order': 1, 'shape': (3,)}"
    ),
    "'float32' is not a NumPy dtype": "{'descr': 'float32', 'fortran_order': True, 'shape': ()}",
    "'<f' is not a NumPy dtype": "{'descr': '<f', 'fortran_order': True, 'shape': ()}",
    "'<f4x' is not a NumPy dtype": "{'descr': '<f4x', 'fortran_order': True, 'shape': ()}",
    "'|S0' has elements of no possible size": (
        "{'descr': '|S0', 'fortran_order': True, 'shape': (1000000000000000,)}"
    ),
    "'<U99999999999' has elements of no": (
        "{'descr': '<U99999999999', 'fortran_order': True, 'shape': ()}"
    ),
    "'<f4' (3,) takes 12 bytes; 8 are there": f"{{{FIELDS}, 'shape': (3,)}}",
    "uint8 (1000000000000000000000,) would take": f"{{{FIELDS}, 'shape': ({10**21},)}}",
}


def head_of(header: str | bytes) -> bytes:
    """Return an .npy with this *header* and eight bytes of values."""
    if isinstance(header, bytes):
        return header
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header.encode() + bytes(8)


@pytest.mark.parametrize("message", BROKEN, ids=lambda message: message[-40:])
def test_a_broken_header(message: str) -> None:
    content = head_of(BROKEN[message])
    with pytest.raises(CorruptCheckpoint, match=re.escape(message)):
        parse_npy(content[:MAX_HEAD], len(content))


def test_a_version_of_the_future() -> None:
    with pytest.raises(UnsupportedCheckpoint, match=r"of version \(4, 0\); \(1, 0\) to \(3, 0\)"):
        parse_npy(b"\x93NUMPY\4\0" + bytes(8), 16)


LITERAL = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.binary(max_size=4),
    lambda some: st.lists(some, max_size=3) | st.tuples(some, some),
    max_leaves=5,
)
HEADER = st.fixed_dictionaries(
    {
        "descr": st.from_regex(r"\A[<>|=][biufcSUVOMm?][0-9]{0,3}\Z") | LITERAL,
        "fortran_order": st.booleans() | LITERAL,
        "shape": st.lists(st.integers(-1, 9), max_size=3).map(tuple) | LITERAL,
    }
)


@example("{'descr': '|O', 'fortran_order': False, 'shape': ()}")
@given(HEADER.map(repr) | LITERAL.map(repr) | st.text(max_size=40))
def test_any_header_is_read_or_refused(header: str) -> None:
    content = head_of(header.encode("latin-1", "replace").decode("latin-1"))
    assert parsed_or_refused(content)


@given(st.binary(max_size=60).map(lambda tail: b"\x93NUMPY" + tail))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    assert parsed_or_refused(content)


def parsed_or_refused(content: bytes) -> bool:
    """Return True; anything but CheckpointError that comes out of *content* fails the test."""
    try:
        npy = parse_npy(content[:MAX_HEAD], len(content))
    except CheckpointError:
        return True
    if npy.pickled:  # how long the pickle is, no header says
        return npy.descr in OBJECTS and npy.begin <= len(content)
    return npy.begin + npy.nbytes == len(content)


@given(st.lists(st.integers(0, 3), max_size=5).map(tuple), st.sampled_from(sorted(KNOWN)))
def test_headers_are_those_of_numpy(shape: tuple[int, ...], dtype: str) -> None:
    array = np.zeros(shape, dtype)
    content = npy(array)
    assert npy_head(array.dtype.str, shape) == content[: len(content) - array.nbytes]
    found = parse_npy(content[:MAX_HEAD], len(content))
    assert (found.dtype, found.shape, found.nbytes) == (dtype, shape, array.nbytes)


# --- writing ----------------------------------------------------------------------------------


def test_everything_it_cannot_hold_is_named(tmp_path: Path) -> None:
    tensors = {
        "_RUN/state": np.ones(1),
        "cut\0here": np.ones(1),
        "\ud800": np.ones(1),
        "x" * 70_000: np.ones(1),
        "objects": np.array([None, 1], object),
        "surrogates": np.array(["\ud800"], object),
        "padded": np.array([b"a\0"], object),
        "padded text": np.array(["a\0"], object),
        "fine": np.ones(1),
    }
    with pytest.raises(CannotHold) as caught:
        save(tensors, tmp_path / "m.npz", aliases={"lost": "absent"})
    lines = [re.sub("x{70000}", "x...", re.sub(" {3,}", "  ", line)) for line in
             str(caught.value).splitlines()]  # fmt: skip
    assert lines == [
        "npz cannot hold 9 of these:",
        "  'lost'  is not another name of 'absent', as the source has it",
        "  '_RUN/state'  is the name of this library's own note",
        "  'cut\\x00here'  has a NUL, where zip readers cut a name",
        "  '\\ud800'  is not Unicode text",
        "  'x...'  takes 70004 bytes, of 65535 at most",
        "  'objects'  holds objects that are not strings",
        "  'surrogates'  holds strings that are not Unicode text",
        "  'padded'  holds strings that end in a NUL, which NumPy strips",
        "  'padded text'  holds strings that end in a NUL, which NumPy strips",
        "A TensorFlow bundle may hold them.",
    ]
    assert list(tmp_path.iterdir()) == []


class Moving(DictSource):
    """A source whose values are not what its specs say, as a live model's may become."""

    def read(self, name: str) -> np.ndarray:
        return np.ones(3, np.float32)


def test_values_that_are_not_what_was_announced(tmp_path: Path) -> None:
    message = r"'w' was to be float64 \(2,\), but the values are float32 \(3,\)"
    with pytest.raises(CheckpointError, match=message):
        formats.save_source(Moving({"w": np.ones(2)}), tmp_path / "m.npz")
    assert list(tmp_path.iterdir()) == []


# --- plain reads, and every byte ----------------------------------------------------------------


def test_a_header_is_read_plainly_without_the_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    original = PlainFile._fill

    def fill(self: PlainFile, room: memoryview, begin: int) -> None:
        read.append(len(room))
        original(self, room, begin)

    monkeypatch.setattr(PlainFile, "_fill", fill)
    values = np.random.default_rng(0).standard_normal(1 << 20)
    np.savez(tmp_path / "stored.npz", x=values)
    np.savez_compressed(tmp_path / "deflated.npz", x=values)
    for name in ("stored.npz", "deflated.npz"):
        read.clear()
        with formats.open_source(tmp_path / name, mmap=False) as source:
            assert sum(read) < 800_000
            assert source.read("x").tobytes() == values.tobytes()


def test_bytes_between_members_are_named(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    np.savez(path, x=np.zeros(3))
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"made by hand"
    with formats.open_source(path) as source:
        (run,) = source.unclaimed()
    assert "which begin b'made by hand' (the comment of the archive)" in run
    np.save(tmp_path / "x.npy", np.zeros(3))
    with formats.open_source(tmp_path / "x.npy") as source:
        assert list(source.unclaimed()) == []
