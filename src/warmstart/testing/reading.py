"""What a format owes those who read, as tests; for one that is only read these are all.

    class TestMine(ReadingContract):
        format = my_package.my_format

        def sample(self, folder):                       # a small, whole checkpoint
            return shutil.copy("golden.bin", folder)

        def petabyte(self, path):                       # a small file that claims very much
            path.write_bytes(...)

The sample is damaged in every place, so it should be small.  What it holds is compared with the
original library by tests of the format's own.
"""

import os
import tracemalloc
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from ..errors import CheckpointError, NoSuchTensor
from ..source import Source
from ..spec import spec_of

#: Sizes to which a file is cut short, and bytes of it that are changed, at most.
DAMAGES = 3000

#: Ways to cut a part out of any tensor.
PARTS: dict[str, Any] = {
    "all": ...,
    "none": (..., None),
    "reversed": (slice(None, None, -1),),
    "part": (slice(1, 3),),
    "last": (..., slice(-1, None)),
}


class ReadingContract:
    """What a format owes those who read; see the module."""

    #: The module or object that satisfies `warmstart.formats.Format`.
    format: ClassVar[Any]
    #: Whether every changed byte among the values is noticed.
    checksummed: ClassVar[bool] = False

    def sample(self, folder: Path) -> Path:
        """Put a small checkpoint in *folder*, alone there, and return the path to open."""
        raise NotImplementedError(f"{type(self).__name__} says no sample(folder)")

    def damaged_path(self, folder: Path) -> Path:
        """Return the path at which a broken checkpoint is made in *folder*."""
        return folder / f"whole{self.format.EXTENSIONS[0]}"

    def petabyte(self, path: Path) -> None:
        """Write at *path* a small checkpoint that claims to hold a petabyte."""
        raise NotImplementedError(f"{type(self).__name__} says no petabyte(path)")

    def open(self, path: Path, *, verify: bool = True, **options: Any) -> Source:
        """Open what `locate` finds at *path*."""
        found = self.format.locate(path)
        assert found is not None
        source: Source = self.format.open_source(found, verify=verify, **options)
        return source

    # --- reading ------------------------------------------------------------------------------

    def test_specs_say_what_read_gives(self, tmp_path: Path) -> None:
        with self.open(self.sample(tmp_path)) as source:
            for name, spec in source.specs.items():
                assert spec_of(name, source.read(name), spec.role) == spec

    def test_read_order_has_every_name_once(self, tmp_path: Path) -> None:
        with self.open(self.sample(tmp_path)) as source:
            assert sorted(source.read_order()) == sorted(source.specs)

    def test_a_name_that_nothing_is_like(self, tmp_path: Path) -> None:
        with self.open(self.sample(tmp_path)) as source:
            with pytest.raises(NoSuchTensor, match="there is no tensor '0dd' among the"):
                source.read("0dd")
            with pytest.raises(NoSuchTensor, match="there is no tensor '0dd' among the"):
                source.read_slice("0dd", 0)

    @pytest.mark.parametrize("part", PARTS)
    def test_a_slice_of_any_tensor_is_that_part_of_it(self, part: str, tmp_path: Path) -> None:
        with self.open(self.sample(tmp_path)) as source:
            for name, spec in source.specs.items():
                index = PARTS[part] if spec.shape else ...
                found, whole = source.read_slice(name, index), source.read(name)
                assert isinstance(found, np.ndarray)
                assert (found.dtype, found.shape) == (whole.dtype, whole[index].shape)
                assert bits(found) == bits(np.asarray(whole[index]))

    def test_all_at_once_is_each_alone(self, tmp_path: Path) -> None:
        with self.open(self.sample(tmp_path)) as source:
            assert same(source.read_all(), {name: source.read(name) for name in source.specs})

    def test_read_plainly_it_is_the_same(self, tmp_path: Path) -> None:
        path = self.sample(tmp_path)
        plain = {"mmap": False} if "mmap" in getattr(self.format, "OPTIONS", ()) else {}
        with self.open(path) as source, self.open(path, **plain) as other:
            assert list(source.specs.items()) == list(other.specs.items())
            assert same(other.read_all(), source.read_all())

    def test_what_was_read_outlives_the_source_and_the_files(self, tmp_path: Path) -> None:
        path = self.sample(tmp_path)
        with self.open(path) as source:
            arrays = source.read_all()
        before = {name: bits(array) for name, array in arrays.items()}
        for file in files_in(tmp_path):
            (tmp_path / file).unlink()
        assert {name: bits(array) for name, array in arrays.items()} == before

    # --- bytes from outside -------------------------------------------------------------------

    @pytest.mark.parametrize("content", [b"", b"\0" * 100, b"PK", b"{}", b"text\n" * 9])
    def test_other_files_are_not_claimed(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "other.bin").write_bytes(content)
        assert self.format.locate(tmp_path / "other.bin") is None
        assert self.format.locate(tmp_path / "absent") is None
        assert self.format.locate(tmp_path / "other.bin" / "below-a-file") is None

    def test_every_truncation_is_refused(self, tmp_path: Path) -> None:
        path = self.sample(tmp_path)
        for file, whole in files_in(tmp_path).items():
            for size in places(len(whole)):
                replace(tmp_path / file, whole[:size])
                with pytest.raises(CheckpointError):
                    self.read_all(path)
            replace(tmp_path / file, whole)

    @pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
    def test_every_flipped_byte_is_read_or_refused(self, flip: int, tmp_path: Path) -> None:
        path = self.sample(tmp_path)
        whole = self.read_all(path)
        for changed in flipped(tmp_path, flip):
            outcome = self.outcome(path)
            assert outcome is None or not self.checksummed or same(outcome, whole), changed

    def test_a_petabyte_is_refused_in_little_memory(self, tmp_path: Path) -> None:
        path = self.damaged_path(tmp_path)
        self.petabyte(path)
        tracemalloc.start()
        try:
            with pytest.raises(CheckpointError):
                self.read_all(path)
            assert tracemalloc.get_traced_memory()[1] < 20_000_000
        finally:
            tracemalloc.stop()

    def read_all(self, path: Path) -> dict[str, np.ndarray]:
        """Return every tensor, read verified."""
        with self.open(path) as source:
            return source.read_all()

    def outcome(self, path: Path) -> dict[str, np.ndarray] | None:
        """Return what is read, or None where it is refused; nothing else may come of bytes."""
        try:
            return self.read_all(path)
        except CheckpointError:
            return None


def bits(array: np.ndarray) -> list[Any] | bytes:
    """Return what makes two arrays of one dtype the same: their bytes, or their strings."""
    if array.dtype == object:
        items: list[Any] = array.ravel().tolist()
        return items
    return array.astype(array.dtype.newbyteorder("=")).tobytes()


def same(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> bool:
    """Return whether the arrays are the same, bit for bit, under the same names."""
    return found.keys() == expected.keys() and all(
        found[name].dtype == array.dtype
        and found[name].shape == array.shape
        and bits(found[name]) == bits(array)
        for name, array in expected.items()
    )


def files_in(folder: Path) -> dict[str, bytes]:
    """Return the content of every file in *folder*, by name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def replace(path: Path, content: bytes) -> None:
    """Put a new file in the place of *path*; arrays that map the old one keep it."""
    new = path.with_name("replacement")
    new.write_bytes(content)
    os.replace(new, path)


def flipped(folder: Path, flip: int) -> Iterator[str]:
    """Change every byte of every file in *folder* by *flip*, one at a time; yield which."""
    for file, whole in files_in(folder).items():
        for at in places(len(whole)):
            replace(folder / file, whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :])
            yield f"byte {at} of {file}"
        replace(folder / file, whole)


def places(size: int) -> range:
    """Return places in a file of *size* bytes: each, or in a larger one evenly spread ones."""
    return range(0, size, -(-size // DAMAGES) or 1)
