"""Parts of variables that are held still while the rest trains.

    the gradient   is zero there, so that nothing is clipped or accumulated because of it
    the values     are put back after the step, and so are the slots that lie beside them

Masks are made in `sessions/masks.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from keras import ops

from .arrays import BACKEND
from .optimizer import slot_lists


def masked(gradient: Any, mask: np.ndarray | None) -> Any:
    """Return *gradient* with zeros where *mask* is true."""
    if gradient is None or mask is None:
        return gradient
    if hasattr(gradient, "dense_shape"):  # TensorFlow's of single rows
        from ..tf_graph.regions import cleared

        return cleared(gradient, mask)
    return ops.where(mask, ops.zeros_like(gradient), gradient)


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
