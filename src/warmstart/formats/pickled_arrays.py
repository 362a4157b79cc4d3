"""Arrays of NumPy that lie in a pickle, as tensors."""

import math
from typing import TYPE_CHECKING, Any

from ..binary.pickle import RawArray
from ..errors import CorruptCheckpoint
from ..spec import NUMPY_CODES, TensorSpec, checked_nbytes, shape_text

if TYPE_CHECKING:
    import numpy as np


def is_array(leaf: Any) -> bool:
    """Return whether *leaf* is an array of numbers, which can be read as a tensor."""
    return (
        isinstance(leaf, RawArray)
        and not leaf.scalar
        and leaf.dtype is not None
        and leaf.dtype.code in NUMPY_CODES
    )


def spec_of_array(name: str, array: RawArray) -> TensorSpec:
    """Return the spec of an array, whose bytes must be as many as its shape takes."""
    dtype = NUMPY_CODES[array.dtype.code] if array.dtype else ""
    expected, found = checked_nbytes(dtype, array.shape), len(array.data)
    if expected != found:
        raise CorruptCheckpoint(
            f"{name!r} {dtype} {shape_text(array.shape)} takes {expected} bytes; its pickle has "
            f"{found}"
        )
    return TensorSpec(name, dtype, array.shape)


def values_of_array(array: RawArray) -> "np.ndarray":
    """Return the values of an array, a read-only view of the pickle where that can be."""
    import numpy as np

    from .arrays import array_over, settled

    dtype = np.dtype(array.dtype.descr if array.dtype else "u1")
    data = memoryview(array.data).toreadonly()
    if not math.prod(array.shape):
        return np.empty(array.shape, dtype.newbyteorder("="))
    found = array_over(data, dtype, array.shape, order="F" if array.fortran_order else "C")
    return settled(found if found.flags.aligned else found.copy())
