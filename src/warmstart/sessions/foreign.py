"""Arrays of frameworks, wherever they turn up in a state, as NumPy's and back.

    kind, array = taken(value)          ("torch", ndarray); None where *value* is no such array
    value = given_back(kind, array)     a new one, in main memory or where the framework puts it

A framework is asked only once somebody has imported it.
"""

import sys
from typing import TYPE_CHECKING, Any

from ..errors import MissingDependency

if TYPE_CHECKING:
    import numpy as np

TORCH, JAX, TENSORFLOW = "torch", "jax", "tensorflow"
#: How the kind of a typed random key of JAX begins; the name of its algorithm follows.
KEY = "jax.key:"


def taken(value: Any) -> "tuple[str, np.ndarray] | None":
    """Return the kind of *value* and its values; None unless it is an array of a framework."""
    for package, take in TAKERS.items():
        if package in sys.modules and (found := take(value)) is not None:
            return found
    return None


def of_torch(value: Any) -> "tuple[str, np.ndarray] | None":
    import torch

    if not isinstance(value, torch.Tensor):
        return None
    from .torch.arrays import array_of

    return TORCH, array_of("a tensor in the state", value)


def of_jax(value: Any) -> "tuple[str, np.ndarray] | None":
    import jax

    if not isinstance(value, jax.Array):
        return None
    from .jax.arrays import array_of, implementation, is_key

    kind = f"{KEY}{implementation(value)}" if is_key(value) else JAX
    return kind, array_of("an array in the state", value)


def of_tensorflow(value: Any) -> "tuple[str, np.ndarray] | None":
    import tensorflow as tf

    if not (isinstance(value, tf.Tensor) and hasattr(value, "numpy")):
        return None
    return TENSORFLOW, value.numpy()


TAKERS = {TORCH: of_torch, JAX: of_jax, TENSORFLOW: of_tensorflow}


def given_back(kind: str, array: "np.ndarray") -> Any:
    """Return a new array of *kind* with the values of *array*; None for a kind not known here."""
    try:
        if kind == TORCH:
            from .torch.arrays import tensor_of

            return tensor_of(array)
        if kind == TENSORFLOW:
            import tensorflow as tf

            return tf.constant(array)
        if kind == JAX or kind.startswith(KEY):
            import jax

            values = jax.numpy.array(array)
            return (
                values if kind == JAX else jax.random.wrap_key_data(values, impl=kind[len(KEY) :])
            )
    except ModuleNotFoundError as error:
        raise MissingDependency(f"the state has an array of {kind}: pip install {kind}") from error
    return None
