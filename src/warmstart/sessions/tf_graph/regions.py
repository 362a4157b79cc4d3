"""Parts of variables held still by the very operation that trains the rest of them.

    gradients -> zero in the part -> processors -> [ copies -> optimizer -> put back ] = train op

The copies are of the variable and of its slots, taken before the optimizer's first write.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from ...names import last, parent
from ...source import Index
from ..masks import compact
from .roles import SLOT_NAMES, state_inputs
from .variables import Variable
from .walk import is_apply, operation, writes

v1 = tf.compat.v1

#: Operation of a variable -> where it is held.  Each is written into every `.meta`.
Masks = Mapping[str, np.ndarray]


def masks_of(variable: Variable, index: Index) -> dict[str, np.ndarray]:
    """Return the masks for the parts of *variable*, by their operations."""
    mask = np.zeros(variable.shape or (), bool)
    mask[index] = True
    return {part.op_name: compact(mask[part.index]) for part in variable.parts}


def either(masks: Iterable[Masks]) -> dict[str, np.ndarray]:
    """Return the masks that hold what any of *masks* does."""
    found: dict[str, np.ndarray] = {}
    for each in masks:
        for op_name, mask in each.items():
            found[op_name] = compact(mask | found.get(op_name, np.False_))
    return found


def cleared(gradient: Any, mask: np.ndarray) -> Any:
    """Return a dense or sparse *gradient*, zero where *mask* holds the variable."""
    if gradient is None:
        return None
    if isinstance(gradient, tf.IndexedSlices):
        rows = tf.constant(mask)
        rows = rows if mask.shape[0] == 1 else tf.gather(rows, gradient.indices)
        values = tf.where(rows, tf.zeros((), gradient.dtype), gradient.values)
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return tf.where(tf.constant(mask), tf.zeros((), gradient.dtype), gradient)


def applied(apply: Callable[[], Any], held: Iterable[tuple[Any, np.ndarray]]) -> Any:
    """Return the operation of *apply*, after which what is *held* is put back.

    *held* are variables, slots among them, with where they are held.
    """
    copies = [(v, mask, copy_of(v)) for v, mask in held]
    with tf.control_dependencies([copy for _, _, copy in copies]):
        updated = operation(apply())
    with tf.control_dependencies([updated]):
        puts = [
            v.assign(tf.where(tf.constant(mask), copy, v.read_value()), read_value=False)
            for v, mask, copy in copies
        ]
    return tf.group(*puts)


def copy_of(variable: Any) -> Any:
    """Return the value of *variable* in a memory of its own, which no update writes into."""
    return tf.raw_ops.DeepCopy(x=variable.read_value())


def slots_like(variable: Any) -> list[Any]:
    """Return the slots that have a place for every element of *variable*."""
    graph = variable.graph
    own = {
        name
        for op in graph.get_operations()
        if is_apply(op) and writes(op) is variable.op
        for name in state_inputs(op)
    }
    return [
        v
        for v in graph.get_collection(v1.GraphKeys.GLOBAL_VARIABLES)
        if v.shape == variable.shape and (v.op.name in own or named_after(v, variable))
    ]


def named_after(slot: Any, variable: Any) -> bool:
    """Return whether *slot* has a name that TensorFlow gives to a slot of *variable*."""
    name = slot.op.name
    return parent(name) == variable.op.name and last(name) in SLOT_NAMES
