"""Tensors stored in pieces, each a box of the whole: which pieces a part needs, and the part.

    box, rest = bounded(index, shape)       # the least box that holds what *index* cuts out
    part = put_together(dtype, box, pieces, read)[rest]

A box is a half-open range in each dimension.
"""

import math
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

from .errors import CorruptCheckpoint, UnsupportedCheckpoint
from .source import Index

if TYPE_CHECKING:
    import numpy as np

Box = tuple[slice, ...]

#: Pieces may overlap, but all in all they bring each value at most so many times: without a bound
#: a small file could ask for work without end.
MAX_OVERLAP = 16
MAX_DIMENSIONS = 32  # of any NumPy


def whole_box(shape: Sequence[int]) -> Box:
    """Return the box that is all of *shape*."""
    return tuple(slice(0, n) for n in shape)


def box_shape(box: Box) -> tuple[int, ...]:
    """Return the shape of what *box* cuts out.

    >>> box_shape((slice(0, 2), slice(3, 7)))
    (2, 4)
    """
    return tuple(side.stop - side.start for side in box)


def box_text(box: Box) -> str:
    """Return *box* as an index writes it.

    >>> box_text((slice(0, 2), slice(3, 7)))
    '[0:2, 3:7]'
    """
    return f"[{', '.join(f'{side.start}:{side.stop}' for side in box)}]"


def bounded(index: Index, shape: tuple[int, ...]) -> tuple[Box, Index]:
    """Return the least box of *shape* that holds what *index* cuts out, and what cuts that from it.

    Only integers, slices and `...` are looked at; for anything else the box is the whole.

    >>> bounded((slice(None, None, -2), 3), (6, 9))
    ((slice(1, 6, None), slice(3, 4, None)), (slice(4, None, -2), 0))
    """
    items = spelled_out(index, len(shape))
    if items is None:
        return whole_box(shape), index
    sides: list[slice] = []
    rest: list[Any] = []
    sizes = iter(shape)
    for item in items:
        if item is None:
            rest.append(None)
            continue
        side, inner = bounded_side(item, next(sizes))
        sides.append(side)
        rest.append(inner)
    return tuple(sides), tuple(rest)


def spelled_out(index: Index, rank: int) -> list[Any] | None:
    """Return *index* with a slice for each dimension that it leaves out; None for an odd one."""
    items = list(index) if isinstance(index, tuple) else [index]
    if not all(item is None or item is ... or is_plain(item) for item in items):
        return None
    ellipses = [at for at, item in enumerate(items) if item is ...]
    missing = rank - sum(item is not None and item is not ... for item in items)
    if len(ellipses) > 1 or missing < 0:
        return None  # NumPy says what is wrong with it
    at = ellipses[0] if ellipses else len(items)
    return [*items[:at], *[slice(None)] * missing, *items[at + 1 :]]


def is_plain(item: object) -> bool:
    """Return whether *item* of an index is a slice or an integer; a bool is something else."""
    integer = isinstance(item, Integral) and not isinstance(item, bool)
    return integer or isinstance(item, slice)


def bounded_side(item: Any, size: int) -> tuple[slice, Any]:
    """Return the range of one dimension that *item* touches, and what cuts it out of that."""
    if not isinstance(item, slice):
        at = int(item)
        if not -size <= at < size:
            raise IndexError(f"index {at} is out of bounds for a dimension of {size}")
        at %= size
        return slice(at, at + 1), 0
    touched = range(size)[item]
    if not touched:
        return slice(0, 0), slice(0, 0)
    low, high = min(touched[0], touched[-1]), max(touched[0], touched[-1])
    end = touched[-1] - low + (1 if touched.step > 0 else -1)
    return slice(low, high + 1), slice(touched[0] - low, None if end < 0 else end, touched.step)


def put_together(
    dtype: "np.dtype", box: Box, pieces: Sequence[Box], read: "Callable[[int, Box], np.ndarray]"
) -> "np.ndarray":
    """Return what *box* cuts out of the tensor stored in *pieces*.

    `read(number, part)` returns a part, a box within that piece; it is asked only for the pieces
    that *box* touches.
    """
    import numpy as np

    shape = box_shape(box)
    if len(shape) > MAX_DIMENSIONS:
        raise UnsupportedCheckpoint(f"NumPy has no array of shape {shape}, stored in pieces")
    shared = [common(piece, box) for piece in pieces]
    check_covered(box, [part for part in shared if part is not None])
    room = np.empty(shape, dtype)
    for number, part in enumerate(shared):
        if part is not None:
            room[moved(part, box)] = read(number, moved(part, pieces[number]))
    return room


def common(a: Box, b: Box) -> Box | None:
    """Return what two boxes share, None where that is nothing.

    Without dimensions they share the one value there is: a box that must not be taken for None.
    """
    sides = zip(a, b, strict=True)
    both = tuple(slice(max(x.start, y.start), min(x.stop, y.stop)) for x, y in sides)
    return None if any(side.start >= side.stop for side in both) else both


def moved(box: Box, origin: Box) -> Box:
    """Return *box* counted from where *origin* begins."""
    pairs = zip(box, origin, strict=True)
    return tuple(slice(side.start - o.start, side.stop - o.start) for side, o in pairs)


def check_covered(box: Box, parts: Sequence[Box]) -> None:
    """Refuse *parts* that leave some of *box* without a value, or overlap beyond measure.

    The corners of the parts cut the box into cells, each covered as a whole or not at all.
    """
    import numpy as np

    total = math.prod(box_shape(box))
    brought = sum(math.prod(box_shape(part)) for part in parts)
    if brought > MAX_OVERLAP * total:
        raise CorruptCheckpoint(
            f"its {len(parts)} pieces bring {brought} values for {total} elements: they overlap"
        )
    cuts = [
        np.unique([side.start, side.stop, *(end for p in parts for end in (p[d].start, p[d].stop))])
        for d, side in enumerate(box)
    ]
    open_ = np.ones([len(cut) - 1 for cut in cuts], bool)
    for part in parts:
        ends = [np.searchsorted(c, (s.start, s.stop)) for c, s in zip(cuts, part, strict=True)]
        open_[tuple(slice(*end) for end in ends)] = False
    if open_.any():
        left = open_.astype(np.int64)
        for cut in reversed(cuts):
            left = left @ np.diff(cut)
        raise CorruptCheckpoint(
            f"its {len(parts)} pieces leave {left} of {total} elements without a value"
        )
