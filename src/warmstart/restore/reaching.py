"""How values of one shape could become those of another without a change: the steps, and how usual.

(3, 4)        -> (4, 3)          transposed: a dense kernel of another framework
(7, 7, 3, 64) -> (64, 3, 7, 7)   the axes as PyTorch orders those of a convolution
(1, 1, 8, 10) -> (10, 8)         without the axes of 1, transposed
(8, 12, 64)   -> (768, 8)        heads of an attention made one axis, transposed
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import permutations
from typing import NamedTuple

from .recipe import Step
from .steps import Reshape, Transpose

Shape = tuple[int, ...]

#: Orders of axes that frameworks differ by, by rank, each with the axes of space in what is turned.
USUAL: dict[int, tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]] = {
    2: (((1, 0), ()),),
    3: (((2, 1, 0), (0,)),),
    4: (
        ((3, 2, 0, 1), (0, 1)),  # HWIO -> OIHW
        ((2, 3, 1, 0), (2, 3)),  # and back
        ((2, 3, 0, 1), (0, 1)),  # a depthwise one: HWCM -> CMHW
        ((2, 3, 0, 1), (2, 3)),
    ),
    5: (((4, 3, 0, 1, 2), (0, 1, 2)), ((2, 3, 4, 1, 0), (2, 3, 4))),
}

#: Other orders of axes are looked for up to this rank.
MAX_RANK = 4


class Way(NamedTuple):
    """How values of one shape become those of another."""

    likely: float  # from 1, no step at all, down to 0
    steps: tuple[Step, ...]


@lru_cache(maxsize=4096)
def way_between(source: Shape, target: Shape) -> Way | None:
    """Return the most usual way from *source* to *target*, None if there is none.

    >>> way_between((3, 4), (4, 3)).steps, way_between((3, 4), (2, 6))
    ((Transpose(axes=(1, 0)),), None)
    """
    if source == target:
        return Way(1, ())
    order = usual_order(source, target)
    if order:
        return Way(0.98, (Transpose(order),))
    way = way_without_ones(source, target)
    order = None if way else order_between(source, target, other_orders(len(source)))
    return Way(0.6, (Transpose(order),)) if order else way


def way_without_ones(source: Shape, target: Shape) -> Way | None:
    """Return the way that leaves axes of 1 out of account, and sees neighbouring axes as one."""
    bare, wanted = without_ones(source), without_ones(target)
    if bare == wanted:
        return Way(0.95, (Reshape(target),))
    if bare[::-1] == wanted:
        return Way(0.9, turned(source, bare, target))
    if merged(bare, wanted) or merged(wanted, bare):
        return Way(0.8, (Reshape(target),))
    matrix = matrix_between(bare, wanted)
    return Way(0.8, turned(source, matrix, target)) if matrix else None


def usual_order(source: Shape, target: Shape) -> tuple[int, ...] | None:
    """Return the order that frameworks differ by and that fits; axes of space are the small ones.

    >>> usual_order((3, 3, 8, 8), (8, 8, 3, 3)), usual_order((8, 8, 3, 3), (3, 3, 8, 8))
    ((3, 2, 0, 1), (2, 3, 1, 0))
    """
    known = USUAL.get(len(source), ())
    fitting = [each for each in known if order_between(source, target, [each[0]])]
    best = min(fitting, key=lambda each: max((source[a] for a in each[1]), default=0), default=None)
    return best and best[0]


def order_between(
    source: Shape, target: Shape, orders: Sequence[tuple[int, ...]]
) -> tuple[int, ...] | None:
    """Return the first of *orders* that turns *source* into *target*."""
    if len(source) != len(target):
        return None
    return next((o for o in orders if tuple(source[axis] for axis in o) == target), None)


def other_orders(rank: int) -> list[tuple[int, ...]]:
    """Return all orders of *rank* axes, while these are few."""
    return list(permutations(range(rank))) if rank <= MAX_RANK else []


def without_ones(shape: Shape) -> Shape:
    """Return *shape* without its axes of 1."""
    return tuple(side for side in shape if side != 1)


def turned(source: Shape, between: Shape, target: Shape) -> tuple[Step, ...]:
    """Return the steps by way of the shape *between*, whose axes are turned around."""
    turn = Transpose(tuple(reversed(range(len(between)))))
    before = () if source == between else (Reshape(between),)
    after = () if between[::-1] == target else (Reshape(target),)
    return (*before, turn, *after)


def merged(fine: Shape, coarse: Shape) -> bool:
    """Return whether *coarse* is *fine* with neighbouring axes made one.

    >>> merged((8, 12, 64), (8, 768)), merged((8, 12), (12, 8))
    (True, False)
    """
    sides = iter(fine)
    for side in coarse:
        product = 1
        while product < side:
            following = next(sides, None)
            if following is None:
                return False
            product *= following
        if product != side:
            return False
    return next(sides, None) is None


def matrix_between(bare: Shape, wanted: Shape) -> Shape | None:
    """Return the matrix that *bare* can be seen as and that, transposed, *wanted* can be seen as.

    >>> matrix_between((8, 12, 64), (768, 8)), matrix_between((768, 8), (8, 12, 64))
    ((8, 768), (768, 8))
    """
    small, large = sorted((bare, wanted[::-1]), key=len)
    return small if len(small) == 2 and merged(large, small) else None
