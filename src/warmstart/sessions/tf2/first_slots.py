"""What fills the slots of an optimizer when it makes them: zeros mostly, but Adagrad's and others'.

Each slot is filled with one number, so another optimizer of the same settings is asked to make its
slots for a variable of one element.
"""

import copy
import sys
from typing import Any

import numpy as np
import tensorflow as tf

from ...spec import TensorSpec
from .objects import is_keras_optimizer
from .optimizers import build, slots_of, with_inner


def first_values(optimizer: Any, like: TensorSpec) -> dict[str, float]:
    """Return what fills each slot, by its key, of a variable *like* a slot in rank and dtype.

    Nothing of an optimizer that cannot be made anew from its settings.
    """
    shape, dtype = (1,) * len(like.shape), like.dtype
    with tf.init_scope():
        try:
            other = unbuilt(optimizer)
            small = stand_in(other, shape, dtype)
            build(other, [small])
            made = [slot for each in with_inner(other) for slot in slots_of(each, [small])]
        except (AttributeError, NotImplementedError, TypeError, ValueError):
            return {}
    return {slot.key: float(np.ravel(slot.value)[0]) for slot in made}


def unbuilt(optimizer: Any) -> Any:
    """Return an optimizer with the settings of *optimizer*, without slots."""
    if is_keras_optimizer(optimizer):
        return type(optimizer).from_config(optimizer.get_config())
    other = copy.copy(optimizer)
    other._slots, other._non_slot_dict, other._deferred_slot_restorations = {}, {}, {}
    return other


def stand_in(optimizer: Any, shape: tuple[int, ...], dtype: str) -> Any:
    """Return a variable of *shape* such as *optimizer* trains."""
    if is_keras_optimizer(optimizer):
        return sys.modules["keras"].Variable("zeros", shape=shape, dtype=dtype, name="variable")
    return tf.Variable(tf.zeros(shape, dtype))
