"""Which dtypes may become which."""

import pytest

from warmstart.restore.fit import can_become, misfit
from warmstart.spec import ITEMSIZES, TensorSpec


@pytest.mark.parametrize("dtype", ITEMSIZES)
def test_every_dtype_can_stay_itself(dtype):
    assert can_become(dtype, dtype)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("float64", "float32"),
        ("float32", "float16"),
        ("float16", "float64"),
        ("float64", "bfloat16"),
        ("bfloat16", "float8_e4m3fn"),
        ("int8", "int32"),
        ("int32", "int64"),
        ("uint8", "int16"),
        ("uint8", "uint64"),
        ("int4", "int8"),
        ("complex64", "complex128"),
    ],
)
def test_allowed(source, target):
    assert can_become(source, target)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("int64", "int32"),
        ("uint8", "int8"),
        ("int8", "uint16"),
        ("uint64", "int64"),
        ("int32", "float64"),
        ("float32", "int32"),
        ("bool", "int8"),
        ("uint8", "bool"),
        ("float32", "complex64"),
        ("complex64", "float32"),
        ("complex128", "complex64"),
        ("string", "float32"),
        ("int8", "string"),
    ],
)
def test_refused(source, target):
    assert not can_become(source, target)


def test_shape_is_named_before_dtype():
    wrong = TensorSpec("w", "int32", (1, 3))
    assert misfit(wrong, TensorSpec("w", "float32", (3,))) == "shape"
    assert misfit(wrong, TensorSpec("w", "float32", (1, 3))) == "dtype"
    assert misfit(wrong, TensorSpec("w", "int64", (1, 3))) is None
