"""Values of Keras variables as NumPy arrays and back, on each of the backends.

    tensorflow   a tf.Variable that is assigned to
    jax          an array that is replaced
    torch        a parameter that is written into, so that whoever else holds it sees the new values

A variable may have no value yet: one that was built without memory (unbuilt.py).
"""

from mmap import mmap
from typing import Any

import keras
import numpy as np

from ...errors import CheckpointError, UnsupportedCheckpoint
from ...spec import TensorSpec, dtype_name
from ..base import refuse_misfit

BACKEND: str = keras.config.backend()

LARGE = 1 << 20  # bytes


def variable_spec(name: str, live: Any, role: str) -> TensorSpec:
    """Return the spec of *live* under *name*."""
    return TensorSpec(name, dtype_of(live), tuple(live.shape), role)


def dtype_of(live: Any) -> str:
    """Return the dtype that the values of *live* have in memory.

    PyTorch holds some of Keras' unsigned integers in wider ones.
    """
    if BACKEND != "torch":
        return str(live._dtype)
    from keras.src.backend.torch.core import to_torch_dtype

    from ..torch.arrays import DTYPES

    return DTYPES[to_torch_dtype(live._dtype)]


def has_value(live: Any) -> bool:
    """Return whether *live* has a value yet."""
    return live._value is not None


def array_of(name: str, live: Any) -> np.ndarray:
    """Return the values of *live*; they are not copied where the backend lends them."""
    if not has_value(live):
        raise CheckpointError(
            f"{name!r} has no value yet: restore it, or call session.initialize({[name]!r})"
        )
    if BACKEND == "torch":
        from ..torch.arrays import array_of as array_of_tensor

        return array_of_tensor(name, live._value)
    value = live._value.value() if BACKEND == "tensorflow" else live._value
    array = np.asarray(value)
    dtype_name(array.dtype)  # refuses what no checkpoint holds
    return array


def write(name: str, live: Any, array: np.ndarray) -> None:
    """Set the values of *live* to those of *array*, of which nothing is kept."""
    refuse_misfit(name, array, variable_spec(name, live, "model"))
    if not has_value(live):
        live._initialize(tensor_of(array))
        live._initializer = None
    elif BACKEND == "torch":
        from ..torch.arrays import write as write_tensor

        write_tensor(name, live._value, array)
    else:
        live._direct_assign(array if BACKEND == "tensorflow" else tensor_of(array))


def tensor_of(array: np.ndarray) -> Any:
    """Return a new tensor of the backend with the values of *array*, which is copied."""
    if BACKEND == "torch":
        from ..torch.arrays import tensor_of as tensor_of_array

        return tensor_of_array(array)
    if BACKEND == "jax":
        return array_of_jax(array)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.constant(array)
    raise UnsupportedCheckpoint(
        f"Keras runs on {BACKEND!r} here; models are known on tensorflow, jax and torch"
    )


def array_of_jax(array: np.ndarray) -> Any:
    """Return a new array of JAX with the values of *array*.

    What is put may lie on the array's own memory, whatever may_alias= says, so it is put as a copy.
    A large one gets whole pages: memory that the threads of JAX allocate and free grows, and comes
    back late.
    """
    import jax

    if array.nbytes < LARGE:
        return jax.numpy.array(array)
    own = np.frombuffer(mmap(-1, array.nbytes), array.dtype).reshape(array.shape)
    own[...] = array
    return jax.device_put(own).block_until_ready()


def initialize(live: Any) -> None:
    """Give *live* its initial value, if it has none yet."""
    if not has_value(live):
        live._deferred_initialize()
