"""Specs, and the dtypes every part of the library speaks of."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmstart.errors import CorruptCheckpoint, UnsupportedCheckpoint
from warmstart.spec import (
    ITEMSIZES,
    NUMPY_NAMES,
    TensorSpec,
    checked_nbytes,
    dtype_name,
    numpy_dtype,
    spec_of,
)


@pytest.mark.parametrize("name", ITEMSIZES)
def test_every_name_has_a_numpy_dtype(name: str) -> None:
    assert dtype_name(numpy_dtype(name)) == name


@pytest.mark.parametrize("name", sorted(ITEMSIZES.keys() - {"string"}))
def test_item_sizes_are_those_of_numpy(name: str) -> None:
    assert numpy_dtype(name).itemsize == ITEMSIZES[name]


@pytest.mark.parametrize("name", sorted(NUMPY_NAMES))
def test_byte_order_does_not_change_the_name(name: str) -> None:
    assert dtype_name(np.dtype(name).newbyteorder(">")) == name


@pytest.mark.parametrize("strings", [np.array([b"a"]), np.array(["a"]), np.array([b"a"], object)])
def test_strings_of_any_kind_are_one_dtype(strings: np.ndarray) -> None:
    assert dtype_name(strings.dtype) == "string"


@pytest.mark.parametrize("dtype", ["M8[s]", "m8[D]", "V3", "g", [("a", "f4")]])
def test_a_numpy_dtype_without_counterpart(dtype: str) -> None:
    with pytest.raises(UnsupportedCheckpoint, match=r"NumPy's dtype .* has no counterpart"):
        dtype_name(np.dtype(dtype))


def test_a_name_that_is_not_known() -> None:
    with pytest.raises(UnsupportedCheckpoint, match="dtype 'float7' is not known; known: bool, "):
        numpy_dtype("float7")


def test_a_type_that_an_old_ml_dtypes_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", SimpleNamespace(__version__="0.1"))
    numpy_dtype.cache_clear()
    with pytest.raises(UnsupportedCheckpoint, match=r"newer ml_dtypes than 0\.1: pip install -U"):
        numpy_dtype("float4_e2m1fn")


def test_a_spec_counts_and_prints() -> None:
    spec = TensorSpec("w", "bfloat16", (3, 4), "trainable")
    assert (spec.size, spec.nbytes, str(spec)) == (12, 24, "bfloat16 (3, 4)")
    assert spec.numpy_dtype == numpy_dtype("bfloat16")
    assert spec.renamed("v") == TensorSpec("v", "bfloat16", (3, 4), "trainable")


def test_the_spec_of_an_array() -> None:
    array = np.zeros((2, 0), ">i2")
    assert spec_of("w", array, "slot") == TensorSpec("w", "int16", (2, 0), "slot")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1,) * 255, "a shape has 255 dimensions; at most 254 can be"),
        ((2, -1), r"shape \(2, -1\) has a negative dimension"),
        ((2**62, 2), r"float32 \(4611686018427387904, 2\) would take 36893488147419103232 bytes"),
    ],
)
def test_a_shape_that_no_file_can_hold(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(CorruptCheckpoint, match=message):
        checked_nbytes("float32", shape)


def test_strings_without_end_are_refused_though_they_have_no_size() -> None:
    assert checked_nbytes("string", (5,)) == 0
    with pytest.raises(CorruptCheckpoint, match="would take"):
        checked_nbytes("string", (2**63,))


def test_a_size_that_python_does_not_write_out() -> None:
    # Python raises ValueError for a number of more than 4,300 digits.
    with pytest.raises(CorruptCheckpoint, match=r"would take 2\*\*256 or more bytes"):
        checked_nbytes("float32", (10**4000, 10**4000))


def test_an_empty_shape_that_numpy_cannot_hold_is_refused() -> None:
    # NumPy would raise ValueError when the empty array is made.
    with pytest.raises(CorruptCheckpoint, match=r"take \d+ bytes but for the dimension of 0"):
        checked_nbytes("float32", (0, 2**61))
    assert checked_nbytes("float32", (0, 2**60)) == 0


@given(st.sampled_from(sorted(NUMPY_NAMES)), st.lists(st.integers(0, 5), max_size=4))
def test_checked_bytes_are_those_of_numpy(dtype: str, shape: list[int]) -> None:
    assert checked_nbytes(dtype, shape) == np.zeros(shape, dtype).nbytes
