"""What NumPy's brackets ask of an array, as the smallest box of it and what then is left to cut."""

from typing import Any

Box = tuple[slice, ...]


def box_of(index: Any, shape: tuple[int, ...]) -> tuple[Box, Any]:
    """Return *box* and *rest* such that `a[index]` is `a[box][rest]` for any array of *shape*.

    Integers and slices narrow the box; a list, a mask and whatever else is left to NumPy, axis and
    all.  What NumPy would refuse raises NumPy's own error.

    >>> box_of((slice(None, None, -2), 3), (5, 8))
    ((slice(0, 5, None), slice(3, 4, None)), (slice(4, None, -2), 0))
    """
    import numpy as np

    items = list(index) if isinstance(index, tuple) else [index]
    whole = tuple(slice(0, n) for n in shape)
    if not all(is_plain(item) for item in items):
        return whole, index
    np.broadcast_to(np.empty(()), shape)[tuple(items)]  # raises what NumPy raises
    axes = sum(item is not None and item is not Ellipsis for item in items)
    at = next((i for i, item in enumerate(items) if item is Ellipsis), len(items))
    items[at : at + 1] = [slice(None)] * (len(shape) - axes)
    box: list[slice] = []
    rest: list[Any] = []
    sizes = iter(shape)
    for item in items:
        if item is None:
            rest.append(None)
            continue
        part, left = narrowed(item, next(sizes))
        box.append(part)
        rest.append(left)
    return tuple(box), tuple(rest)


def is_plain(item: Any) -> bool:
    """Return whether *item* is an integer, a slice, `...` or None."""
    is_integer = hasattr(item, "__index__") and not isinstance(item, bool) and not ndim_of(item)
    return item is None or item is Ellipsis or isinstance(item, slice) or is_integer


def ndim_of(item: Any) -> int:
    return int(getattr(item, "ndim", 0))


def narrowed(item: Any, size: int) -> tuple[slice, Any]:
    """Return the part of an axis that *item* needs, and *item* as it is within that part."""
    if not isinstance(item, slice):
        place = range(size)[item]
        return slice(place, place + 1), 0
    wanted = range(size)[item]
    if not wanted:
        return slice(0, 0), slice(0, 0)
    first, last = min(wanted[0], wanted[-1]), max(wanted[0], wanted[-1])
    step = wanted.step
    return slice(first, last + 1), slice(0 if step > 0 else last - first, None, step)
