"""Masks over variables, true where they are held still.

A mask has one element along a dimension in which it does not vary: rows of a table take a column.
It becomes a constant of whatever is compiled or written.
"""

from collections.abc import Sequence

import numpy as np

from ..source import Index


def mask_of(shape: Sequence[int], index: Index) -> np.ndarray:
    """Return where *index* points in a variable of *shape*.

    >>> mask_of((3, 2), np.s_[:2]).tolist(), mask_of((2, 3), np.s_[:, 0]).tolist()
    ([[True], [True], [False]], [[True, False, False]])
    """
    mask = np.zeros(tuple(shape), bool)
    mask[index] = True
    return compact(mask)


def compact(mask: np.ndarray) -> np.ndarray:
    """Return *mask* with an axis of length 1 for each along which it does not change."""
    for axis in range(mask.ndim):
        one = mask.take([0], axis)
        if (mask == one).all():
            mask = one
    return mask
