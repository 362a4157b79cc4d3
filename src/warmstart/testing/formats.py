"""What a format owes its users, as tests; a third party inherits them.

    class TestMine(FormatContract):
        format = my_package.my_format
        dtypes = frozenset({"float32", "int64"})        # all that the format can hold

        def petabyte(self, path):                       # a small file that claims very much
            path.write_bytes(...)

The files are small, and all is done in this process: a format that crashes it, or asks for more
memory than there is, fails the run.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from ..errors import CannotHold, CheckpointError, CorruptCheckpoint, NoSuchTensor
from ..source import DictSource, Source
from ..spec import ITEMSIZES, RUN_PREFIX, numpy_dtype, spec_of
from .reading import ReadingContract, bits, files_in

#: dtype -> bits in use of a byte
NARROW = {
    "int2": 2, "uint2": 2, "int4": 4, "uint4": 4,
    "float4_e2m1fn": 4, "float6_e2m3fn": 6, "float6_e3m2fn": 6,
}  # fmt: skip

BASE = np.arange(24, dtype=np.float32).reshape(2, 3, 4)

#: Ways an array can lie in memory.
LAYOUTS: dict[str, np.ndarray] = {
    "scalar": np.float32(2.5) * np.ones(()),
    "empty": np.zeros((0, 3), np.float32),
    "empty-inside": np.zeros((2, 0, 3), np.int64),
    "one": np.ones((1, 1, 1), np.int32),
    "big-endian": BASE.astype(">f4"),
    "big-endian-integers": np.arange(5, dtype=">i8"),
    "strided": BASE[:, ::2],
    "reversed": BASE[::-1, :, ::-1],
    "transposed": BASE.T,
    "fortran": np.asfortranarray(BASE),
    "broadcast": np.broadcast_to(np.float32(7), (3, 2)),
    "unaligned": np.frombuffer(b"\0" + BASE.tobytes(), np.uint8)[1:].view("<f4"),
}

INDICES: dict[str, Any] = {
    "row": 1,
    "all": ...,
    "part": (slice(None), slice(1, 3)),
    "stepped": (slice(None, None, -1), 2, slice(None, None, 2)),
    "element": (1, 2, 3),
    "nothing": slice(0, 0),
    "picked": ([0, 1], [2, 0]),
}

#: Odd, but a name: whatever it looks like, it is never a path.
NAMES = (
    "w", "a.b-c_d", "with space", "/absolute", "../up/../../x", "a//b", "ünïcode/λ/\U0001f600",
    "tab\there", "line\nbreak", 'quote"\'\\', "a:1", "w.npy", "CON", "x" * 300,
)  # fmt: skip


class Failing(DictSource):
    """A source whose tensor called *bad* cannot be read."""

    def __init__(self, arrays: Mapping[str, np.ndarray], bad: str) -> None:
        super().__init__(arrays)
        self._bad = bad

    def read(self, name: str) -> np.ndarray:
        if name == self._bad:
            raise CorruptCheckpoint(f"the bytes of {name!r} were changed")
        return super().read(name)


class FormatContract(ReadingContract):
    """What a format owes that is read and written; see the module."""

    #: Every dtype it can hold, by name.
    dtypes: ClassVar[frozenset[str]] = frozenset(ITEMSIZES)
    #: A dtype it holds, of any shape.
    usual = "float32"

    # --- the two ways in and out, which an heir may replace -----------------------------------

    def sample(self, folder: Path) -> Path:
        return self.save(small_checkpoint(self.dtypes), folder)

    def damaged_path(self, folder: Path) -> Path:
        return self.path(folder)

    def path(self, folder: Path) -> Path:
        """Return the path of a checkpoint to write in *folder*."""
        return folder / f"whole{self.format.EXTENSIONS[0]}"

    def save(self, tensors: Source | Mapping[str, Any], folder: Path) -> Path:
        """Save *tensors* in *folder*, which is made if need be."""
        folder.mkdir(exist_ok=True)
        source = tensors if isinstance(tensors, Source) else DictSource(tensors)
        self.format.save_source(source, self.path(folder))
        return self.path(folder)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run a test for each dtype that the format holds, or does not."""
        choices = {"dtype": self.dtypes, "foreign_dtype": frozenset(ITEMSIZES) - self.dtypes}
        for name in choices.keys() & set(metafunc.fixturenames):
            metafunc.parametrize(name, sorted(choices[name]))

    # --- what was saved is what is read -------------------------------------------------------

    def test_round_trip(self, dtype: str, tmp_path: Path) -> None:
        arrays = {"x": values_of(dtype), "empty": values_of(dtype)[:0]}
        with self.open(self.save(arrays, tmp_path)) as source:
            assert_same(source, arrays)

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_round_trip_of_any_layout(self, layout: str, tmp_path: Path) -> None:
        arrays = {"x": LAYOUTS[layout]}
        with self.open(self.save(arrays, tmp_path)) as source:
            assert_same(source, arrays)

    def test_round_trip_of_nothing(self, tmp_path: Path) -> None:
        with self.open(self.save({}, tmp_path)) as source:
            assert dict(source.specs) == {}

    def test_round_trip_unverified(self, tmp_path: Path) -> None:
        arrays = small_checkpoint(self.dtypes)
        with self.open(self.save(arrays, tmp_path), verify=False) as source:
            assert_same(source, arrays)

    @pytest.mark.parametrize("name", NAMES, ids=ascii)
    def test_names_keep_their_identity(self, name: str, tmp_path: Path) -> None:
        arrays = {name: BASE, name + "2": BASE + 1}
        with self.open(self.save(arrays, tmp_path)) as source:
            assert_same(source, arrays)

    def test_order_of_writing_does_not_change_the_files(self, tmp_path: Path) -> None:
        arrays = small_checkpoint(self.dtypes)
        self.save(arrays, tmp_path / "a")
        self.save(dict(reversed(arrays.items())), tmp_path / "b")
        assert files_in(tmp_path / "a") == files_in(tmp_path / "b")

    def test_roles_survive(self, tmp_path: Path) -> None:
        roles = {"w": "trainable", "mean": "model", "w/m": "slot", "step": "run"}
        arrays = dict.fromkeys((*roles, "unknown"), BASE)
        path = self.save(DictSource(arrays, roles=roles), tmp_path)
        with self.open(path) as source:
            found = {name: spec.role for name, spec in source.specs.items()}
        assert found == {**roles, "unknown": None}

    def test_run_state_has_its_role_from_its_name(self, tmp_path: Path) -> None:
        with self.open(self.save({RUN_PREFIX + "x": BASE}, tmp_path)) as source:
            assert source.specs[RUN_PREFIX + "x"].role == "run"

    @pytest.mark.parametrize("metadata", [{}, {"run": '{"step": 3}', "ü": "λ\n\0"}, {"like": "w"}])
    def test_metadata_survive(self, metadata: dict[str, str], tmp_path: Path) -> None:
        path = self.save(DictSource({"w": BASE}, metadata=metadata), tmp_path)
        with self.open(path) as source:
            assert (dict(source.metadata), dict(source.aliases)) == (metadata, {})

    def test_aliases_survive(self, tmp_path: Path) -> None:
        path = self.save(DictSource({"w": BASE}, aliases={"tied": "w"}), tmp_path)
        with self.open(path) as source:
            assert (list(source.specs), dict(source.aliases)) == (["w"], {"tied": "w"})
            np.testing.assert_array_equal(source.read("tied"), BASE)

    def test_a_checkpoint_can_be_saved_over_itself(self, tmp_path: Path) -> None:
        arrays = small_checkpoint(self.dtypes)
        path = self.save(arrays, tmp_path)
        with self.open(path) as source:
            self.save(source, tmp_path)
        with self.open(path) as source:
            assert_same(source, arrays)

    # --- reading ------------------------------------------------------------------------------

    def test_a_name_that_is_not_there(self, tmp_path: Path) -> None:
        with self.open(self.save({"kernel": BASE}, tmp_path)) as source:
            with pytest.raises(NoSuchTensor, match="'kernal' among the 1; near it: 'kernel'"):
                source.read("kernal")
            with pytest.raises(NoSuchTensor, match="'kernal' among the 1; near it: 'kernel'"):
                source.read_slice("kernal", 0)

    @pytest.mark.parametrize("index", INDICES)
    def test_a_slice_is_that_part_of_the_whole(self, index: str, tmp_path: Path) -> None:
        with self.open(self.save({"x": BASE}, tmp_path)) as source:
            part = source.read_slice("x", INDICES[index])
        assert isinstance(part, np.ndarray)
        np.testing.assert_array_equal(part, BASE[INDICES[index]], strict=True)

    def test_arrays_outlive_the_source_and_the_file(self, tmp_path: Path) -> None:
        path = self.save({"x": BASE}, tmp_path)
        with self.open(path) as source:
            array = source.read("x")
        self.save({"x": BASE + 1}, tmp_path)
        for file in files_in(tmp_path):
            (tmp_path / file).unlink()
        np.testing.assert_array_equal(array, BASE)

    # --- writing ------------------------------------------------------------------------------

    def test_a_dtype_it_cannot_hold(self, foreign_dtype: str, tmp_path: Path) -> None:
        arrays = {"odd": values_of(foreign_dtype), "fine": BASE, "odder": values_of(foreign_dtype)}
        with pytest.raises(CannotHold) as caught:
            self.save(arrays, tmp_path)
        assert "'odd'" in str(caught.value)
        assert "'odder'" in str(caught.value)
        assert files_in(tmp_path) == {}

    def test_a_failed_write_leaves_the_old_checkpoint(self, tmp_path: Path) -> None:
        old = {"a": BASE, "b": BASE + 1}
        path = self.save(old, tmp_path)
        before = files_in(tmp_path)
        with pytest.raises(CorruptCheckpoint, match="the bytes of 'b' were changed"):
            self.save(Failing({"a": BASE * 2, "b": BASE * 3}, "b"), tmp_path)
        assert files_in(tmp_path) == before
        with self.open(path) as source:
            assert_same(source, old)

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match="was not written: No such file or directory"):
            self.format.save_source(DictSource({"x": BASE}), self.path(tmp_path / "absent"))

    def test_the_arrays_of_the_caller_are_not_changed(self, tmp_path: Path) -> None:
        arrays = {name: array.copy() for name, array in LAYOUTS.items()}
        before = {name: (array.dtype, array.tobytes()) for name, array in arrays.items()}
        self.save(arrays, tmp_path)
        assert {name: (a.dtype, a.tobytes()) for name, a in arrays.items()} == before


def values_of(dtype: str) -> np.ndarray:
    """Return an array (2, 3, 4) of *dtype* with all kinds of bits: NaNs, infinities, negatives."""
    if dtype == "string":
        items = [b"", b"a", b"in\0side", b"\xff\xfe", "ü".encode(), b"x" * 20] * 4
        return np.array(items, dtype=object).reshape(2, 3, 4)
    raw = np.random.default_rng(0).integers(0, 256, 24 * ITEMSIZES[dtype], dtype=np.uint8)
    if dtype == "bool":
        raw &= 1
    raw &= (1 << NARROW.get(dtype, 8)) - 1
    return raw.view(numpy_dtype(dtype)).reshape(2, 3, 4)


def small_checkpoint(dtypes: frozenset[str]) -> dict[str, np.ndarray]:
    """Return a scalar, an empty tensor, and a few values of the dtypes most prone to trouble."""
    prone = ("bool", "bfloat16", "complex64", "float32", "string")
    arrays = {dtype: values_of(dtype)[0, :2] for dtype in prone if dtype in dtypes}
    return {**arrays, "scalar": np.array(1.5, np.float32), "none": np.zeros((0, 2), np.float32)}


def assert_same(source: Source, arrays: Mapping[str, np.ndarray]) -> None:
    """Assert that *source* has *arrays*, bit for bit, in native byte order and C order."""
    assert sorted(source.specs) == sorted(arrays)
    for name, expected in arrays.items():
        found = source.read(name)
        assert spec_of(name, found) == spec_of(name, expected) == source.specs[name]
        assert found.flags.c_contiguous
        assert found.dtype.isnative
        assert bits(found) == bits(expected)
