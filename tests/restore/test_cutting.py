"""A part of what a recipe makes is the same whether it is made of parts or cut out of the whole."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmstart.boxes import Box
from warmstart.restore.cutting import value_at
from warmstart.restore.recipe import Recipe, Taken, made, spec_from, value_from
from warmstart.restore.steps import (
    Add,
    Cast,
    Concatenate,
    Fill,
    Flip,
    Pad,
    Reshape,
    Slice,
    Stack,
    Take,
    Transpose,
)
from warmstart.spec import spec_of

ARRAYS = {
    "a": np.arange(24, dtype=np.float32).reshape(4, 6),
    "b": np.arange(100, 112, dtype=np.float32).reshape(2, 6),
    "c": -np.arange(24, dtype=np.float32).reshape(4, 6),
}
SPECS = {name: spec_of(name, array) for name, array in ARRAYS.items()}

RECIPES: list[Recipe] = [
    Taken("a"),
    made(Transpose((1, 0)), "a"),
    made(Cast("float64"), "a"),
    made(Slice(0, 1, -1), "a"),
    made(Slice(-1, -4, None), "a"),
    made(Take(0, 2), "a"),
    made(Take(-1, 5), "a"),
    made(Concatenate(0), "a", "b"),
    made(Stack(1), "a", "c"),
    made(Stack(-1), "a", "c"),
    made(Transpose(()), made(Concatenate(0), made(Slice(0, 1, 3), "a"), "b")),
    made(Add(), "a", "c"),
    made(Fill(3.0), "a"),
    made(Flip((0,)), "a"),
    made(Pad(0, 1, 2), "a"),
    made(Reshape((3, 8)), "a"),
]

#: Those of which a part is made of no more than it needs.
FRUGAL = RECIPES[:11]


def box_in(shape: tuple[int, ...]) -> st.SearchStrategy[Box]:
    """Return boxes of one element or more."""
    sides = [
        st.integers(0, n - 1).flatmap(
            lambda a, n=n: st.integers(a + 1, n).map(lambda b: slice(a, b))
        )
        for n in shape
    ]
    return st.tuples(*sides)


@pytest.mark.parametrize("recipe", RECIPES, ids=repr)
@given(data=st.data())
def test_a_part_is_that_of_the_whole(recipe: Recipe, data: Any) -> None:
    whole = value_from(recipe, ARRAYS.__getitem__)
    box = data.draw(box_in(whole.shape))
    read = []

    def part(name: str, box: Box | None) -> np.ndarray:
        array = ARRAYS[name][... if box is None else box]
        read.append(array.size)
        return array

    found = value_at(recipe, box, SPECS, part)
    np.testing.assert_array_equal(found, whole[box], strict=True)
    assert spec_from(recipe, SPECS).shape == whole.shape
    if recipe in FRUGAL:
        assert sum(read) == found.size
