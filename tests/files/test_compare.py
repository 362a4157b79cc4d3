"""How two arrays differ."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmstart.files import compare as module
from warmstart.files.compare import compare

NAN = np.float32("nan")


def other_nan() -> np.ndarray:
    """Return a NaN with a payload of its own."""
    return np.array([0x7FC00001], "u4").view("f4")


@pytest.mark.parametrize(
    ("a", "b", "differing"),
    [
        (np.array([0.0, 1], "f4"), np.array([-0.0, 1], "f4"), 1),
        (np.array([NAN]), other_nan(), 1),
        (np.array([NAN, np.inf]), np.array([NAN, np.inf]), 0),
        (np.array([1, 2], "c16"), np.array([1, 2 + 1j], "c16"), 1),
        (np.array([b"a", b""], object), np.array([b"b", b""], object), 1),
        (np.array([1, 2], ml_dtypes.bfloat16), np.array([1, 3], ml_dtypes.bfloat16), 1),
        (np.zeros((0, 3)), np.zeros((0, 3)), 0),
        (np.array([True, True]), np.array([True, False]), 1),
        (np.array([1, 2], "<i4"), np.array([1, 2], ">i4"), 0),
    ],
    ids=str,
)
def test_at_zero_tolerance_bytes_count(a: np.ndarray, b: np.ndarray, differing: int) -> None:
    assert compare(a, b).differing == differing


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.array([0.0]), np.array([-0.0])),
        (np.array([NAN]), other_nan()),
        (np.array([np.inf]), np.array([np.inf])),
        (np.array([100.0]), np.array([101.0])),
        (np.array([3], "u8"), np.array([4], "u8")),
        (np.array([1 + 1j]), np.array([1 + 0.5j])),
    ],
    ids=str,
)
def test_near_enough(a: np.ndarray, b: np.ndarray) -> None:
    assert compare(a, b, atol=1).differing == 0


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.array([NAN]), np.array([1.0], "f4")),
        (np.array([np.inf]), np.array([-np.inf])),
        (np.array([np.inf]), np.array([1e9])),
        (np.array([100.0]), np.array([101.5])),
        (np.array([True]), np.array([False])),
        (np.array([b"a"], object), np.array([b"b"], object)),
    ],
    ids=str,
)
def test_not_near_enough(a: np.ndarray, b: np.ndarray) -> None:
    assert compare(a, b, atol=1, rtol=1e-9).differing == 1


def test_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 2)
    found = compare(np.array([1, 5, 2, np.nan, 8], "f4"), np.array([1, 4, 2, 0, 10], "f4"))
    assert (found.size, found.differing, found.unmeasured) == (5, 3, 1)
    assert (found.max_abs, found.max_rel) == (2, pytest.approx(0.2))
    assert str(found) == "3 of 5 values differ; max abs 2, max rel 0.2; NaN or Inf at 1 of them"


def test_integers_are_subtracted_exactly() -> None:
    low, high = np.array([-(2**63)]), np.array([2**63 - 1])
    assert compare(low, high).max_abs == 2.0**64
    assert compare(np.array([2**53]), np.array([2**53 + 1])).max_abs == 1


def test_strings_have_no_distance() -> None:
    found = compare(np.array([b"a"], object), np.array([b"b"], object))
    assert (found.max_abs, str(found)) == (None, "1 of 1 values differ")


FLOATS = st.lists(st.floats(width=32), min_size=4, max_size=4)


@given(FLOATS, FLOATS, st.floats(0, 10), st.floats(0, 1))
def test_it_is_symmetric(x: list[float], y: list[float], atol: float, rtol: float) -> None:
    a, b = np.array(x, "f4"), np.array(y, "f4")
    assert compare(a, b, atol=atol, rtol=rtol) == compare(b, a, atol=atol, rtol=rtol)


@given(FLOATS, FLOATS)
def test_the_distance_found_is_a_tolerance_that_passes(x: list[float], y: list[float]) -> None:
    a, b = np.array(x, "f4"), np.array(y, "f4")
    found = compare(a, b)
    again = compare(a, b, atol=found.max_abs or 5e-324)
    assert again.differing <= found.unmeasured
