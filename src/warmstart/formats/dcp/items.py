"""One item of a distributed checkpoint: a whole `torch.save` archive, in the middle of a file."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ...binary.pickle import RawArray, loads
from ...errors import CorruptCheckpoint, UnsupportedCheckpoint
from ..leaf_text import shown
from ..torch.calls import TORCH, storage_of
from ..torch.nodes import DTYPES, Storage, Tensor
from ..torch.values import values
from ..torch.zipped import DATA, STORAGES, byte_order, open_archive, read_pickle

if TYPE_CHECKING:
    import numpy as np

ZIP = b"PK\3\4"


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
    tensor = made_by(bytes(archive.bytes_of(DATA)))
    if not isinstance(tensor, Tensor) or tensor.storage.missing:
        raise CorruptCheckpoint(f"it holds no tensor but {shown(tensor)[:100]}")
    begin = tensor.offset * DTYPES[tensor.dtype][1] if tensor.extent else 0
    raw = archive.bytes_of(f"{STORAGES}{tensor.storage.key}")
    if len(raw) < tensor.storage.nbytes:
        raise CorruptCheckpoint(
            f"its storage has {len(raw)} bytes, where {tensor.storage.nbytes} are expected"
        )
    return values(raw[begin : tensor.extent], tensor, byte_order(archive))


@lru_cache(1000)
def made_by(pickle: bytes) -> Any:
    """Return what a *pickle* makes, which nobody changes: tensors alike have the same one."""
    return loads(pickle, builders=TORCH, persistent=found_storage)


def found_storage(identity: Any) -> Storage:
    """Return the storage of a persistent id."""
    match identity:
        case ("storage", cls, key, location, elements):
            return storage_of(cls, key, elements, location)
    raise CorruptCheckpoint(f"the pickle refers to {shown(identity)[:100]}, which is no storage")
