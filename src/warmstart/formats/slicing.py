"""The part of a tensor that an index asks for, so that no more of a file is read than that."""

import math
from typing import NamedTuple

from ..source import Index


class Part(NamedTuple):
    """A run of a tensor's elements in C order, and what to take of it.

    `whole[index]` is `part[self.index]`, where `part` has this shape and its elements are those of
    the whole from `begin` on.
    """

    begin: int
    shape: tuple[int, ...]
    index: Index


def part_of(index: Index, shape: tuple[int, ...], *, uncut: int = 0) -> Part:
    """Return the smallest run of a tensor of *shape* that leading integers and a slice leave.

    The last *uncut* axes are never cut, for a format that packs several elements together.  An
    index of another kind (arrays, booleans), and one that NumPy will refuse, needs the whole.

    >>> part_of((1, slice(2, 4)), (3, 5, 7))
    Part(begin=49, shape=(2, 7), index=(slice(None, None, 1),))
    """
    items = index if isinstance(index, tuple) else (index,)
    if not all(type(i) is int or i is ... or i is None or isinstance(i, slice) for i in items):
        return Part(0, shape, index)
    begin = axis = 0
    axes = len(shape) - uncut
    while axis < min(axes, len(items)) and type(items[axis]) is int:
        if not -shape[axis] <= items[axis] < shape[axis]:
            return Part(0, shape, index)
        begin += items[axis] % shape[axis] * math.prod(shape[axis + 1 :])
        axis += 1
    rest = items[axis:]
    if axis < axes and rest and isinstance(rest[0], slice):
        chosen = range(*rest[0].indices(shape[axis]))
        first, last = sorted((chosen[0], chosen[-1])) if chosen else (0, -1)
        begin += first * math.prod(shape[axis + 1 :])
        rest = (slice(None, None, chosen.step), *rest[1:])
        return Part(begin, (last + 1 - first, *shape[axis + 1 :]), rest)
    return Part(begin, shape[axis:], rest)
