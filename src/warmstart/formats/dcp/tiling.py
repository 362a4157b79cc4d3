"""Whether the chunks of a tensor cover it exactly once, and what of them a slice needs.

Every chunk is a box: offsets and sizes, one each for every axis.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product

from ...errors import CorruptCheckpoint, UnsupportedCheckpoint

Shape = tuple[int, ...]
Box = tuple[Shape, Shape]

#: Cells of the grid that the edges of all chunks draw, which may be looked at: for each chunk, and
#: once.  Chunks of one grid take one cell each.
CELLS, CELLS_ONCE = 64, 1 << 16


def refuse_bad_tiling(tensors: Mapping[str, tuple[Shape, Sequence[Box]]]) -> None:
    """Raise with every tensor that its chunks do not cover exactly once.

    A hole would be memory that nobody wrote; with overlaps the values depended on an order.
    """
    faults = {
        name: fault
        for name, (shape, boxes) in tensors.items()
        if (fault := fault_of(name, shape, boxes)) is not None
    }
    if faults:
        lines = [f"  {name!r}: {fault}" for name, fault in faults.items()]
        raise CorruptCheckpoint("\n".join(["chunks do not make up their tensors:", *lines]))


def fault_of(name: str, shape: Shape, boxes: Sequence[Box]) -> str | None:
    """Return how *boxes* fail to cover *shape* exactly once, None when they do."""
    if boxes == [((0,) * len(shape), shape)]:  # as nearly all are
        return None
    for offsets, sizes in boxes:
        if not inside(offsets, sizes, shape):
            return f"a chunk of {sizes} at {offsets} does not lie in {shape}"
    solid = [box for box in boxes if math.prod(box[1])]
    covered = sum(math.prod(sizes) for _, sizes in solid)
    if covered < math.prod(shape):
        return f"{len(boxes)} chunks hold {covered} of the {math.prod(shape)} values of {shape}"
    if len(solid) > 1 and overlap(name, solid):
        return f"two of {len(boxes)} chunks overlap in {shape}"
    return None if boxes else "there are no chunks"


def inside(offsets: Shape, sizes: Shape, shape: Shape) -> bool:
    """Return whether a box lies in *shape*."""
    return len(offsets) == len(sizes) == len(shape) and all(
        type(begin) is int and begin >= 0 and begin + size <= n
        for begin, size, n in zip(offsets, sizes, shape, strict=True)
    )


def overlap(name: str, boxes: Sequence[Box]) -> bool:
    """Return whether two of *boxes* share a cell of the grid that the edges of all of them draw."""
    numbers = [numbered(edges) for edges in zip(*map(edges_of, boxes), strict=True)]
    room = CELLS_ONCE + CELLS * len(boxes)
    taken = set()
    for offsets, sizes in boxes:
        ranges = [
            range(number[begin], number[begin + size])
            for number, begin, size in zip(numbers, offsets, sizes, strict=True)
        ]
        room -= math.prod(map(len, ranges))
        if room < 0:
            raise UnsupportedCheckpoint(
                f"{name!r} is cut into {len(boxes)} chunks along so many different lines that to "
                "check them would take too long"
            )
        for cell in product(*ranges):
            if cell in taken:
                return True
            taken.add(cell)
    return False


def edges_of(box: Box) -> list[tuple[int, int]]:
    """Return where *box* begins and ends along each axis."""
    return [(begin, begin + size) for begin, size in zip(*box, strict=True)]


def numbered(edges: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Return the number of each edge among all of them."""
    return {edge: number for number, edge in enumerate(sorted({e for pair in edges for e in pair}))}


def shared(box: Box, wanted: Sequence[range]) -> tuple[tuple[slice, ...], tuple[slice, ...]] | None:
    """Return what of *box* is *wanted*: the part of the chunk, and its place in what is read.

    *wanted* are ranges along each axis, of any step but a negative one.  None where it is nothing.

    >>> shared(((4,), (4,)), [range(0, 8, 3)])
    ((slice(2, 3, 3),), (slice(2, 3, None),))
    """
    pairs = list(parts(box, wanted))
    if any(there.start >= there.stop for _, there in pairs):
        return None
    return tuple(here for here, _ in pairs), tuple(there for _, there in pairs)


def parts(box: Box, wanted: Sequence[range]) -> Iterator[tuple[slice, slice]]:
    """Yield for each axis what of the chunk is wanted, and where it goes."""
    for begin, size, r in zip(*box, wanted, strict=True):
        first = max(-(-(begin - r.start) // r.step), 0)
        stop = min(-(-(begin + size - r.start) // r.step), len(r))
        here = r.start + first * r.step - begin
        yield slice(here, here + (stop - first - 1) * r.step + 1, r.step), slice(first, stop)
