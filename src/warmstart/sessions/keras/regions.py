"""Parts of variables that are held still while the rest trains.

    the gradient   is zero there, so that nothing is clipped or accumulated because of it
    the values     are put back after the step, and so are the slots that lie beside them

A mask is true where a variable is held.  It has one element along a dimension in which it does not
vary: rows of a table take a column.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from keras import ops

from ...source import Index
from .arrays import BACKEND
from .optimizer import slot_lists


def mask_at(shape: Sequence[int], index: Index) -> np.ndarray:
    """Return the mask of a variable of *shape* that is true at *index*.

    >>> mask_at((3, 2), np.s_[:2]).tolist(), mask_at((2, 3), np.s_[:, 0]).tolist()
    ([[True], [True], [False]], [[True, False, False]])
    """
    mask = np.zeros(tuple(shape), bool)
    mask[index] = True
    for axis in range(mask.ndim):
        one = mask[(slice(None),) * axis + (slice(0, 1),)]
        if mask.shape[axis] > 1 and bool((mask == one).all()):
            mask = one
    return mask.copy()


def masked(gradient: Any, mask: np.ndarray | None) -> Any:
    """Return *gradient* with zeros where *mask* is true."""
    if gradient is None or mask is None:
        return gradient
    if hasattr(gradient, "dense_shape"):
        return masked_rows(gradient, mask)
    return ops.where(mask, ops.zeros_like(gradient), gradient)


def masked_rows(gradient: Any, mask: np.ndarray) -> Any:
    """Return a gradient of some rows, a tf.IndexedSlices, with zeros where *mask* is true."""
    import tensorflow as tf

    of_rows = tf.gather(mask, gradient.indices) if mask.shape[0] > 1 else mask
    values = tf.where(of_rows, tf.zeros_like(gradient.values), gradient.values)
    return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)


@contextmanager
def kept(
    optimizer: Any, variables: Sequence[Any], masks: Mapping[int, np.ndarray]
) -> Iterator[None]:
    """Put *variables*, and their slots of the same shape, back where *masks* say, after the block.

    *masks* are by id of the variable.
    """
    before = [
        (each, masks[id(v)], copied(each))
        for v in variables
        for each in (v, *slots_beside(optimizer, v))
    ]
    yield
    for each, mask, values in before:
        each.assign(ops.where(mask, values, each.value))


def slots_beside(optimizer: Any, variable: Any) -> Iterator[Any]:
    """Yield the slots of *variable* whose elements belong to its elements."""
    index = optimizer._get_variable_index(variable)
    for _, slots in slot_lists(optimizer):
        slot = slots[index]
        if slot is not None and tuple(slot.shape) == tuple(variable.shape):
            yield slot


def copied(variable: Any) -> Any:
    """Return the values of *variable* now, which do not change with it."""
    if BACKEND == "torch":
        return variable.value.detach().clone()
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.identity(variable.value)
    return variable.value
