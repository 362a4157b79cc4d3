"""Statistics of values, against NumPy's own."""

import json

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmstart.files import statistics as module
from warmstart.files.statistics import statistics


@pytest.mark.parametrize(
    "dtype", ["f4", "f8", "f2", "i1", "u8", ml_dtypes.bfloat16, ml_dtypes.float8_e5m2]
)
def test_numbers(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 7)
    array = np.random.default_rng(0).integers(0, 40, (5, 6)).astype(dtype)
    found, wide = statistics(array), array.astype("f8")
    assert (found.min, found.max, found.zeros) == (wide.min(), wide.max(), (wide == 0).sum())
    assert (found.mean, found.std) == pytest.approx((wide.mean(), wide.std()))


def test_what_is_not_finite_is_counted_apart() -> None:
    found = statistics(np.array([1, np.nan, 3, np.inf, -np.inf], "f4"))
    assert (found.nans, found.infs, found.min, found.max, found.mean) == (1, 2, 1, 3, 2)
    assert str(found) == "min 1  max 3  mean 2  std 1  NaN 1  Inf 2"


def test_integers_keep_every_digit() -> None:
    assert statistics(np.array([2**63 - 1, -(2**63)])).min == -(2**63)
    assert statistics(np.array([2**64 - 1], "u8")).max == 2**64 - 1


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.array([3 + 4j], "c8"), "magnitude min 5  max 5  mean 5  std 0"),
        (np.array([b"", b"four"], object), "length min 0  max 4  mean 2  std 2"),
        (np.array([True, False]), "min 0  max 1  mean 0.5  std 0.5"),
        (np.array([3, -2], ml_dtypes.int4), "min -2  max 3  mean 0.5  std 2.5"),
        (np.zeros((0, 4)), "no values"),
        (np.array(np.nan), "no finite values  NaN 1"),
        (np.array([1e308, 1e308]), "min 1e+308  max 1e+308  mean inf  std nan"),
    ],
    ids=str,
)
def test_text(array: np.ndarray, text: str) -> None:
    assert str(statistics(array)) == text


@pytest.mark.parametrize(
    ("values", "constant"),
    [([0, 0], True), ([2.5, 2.5], True), ([0], False), ([1, 2], False), ([0, np.nan], False)],
)
def test_constant(values: list[float], constant: bool) -> None:
    assert statistics(np.array(values)).constant is constant


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.integers(1, 5))
def test_chunks_do_not_matter(values: list[float], chunk: int) -> None:
    array = np.array(values)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", chunk)
        found = statistics(array)
    assert found.mean == pytest.approx(array.mean(), abs=1e-6)
    assert found.std == pytest.approx(array.std(), abs=1e-6)


def test_they_go_into_json() -> None:
    found = statistics(np.array([1.5, 2.5], "f4")).to_dict()
    assert json.loads(json.dumps(found))["mean"] == 2
