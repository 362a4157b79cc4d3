"""Arrays of several processes: which parts are in this one, and an array made of such parts.

    (8, 3) over 4 devices of 2 processes     in process 0: [0:2, 0:3] and [2:4, 0:3]

An array that every process has all of, as replicated ones are, counts as a plain one.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ...boxes import Box, box_text, common, moved
from ..base import not_here


def is_divided(leaf: Any) -> bool:
    """Return whether *leaf*, a value or the shape of one, has parts in other processes only."""
    sharding = getattr(leaf, "sharding", None)
    if sharding is None or not hasattr(sharding, "is_fully_addressable"):
        return False
    return not (sharding.is_fully_addressable or sharding.is_fully_replicated)


def boxes_of(leaf: Any) -> tuple[Box, ...]:
    """Return where the parts of a divided *leaf* stand that are in this process, each once."""
    found = leaf.sharding.addressable_devices_indices_map(tuple(leaf.shape)).values()
    boxes = [as_box(index, leaf.shape) for index in found]
    return tuple({box_text(box): box for box in boxes}.values())


def as_box(index: Any, shape: tuple[int, ...]) -> Box:
    """Return what JAX says of a part as a box of *shape*."""
    sides = (side.indices(size)[:2] for side, size in zip(index, shape, strict=True))
    return tuple(slice(*side) for side in sides)


def part_of(name: str, leaf: jax.Array, box: Box) -> np.ndarray:
    """Return the values of a divided *leaf* in *box*, which has to be in one part that is here."""
    for shard in leaf.addressable_shards:
        own = as_box(shard.index, leaf.shape)
        if common(box, own) == box:
            part: np.ndarray = np.asarray(shard.data)[moved(box, own)]
            return part
    raise not_here(name, box, boxes_of(leaf))


def whole_of(leaf: jax.Array) -> Any:
    """Return the values of *leaf*, which this process has all of."""
    return leaf if leaf.is_fully_addressable else leaf.addressable_data(0)


def made_of(leaf: Any, part: Callable[[Box], np.ndarray]) -> jax.Array:
    """Return an array divided as *leaf* is, of what *part* returns for each box in this process."""
    shape = tuple(leaf.shape)
    return jax.make_array_from_callback(
        shape, leaf.sharding, lambda index: np.array(part(as_box(index, shape)))
    )
