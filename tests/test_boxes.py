"""Tensors in pieces: what a part needs of them, and the part."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, basic_indices

from warmstart.boxes import Box, bounded, box_shape, put_together, whole_box
from warmstart.errors import CorruptCheckpoint, UnsupportedCheckpoint

WHOLE = np.arange(24).reshape(4, 6)
TILES: list[Box] = [
    (slice(row, row + 2), slice(column, column + 3)) for row in (0, 2) for column in (0, 3)
]


@given(st.data())
def test_a_box_and_the_rest_cut_out_the_same(data: st.DataObject) -> None:
    shape = data.draw(array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6))
    index = data.draw(basic_indices(shape, allow_newaxis=True))
    whole = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    box, rest = bounded(index, shape)
    np.testing.assert_array_equal(whole[box][rest], whole[index], strict=True)
    assert np.prod(box_shape(box)) <= whole.size


@pytest.mark.parametrize("index", [([0, 2],), np.array([1]), (True,), (0, 0, 0), (..., ...)])
def test_another_index_needs_the_whole(index: Any) -> None:
    assert bounded(index, (4, 6)) == (whole_box((4, 6)), index)


@pytest.mark.parametrize("index", [4, -5, np.int64(9)])
def test_an_index_beyond_the_tensor(index: int) -> None:
    with pytest.raises(IndexError, match=f"index {index} is out of bounds for a dimension of 4"):
        bounded((index, 0), (4, 6))


def part(box: Box, pieces: list[Box], asked: list[int]) -> np.ndarray:
    """Return *box* of WHOLE from *pieces*, noting in *asked* which."""

    def read(number: int, inner: Box) -> np.ndarray:
        asked.append(number)
        return WHOLE[pieces[number]][inner]

    return put_together(WHOLE.dtype, box, pieces, read)


def test_only_the_pieces_that_are_touched_are_asked_for() -> None:
    asked: list[int] = []
    box = (slice(1, 3), slice(4, 6))
    np.testing.assert_array_equal(part(box, TILES, asked), WHOLE[box])
    assert asked == [1, 3]


def test_nothing_asks_for_no_piece() -> None:
    asked: list[int] = []
    assert part((slice(2, 2), slice(0, 6)), TILES, asked).shape == (0, 6)
    assert asked == []


def test_one_value_without_dimensions() -> None:
    value = put_together(np.dtype("f4"), (), [()], lambda number, inner: np.float32([7])[0])
    assert (value.shape, value) == ((), 7)


BAD = {
    "its 3 pieces leave 6 of 24 elements without a value": TILES[:3],
    "its 0 pieces leave 24 of 24 elements": [],
    # A thousand names for the same bytes would have cost a thousand times the work.
    "its 1000 pieces bring 24000 values for 24 elements: they overlap": [whole_box((4, 6))] * 1000,
}


@pytest.mark.parametrize("message", BAD)
def test_pieces_that_cannot_be_right(message: str) -> None:
    with pytest.raises(CorruptCheckpoint, match=re.escape(message)):
        part(whole_box((4, 6)), BAD[message], [])


def test_more_dimensions_than_numpy_has() -> None:
    box = whole_box((1,) * 90)
    with pytest.raises(
        UnsupportedCheckpoint, match=r"NumPy has no array of shape \(1, .*in pieces"
    ):
        put_together(np.dtype("f4"), box, [box], lambda number, inner: np.zeros(1))
