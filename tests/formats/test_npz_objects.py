"""NumPy's files of Python objects: the weights in them, and pickles that would do harm."""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import warmstart as ws
from warmstart import CheckpointError, CorruptCheckpoint, NoSuchTensor, UnsupportedCheckpoint
from warmstart.formats import npz
from warmstart.testing import ReadingContract

ZOO = {
    "conv1": {"weights": np.arange(24, dtype="<f4").reshape(2, 3, 4), "biases": np.ones(3, ">f8")},
    "fc": [np.asfortranarray(np.arange(6).reshape(2, 3)), np.float32(0.5)],
    "name": "vgg",
}
NAMES = ["conv1/weights", "conv1/biases", "fc/0"]


class TestNpyOfObjects(ReadingContract):
    format = npz

    def sample(self, folder: Path) -> Path:
        np.save(folder / "zoo.npy", np.array(ZOO, object), allow_pickle=True)
        return folder / "zoo.npy"

    def damaged_path(self, folder: Path) -> Path:
        return folder / "whole.npy"

    def petabyte(self, path: Path) -> None:
        path.write_bytes(headed(b"\x80\x04\x8e" + (2**50).to_bytes(8, "little")))


def headed(pickled: bytes) -> bytes:
    """Return an .npy of one object, whose pickle is *pickled*."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
    return file.getvalue() + pickled


def check_zoo(source: ws.Source, prefix: str = "") -> None:
    expected = [ZOO["conv1"]["weights"], ZOO["conv1"]["biases"], ZOO["fc"][0]]  # type: ignore[call-overload, index]
    for name, array in zip(NAMES, expected, strict=True):
        assert np.array_equal(source.read(prefix + name), array)
    assert (source.metadata[prefix + "fc/1"], source.metadata[prefix + "name"]) == ("0.5", '"vgg"')


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("mmap", [True, False])
def test_the_weights_of_an_old_zoo(protocol: int, mmap: bool, tmp_path: Path) -> None:
    pickled = pickle.dumps(np.array(ZOO, object), protocol)
    (tmp_path / "zoo.npy").write_bytes(headed(pickled))
    with ws.open(tmp_path / "zoo.npy", mmap=mmap) as source:
        assert list(source.specs) == NAMES
        check_zoo(source)


def test_weights_that_python_2_saved(tmp_path: Path) -> None:
    # np.save of NumPy 1.x on Python 2: text and the bytes of arrays are both strings there
    dtype = b"cnumpy\ndtype\n(U\x02f4K\0K\1tR(K\3U\1<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
    start = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\0tU\1btR"
    weights = start + b"(K\1(K\2t" + dtype + b"\x89U\x08\0\0\x80\x3f\0\0\0\xc0tb"
    objects = b"cnumpy\ndtype\n(U\x02O8K\0K\1tR(K\3U\1|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x3ftb"
    held = b"]}U\x05conv1}U\x07weights" + weights + b"ssa"
    pickled = b"\x80\x02" + start + b"(K\1)" + objects + b"\x89" + held + b"tb."
    (tmp_path / "m.npy").write_bytes(headed(pickled))
    assert np.load(tmp_path / "m.npy", allow_pickle=True, encoding="latin1").shape == ()
    with ws.open(tmp_path / "m.npy") as source:
        assert {name: a.tolist() for name, a in source.read_all().items()} == {
            "conv1/weights": [1, -2]
        }


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_objects_in_an_archive(save: Any, tmp_path: Path) -> None:
    save(tmp_path / "m.npz", plain=np.ones(2), zoo=np.array(ZOO, object), allow_pickle=True)
    with ws.open(tmp_path / "m.npz") as source:
        assert sorted(source.specs) == sorted(["plain", *(f"zoo/{name}" for name in NAMES)])
        check_zoo(source, "zoo/")
        assert source.read("plain").tolist() == [1, 1]


def test_objects_without_arrays_are_metadata(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.array(["a", None], object), allow_pickle=True)
    with ws.open(tmp_path / "m.npy") as source:
        assert (dict(source.specs), source.metadata) == ({}, {"0": '"a"', "1": "null"})
        with pytest.raises(NoSuchTensor, match="there is no tensor 'w' among the 0"):
            source.read("w")


def test_no_code_is_run(tmp_path: Path) -> None:
    # np.load(allow_pickle=True) would call os.system
    sentinel = tmp_path / "sentinel"
    (tmp_path / "m.npy").write_bytes(
        headed(b"cos\nsystem\n(S'touch %s'\ntR." % str(sentinel).encode())
    )
    with ws.open(tmp_path / "m.npy") as source:
        assert source.metadata["m"].startswith('{"__class__": "os.system"')
    assert not sentinel.exists()


def test_a_pickle_deflated_to_a_thousandth(tmp_path: Path) -> None:
    # 20 MB of empty sets out of 20 kB, each of which takes 216 bytes: 4 GB
    with zipfile.ZipFile(tmp_path / "m.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", headed(b"\x80\x04" + b"\x8f" * 20_000_000))
    with pytest.raises(UnsupportedCheckpoint, match=r"a pickle of \d+ bytes out of \d+; \d+ are"):
        ws.open(tmp_path / "m.npz")


def test_an_array_whose_bytes_are_too_few(tmp_path: Path) -> None:
    array = pickle.dumps(np.arange(3.0), 3).replace(b"K\x03\x85", b"K\x05\x85")
    (tmp_path / "m.npy").write_bytes(headed(array))
    with pytest.raises(CorruptCheckpoint, match=r"'m' float64 \(5,\) takes 40 bytes; .* has 24"):
        ws.open(tmp_path / "m.npy")


def test_a_changed_byte_in_a_member_of_objects(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", x=np.array({"abcdef": 1}, object), allow_pickle=True)
    changed = (tmp_path / "m.npz").read_bytes().replace(b"abcdef", b"abcdeg")
    (tmp_path / "m.npz").write_bytes(changed)
    with pytest.raises(CheckpointError, match="its CRC-32 is not that of its bytes"):
        ws.open(tmp_path / "m.npz")


def test_a_name_in_objects_that_is_an_array_too(tmp_path: Path) -> None:
    members = {"x/w": np.ones(1), "x": np.array({"w": np.ones(1)}, object)}
    np.savez(tmp_path / "m.npz", allow_pickle=True, **members)
    with pytest.raises(CorruptCheckpoint, match="arrays that are there twice: 'x/w'"):
        ws.open(tmp_path / "m.npz")


def test_one_long_text_as_many_values(tmp_path: Path) -> None:
    # 100 kB shown 50,000 times are 5 GB.
    np.save(tmp_path / "m.npy", np.array(None), allow_pickle=True)
    head = (tmp_path / "m.npy").read_bytes().partition(b"\n")[0] + b"\n"
    text = b"\x80\x02X" + (100_000).to_bytes(4, "little") + b"a" * 100_000
    (tmp_path / "m.npy").write_bytes(head + text + b"q\x000(" + b"h\x00" * 50_000 + b"l.")
    with ws.open(tmp_path / "m.npy") as source:
        assert sum(map(len, source.metadata.values())) < 10_000_000
