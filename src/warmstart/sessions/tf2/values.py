"""Values of eager variables as arrays, and back."""

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.eager.context import context

from ...errors import UnsupportedCheckpoint
from ...spec import ITEMSIZES, TensorSpec
from ..base import refuse_misfit
from .variables import Variable

#: What TensorFlow wants of an array's memory to take it without a copy.
ALIGNMENT = 64


def spec_in(variable: Variable) -> TensorSpec:
    """Return the spec of *variable*; refuse a dtype that no checkpoint holds."""
    spec = variable.spec
    if spec.dtype not in ITEMSIZES:
        raise UnsupportedCheckpoint(f"{variable.name!r} is {spec.dtype}, which no checkpoint holds")
    return spec


def read(variable: Variable) -> np.ndarray:
    """Return the value of *variable*: mostly its memory, which the next assignment leaves."""
    value = variable.inner.numpy()
    return np.asarray(value, dtype=object if variable.inner.dtype == tf.string else None)


def write(variable: Variable, array: np.ndarray) -> None:
    """Set the value of *variable*, also while it is frozen; *array* is copied once."""
    expected = spec_in(variable)
    refuse_misfit(variable.name, array, expected)
    inner = variable.inner
    value = tf.constant(array) if expected.dtype == "string" else as_tensor(array)
    type(inner).assign(inner, value)  # around the guards that the instance may have


def as_tensor(array: np.ndarray) -> Any:
    """Return a tensor on a copy of *array*, made where TensorFlow takes it as it is.

    `tf.convert_to_tensor` would copy that once more in Python, and again in C.
    """
    memory = np.empty(array.nbytes + ALIGNMENT, np.uint8)
    begin = -memory.ctypes.data % ALIGNMENT
    copy = memory[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return tf.__internal__.EagerTensor(copy, context().device_name)
