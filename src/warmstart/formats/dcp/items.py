"""One item of a distributed checkpoint: a whole `torch.save` archive, in the middle of a file."""

from typing import TYPE_CHECKING, Any

from ...binary.pickle import RawArray
from ...errors import CorruptCheckpoint, UnsupportedCheckpoint
from ..leaf_text import shown
from ..torch.nodes import DTYPES, Tensor
from ..torch.values import values
from ..torch.zipped import DATA, byte_order, open_archive, read_pickle

if TYPE_CHECKING:
    import numpy as np

ZIP = b"PK\3\4"
STORAGES = "data"


def value_of(file: memoryview, *, verify: bool) -> Any:
    """Return what was saved in *file*, tensors in it as nodes; of other bytes how many they are."""
    if bytes(file[:4]) != ZIP:
        return RawArray((len(file),))
    return read_pickle(open_archive(file, verify=verify), DATA, STORAGES)


def array_of(file: memoryview, *, verify: bool) -> "np.ndarray":
    """Return the tensor that was saved: a view of *file* where its values lie in C order."""
    if bytes(file[:4]) != ZIP:
        raise UnsupportedCheckpoint(
            "it is no archive as torch.save writes one, which is all that is read here"
        )
    archive = open_archive(file, verify=verify)
    tensor = read_pickle(archive, DATA, STORAGES)
    if not isinstance(tensor, Tensor) or tensor.storage.missing:
        raise CorruptCheckpoint(f"it holds no tensor but {shown(tensor)[:100]}")
    begin = tensor.offset * DTYPES[tensor.dtype][1] if tensor.extent else 0
    raw = archive.bytes_of(tensor.storage.key)[begin : tensor.extent]
    return values(raw, tensor, byte_order(archive))
