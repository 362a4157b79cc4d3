"""HDF5 files made to harm: what each would have done, and that it is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from warmstart import CorruptCheckpoint, UnsupportedCheckpoint
from warmstart.formats import keras_h5
from warmstart.formats.hdf5 import is_hdf5
from warmstart.formats.hdf5.walk import MAX_DEPTH


def read(path: Path) -> dict[str, np.ndarray]:
    """Return every tensor of the file at *path*."""
    with keras_h5.open_source(path, verify=True) as source:
        return source.read_all()


@pytest.fixture
def made(tmp_path: Path) -> Callable[[Callable[[h5py.File], object]], Path]:
    """Return how to make a file from what is to be put in it."""

    def make(fill: Callable[[h5py.File], object]) -> Path:
        with h5py.File(tmp_path / "m.h5", "w") as file:
            fill(file)
        return tmp_path / "m.h5"

    return make


Made = Callable[[Callable[[h5py.File], object]], Path]


def test_a_link_to_another_file(made: Made, tmp_path: Path) -> None:
    # would have opened any file that the reader may open, and shown its values as the model's
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["w"] = np.ones(3)
    path = made(lambda file: file.__setitem__("w", h5py.ExternalLink("secret.h5", "w")))
    with pytest.raises(UnsupportedCheckpoint, match=r"'w' is a link to another file"):
        read(path)


def test_values_in_another_file(made: Made) -> None:
    # would have read /etc/passwd as numbers, for whoever gets the converted checkpoint
    path = made(
        lambda file: file.create_dataset("w", (64,), "u1", external=[("/etc/passwd", 0, 64)])
    )
    with pytest.raises(UnsupportedCheckpoint, match="'w' has its values in another file"):
        read(path)


def test_a_virtual_dataset(made: Made, tmp_path: Path) -> None:
    # the same, by another door
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["w"] = np.ones(3)
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "w", (3,))
    path = made(lambda file: file.create_virtual_dataset("w", layout))
    with pytest.raises(UnsupportedCheckpoint, match="'w' is a virtual dataset, whose values are"):
        read(path)


def test_links_that_lead_in_a_circle(made: Made) -> None:
    # would have been followed for ever
    def fill(file: h5py.File) -> None:
        file["a"] = h5py.SoftLink("/b")
        file["b"] = h5py.SoftLink("/a")

    with pytest.raises(UnsupportedCheckpoint, match=r"'a' is a link to 'b', which is no dataset"):
        read(made(fill))


def test_a_group_in_itself(made: Made) -> None:
    # would have been walked for ever: a/a/a/a/...
    def fill(file: h5py.File) -> None:
        group = file.create_group("a")
        group["a"] = group
        file["a/root"] = file["/"]

    with pytest.raises(UnsupportedCheckpoint, match=r"'a/a' is the same group as 'a'") as caught:
        read(made(fill))
    assert "'a/root' is the same group as '/'" in str(caught.value)


def test_groups_that_double_at_each_level(made: Made) -> None:
    # 40 groups of two links each would have been 2**40 paths
    def fill(file: h5py.File) -> None:
        group = file.create_group("g0")
        for i in range(1, 40):
            upper = file.create_group(f"g{i}")
            upper["left"] = upper["right"] = group
            group = upper

    with pytest.raises(UnsupportedCheckpoint, match="is the same group as"):
        read(made(fill))


def test_groups_too_deep(made: Made) -> None:
    # would have ended a recursive walk with a RecursionError
    path = made(lambda file: file.create_group("/".join("a" * (MAX_DEPTH + 2))))
    with pytest.raises(CorruptCheckpoint, match="groups lie more than 100 deep at 'a/a/a"):
        read(path)


def test_more_than_compression_can_give(made: Made) -> None:
    # a petabyte of zeros that was never written: NumPy would have been asked to make room for it
    path = made(
        lambda file: file.create_dataset("w", (1 << 50,), "u1", chunks=(1 << 20,), fillvalue=7)
    )
    with pytest.raises(CorruptCheckpoint, match="up to 'w' claim more than the file can hold"):
        read(path)


def test_a_chunk_far_larger_than_its_dataset(made: Made) -> None:
    # HDF5 makes room for a whole chunk: 1 GiB for one number
    path = made(
        lambda file: file.create_dataset(
            "w", (1,), "u1", maxshape=(None,), chunks=(1 << 30,), compression="gzip"
        )
    )
    with pytest.raises(CorruptCheckpoint, match="claim more than the file can hold"):
        read(path)


def test_datasets_over_one_another(made: Made, tmp_path: Path) -> None:
    # a thousand datasets in one place would have been a thousand copies in memory
    size = 1 << 16

    def fill(file: h5py.File) -> None:
        file["w"] = np.ones(size, "u1")
        for i in range(20):
            file.create_dataset(f"v{i}", (size,), "u1")  # without a place, so far

    path = made(fill)
    with h5py.File(path) as file:
        place = file["w"].id.get_offset().to_bytes(8, "little")
    nowhere, nbytes = b"\xff" * 8, size.to_bytes(8, "little")
    (tmp_path / "over.h5").write_bytes(path.read_bytes().replace(nowhere + nbytes, place + nbytes))
    with pytest.raises(CorruptCheckpoint, match="the file can hold: they lie over one another"):
        read(tmp_path / "over.h5")


def test_a_filter_that_is_a_plug_in(made: Made) -> None:
    # HDF5 would have looked for a library in HDF5_PLUGIN_PATH and run it
    def fill(file: h5py.File) -> None:
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_chunk((4,))
        creation.set_filter(32015, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((4,))
        h5py.h5d.create(file.id, b"w", h5py.h5t.IEEE_F32LE, space, creation)

    with pytest.raises(UnsupportedCheckpoint, match=r"HDF5 filters that are not known here: 32015"):
        read(made(fill))


def test_raw_values_of_another_size_than_their_dtype(made: Made) -> None:
    # a view of twice the bytes would have shown what lies behind the values
    def fill(file: h5py.File) -> None:
        file.create_dataset("w", data=np.zeros(4, "V2")).attrs["dtype"] = "float64"

    with pytest.raises(CorruptCheckpoint, match="'w' is said to be float64, of 2 bytes each"):
        read(made(fill))


def test_strings_that_are_one_in_the_file(made: Made, tmp_path: Path) -> None:
    # 100,000 references to one long string would have been that many copies of it
    size, count = 1 << 20, 3000
    strings = np.array(["x"] * count, object)
    strings[0] = "y" * size
    path = made(lambda file: file.create_dataset("w", data=strings, dtype=h5py.string_dtype()))
    with h5py.File(path) as file:
        begin = file["w"].id.get_offset()
    raw = bytearray(path.read_bytes())
    raw[begin : begin + 16 * count] = raw[begin : begin + 16] * count
    (tmp_path / "many.h5").write_bytes(raw)
    with pytest.raises(CorruptCheckpoint, match="the strings of 'w' are longer than the file"):
        read(tmp_path / "many.h5")


def test_a_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "m.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\xff" * 200)
    with pytest.raises(CorruptCheckpoint, match="HDF5 cannot read it: "):
        read(tmp_path / "m.h5")


def test_a_file_is_told_from_others_after_one_was_read(made: Any, tmp_path: Path) -> None:
    path = made(lambda file: file.create_dataset("a", data=[1.0]))
    read(path)
    (tmp_path / "b.json").write_text("{}")
    assert (is_hdf5(path), is_hdf5(tmp_path / "b.json")) == (True, False)
