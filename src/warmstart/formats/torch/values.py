"""The values of a tensor out of the bytes of its storage."""

from typing import TYPE_CHECKING

from ...errors import UnsupportedCheckpoint
from ...spec import numpy_dtype
from ..arrays import settled
from .nodes import DTYPES, PAIRS, Tensor

if TYPE_CHECKING:
    import numpy as np


def values(raw: memoryview, tensor: Tensor, byteorder: str) -> "np.ndarray":
    """Return the values of *tensor*, whose first lies at the beginning of *raw*.

    A view of *raw* where its values lie there in C order, else a copy.
    """
    import numpy as np

    name, itemsize = DTYPES[tensor.dtype]
    dtype = numpy_dtype(name)
    shape, strides = tensor.shape, tuple(n * itemsize for n in tensor.strides)
    if tensor.dtype in PAIRS:
        shape, strides = (*shape, 2), (*strides, itemsize // 2)
    if 0 in shape:
        return np.empty(shape, dtype)
    swapped = byteorder != "<" and dtype.itemsize > 1
    try:
        array = np.ndarray(shape, stored_dtype(dtype, swapped=swapped), raw, 0, strides)
    except (ValueError, MemoryError) as error:
        raise UnsupportedCheckpoint(f"NumPy has no array of shape {shape}: {error}") from error
    array = settled(array if array.flags.aligned else array.copy())
    if array.dtype != dtype:
        array = array.view(dtype)
    return with_bits(array, tensor)


def stored_dtype(dtype: "np.dtype", *, swapped: bool) -> "np.dtype":
    """Return *dtype* as the file has it; of ml_dtypes' own only the bits can be swapped."""
    import numpy as np

    if not swapped:
        return dtype.newbyteorder("<") if dtype.isbuiltin == 1 else dtype
    return dtype.newbyteorder(">") if dtype.isbuiltin == 1 else np.dtype(f">u{dtype.itemsize}")


def with_bits(array: "np.ndarray", tensor: Tensor) -> "np.ndarray":
    """Return the values that PyTorch stands for by a bit, and not in the storage."""
    import numpy as np

    if tensor.conj and array.dtype.kind == "c":
        array = np.conjugate(array)
    return np.negative(array) if tensor.neg else array
