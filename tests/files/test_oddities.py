"""What is odd in values, for every dtype."""

import numpy as np
import pytest

from warmstart.files import oddities as module
from warmstart.files.oddities import Oddities, oddities
from warmstart.files.statistics import as_numbers
from warmstart.spec import ITEMSIZES, numpy_dtype
from warmstart.testing.formats import NARROW

NUMBERS = sorted(set(ITEMSIZES) - {"string"})
FLOATS = [name for name in NUMBERS if "float" in name and not name.startswith(("float4", "float6"))]
COMPLEX = ["complex64", "complex128"]


def any_bits(dtype: str, size: int) -> np.ndarray:
    """Return values of all kinds of bits."""
    raw = np.random.default_rng(0).integers(0, 256, size * ITEMSIZES[dtype], np.uint8)
    raw &= 1 if dtype == "bool" else (1 << NARROW.get(dtype, 8)) - 1
    return raw.view(numpy_dtype(dtype))


@pytest.mark.parametrize("size", [1, 2, 3, 100, 5001])
@pytest.mark.parametrize("dtype", sorted(set(NUMBERS) - set(COMPLEX)))
def test_it_is_what_plain_numbers_say(
    dtype: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PIECE", 1000)
    values = any_bits(dtype, size)
    numbers = as_numbers(values)
    known = numbers[~np.isnan(numbers)].tolist()
    assert oddities(values) == Oddities(
        size, int(np.isnan(numbers).sum()), int(np.isinf(numbers).sum()),
        min(known, default=np.inf), max(known, default=-np.inf),
    )  # fmt: skip


@pytest.mark.parametrize("dtype", NUMBERS)
def test_all_the_same(dtype: str) -> None:
    ones = np.ones((3, 5), numpy_dtype(dtype))
    assert list(oddities(ones))[:1] == ["all 1"] * (dtype not in COMPLEX)
    assert list(oddities(ones[:1, :1])) == []


@pytest.mark.parametrize("dtype", sorted(set(NUMBERS) - {"float8_e8m0fnu"}))  # which has no zero
def test_all_zero(dtype: str) -> None:
    assert list(oddities(np.zeros(4, numpy_dtype(dtype)))) == ["all zero"]


@pytest.mark.parametrize("dtype", FLOATS)
def test_one_that_is_no_number(dtype: str) -> None:
    values = np.ones(2000, numpy_dtype(dtype))
    values[77] = np.nan
    assert list(oddities(values)) == ["1 NaN and 0 Inf of 2000 values"]


@pytest.mark.parametrize("dtype", COMPLEX)
def test_a_complex_number_is_odd_where_one_part_is(dtype: str) -> None:
    values = np.ones(9, dtype)
    values[2], values[3], values[4] = complex(0, np.nan), complex(np.inf, 0), complex(np.nan, 1)
    assert list(oddities(values)) == ["2 NaN and 1 Inf of 9 values"]


def test_nothing_but_infinities_and_nan() -> None:
    assert list(oddities(np.full(3, np.inf))) == ["0 NaN and 3 Inf of 3 values"]
    assert list(oddities(np.full(3, np.nan))) == ["3 NaN and 0 Inf of 3 values"]


@pytest.mark.parametrize("values", [np.zeros((0, 3)), np.array([b"a", b"a"], object)])
def test_nothing_is_odd(values: np.ndarray) -> None:
    assert list(oddities(values)) == []
