"""One item of a distributed checkpoint: a whole `torch.save` archive, in the middle of a file."""

from typing import TYPE_CHECKING, Any, Literal

from ...errors import CorruptCheckpoint, UnsupportedCheckpoint
from ...spec import numpy_dtype
from ..arrays import array_over
from ..leaf_text import shown
from ..torch.nodes import DTYPES, PAIRS, Tensor
from ..torch.zipped import DATA, Archive, byte_order, open_archive, read_pickle

if TYPE_CHECKING:
    import numpy as np

ZIP = b"PK\3\4"
STORAGES = "data"


def value_of(file: memoryview, *, verify: bool) -> Any:
    """Return what was saved in *file*; tensors in it are nodes."""
    return read_pickle(open_archive(file, verify=verify), DATA, STORAGES)


def text_of(file: memoryview, *, verify: bool) -> str:
    """Return a value that is no tensor as text; of one that is no archive, its size."""
    if bytes(file[:4]) != ZIP:
        return f"({len(file)} bytes)"
    return shown(value_of(file, verify=verify))


def array_of(file: memoryview, *, verify: bool) -> "np.ndarray":
    """Return the tensor that was saved, without a copy: of any strides and byte order."""
    if bytes(file[:4]) != ZIP:
        raise UnsupportedCheckpoint(
            "it is no archive as torch.save writes one, which is all that is read here"
        )
    archive = open_archive(file, verify=verify)
    tensor = read_pickle(archive, DATA, STORAGES)
    if not isinstance(tensor, Tensor) or tensor.storage.missing or tensor.dtype in PAIRS:
        raise CorruptCheckpoint(f"it holds no tensor but {shown(tensor)[:100]}")
    return view_of(archive, tensor)


def view_of(archive: Archive, tensor: Tensor) -> "np.ndarray":
    """Return the values of *tensor*, which lies inside its storage."""
    import numpy as np

    order: Literal["<", ">"] = ">" if byte_order(archive) == ">" else "<"
    dtype = numpy_dtype(DTYPES[tensor.dtype][0]).newbyteorder(order)
    if 0 in tensor.shape:
        return np.empty(tensor.shape, dtype)
    begin = tensor.storage.begin + tensor.offset * dtype.itemsize
    data = archive.bytes_of(tensor.storage.key)
    flat = array_over(data, dtype, ((len(data) - begin) // dtype.itemsize,), begin)
    steps = zip(tensor.shape, tensor.strides, strict=True)
    strides = [stride * dtype.itemsize if n > 1 else 0 for n, stride in steps]
    array = np.lib.stride_tricks.as_strided(flat, tensor.shape, strides, writeable=False)
    array = array.conj() if tensor.conj else array
    return -array if tensor.neg else array
