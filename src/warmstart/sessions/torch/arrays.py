"""PyTorch tensors as NumPy arrays and back, with the dtypes that torch cannot give to NumPy."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from ...boxes import Box, bounded, box_shape, box_text, common, moved
from ...errors import CheckpointError, UnsupportedCheckpoint
from ...source import Index
from ...spec import ITEMSIZES, NUMPY_NAMES, TensorSpec, numpy_dtype, spec_of
from ..base import not_here, not_whole, refuse_misfit
from . import shards

#: Types of less than a byte are placeholders in torch: no tensor of them has values.
NAMES = [name for name in ITEMSIZES if name.strip("u") not in ("int2", "int4", "string")]

#: torch dtype -> this library's name
DTYPES: dict[torch.dtype, str] = {
    getattr(torch, name): name for name in NAMES if hasattr(torch, name)
}

#: Integers that stand for the dtypes NumPy lacks, by size.
CARRIERS = {1: torch.uint8, 2: torch.int16}


def tensor_specs(tensors: Mapping[str, tuple[Tensor, str]]) -> dict[str, TensorSpec]:
    """Return the specs of *tensors*, given with their roles; refuse by name what cannot be held."""
    faults = [why for name, (tensor, _) in tensors.items() if (why := fault(name, tensor))]
    if faults:
        raise UnsupportedCheckpoint("\n".join(faults))
    return {
        name: TensorSpec(name, DTYPES[tensor.dtype], tuple(tensor.shape), role)
        for name, (tensor, role) in tensors.items()
    }


def tensor_spec(name: str, tensor: Tensor, role: str) -> TensorSpec:
    """Return the spec of *tensor* under *name*; refuse one that no array can hold."""
    return tensor_specs({name: (tensor, role)})[name]


def fault(name: str, tensor: Tensor) -> str | None:
    """Return why no array can hold *tensor*, or None."""
    if tensor.layout is not torch.strided or tensor.is_quantized:
        return (
            f"{name!r} is a {type(tensor).__name__} of layout {tensor.layout}; "
            "only dense tensors can be read"
        )
    if shards.is_shared(tensor) and (why := shards.fault(tensor)):
        return f"{name!r} is {why}"
    if tensor.dtype not in DTYPES:
        return f"{name!r} is {tensor.dtype}, which no checkpoint holds"
    return None


def array_of(name: str, tensor: Tensor) -> np.ndarray:
    """Return the values of *tensor*; a contiguous one in main memory is not copied."""
    check_has_values(name, tensor)
    dtype = tensor_spec(name, tensor, "model").dtype
    if shards.piece_of(tensor) is not None:
        raise not_whole(name)
    return local_array(tensor, dtype)


def local_array(tensor: Tensor, dtype: str) -> np.ndarray:
    """Return the values of that part of *tensor* which is in this process."""
    part = shards.local(tensor.detach()).resolve_conj().resolve_neg().cpu().contiguous()
    return numpy_view(part, dtype)


def piece(name: str, tensor: Tensor, index: Index) -> np.ndarray:
    """Return what *index* cuts out of *tensor*, which has to be in this process."""
    check_has_values(name, tensor)
    dtype = tensor_spec(name, tensor, "model").dtype
    box, rest = bounded(index, tuple(tensor.shape))
    own = shards.box_of(tensor)
    if common(box, own) != box and 0 not in box_shape(box):
        raise not_here(name, box, [own])
    part: np.ndarray = local_array(tensor, dtype)[moved(box, own)][rest]
    return part


def check_has_values(name: str, tensor: Tensor) -> None:
    """Refuse a tensor that stands for values which are not there yet."""
    if is_lazy(tensor):
        raise CheckpointError(f"{name!r} has no shape yet: run one batch through its lazy module")
    if tensor.is_meta:
        raise CheckpointError(
            f"{name!r} is on the meta device and has no values: start the module from a "
            "checkpoint, or call module.to_empty(device='cpu') first"
        )


def numpy_view(tensor: Tensor, dtype: str) -> np.ndarray:
    """Return a writable view of *tensor*, a plain one in main memory, as the dtype so called."""
    if dtype in NUMPY_NAMES:
        array: np.ndarray = tensor.numpy()
        return array
    return tensor.view(CARRIERS[tensor.element_size()]).numpy().view(numpy_dtype(dtype))


def tensor_of(array: np.ndarray) -> Tensor:
    """Return a new tensor in main memory with the values of *array*."""
    spec = spec_of("a new tensor", array)
    dtypes = {name: dtype for dtype, name in DTYPES.items()}
    if spec.dtype not in dtypes:
        raise UnsupportedCheckpoint(f"PyTorch has no tensors of {spec.dtype}")
    tensor = torch.empty(array.shape, dtype=dtypes[spec.dtype])
    numpy_view(tensor, spec.dtype)[...] = array
    return tensor


def drawn(initializer: Any, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return what *initializer* makes: a function of a shape and a dtype, or one of torch.nn.init.

    Those fill a tensor that is there.
    """
    if getattr(getattr(initializer, "func", initializer), "__module__", "") == "torch.nn.init":
        value = tensor_of(np.zeros(shape, numpy_dtype(dtype)))
        initializer(value)
    else:
        value = initializer(shape, numpy_dtype(dtype))
    return array_of("a new tensor", value) if isinstance(value, Tensor) else np.asarray(value)


def write(name: str, tensor: Tensor, array: np.ndarray) -> None:
    """Set the values of *tensor* in place; its storage, and whatever shares it, stay.

    Only an expanded one whose memory cannot hold the values gets memory of its own.
    """
    check_has_values(name, tensor)
    refuse_misfit(name, array, tensor_spec(name, tensor, "model"))
    box = shards.piece_of(tensor)
    write_local(name, shards.local(tensor), array if box is None else array[box])


def write_piece(name: str, tensor: Tensor, box: Box, array: np.ndarray) -> None:
    """Set the values of the part of *tensor* that is in this process, which stands at *box*."""
    check_has_values(name, tensor)
    own = shards.box_of(tensor)
    if box != own:
        raise CheckpointError(
            f"{name!r} is in several processes: this one has {box_text(own)}, not {box_text(box)}"
        )
    write_local(name, shards.local(tensor), array)


def write_local(name: str, tensor: Tensor, array: np.ndarray) -> None:
    """Set the values of *tensor*, all of it in this process."""
    expected = tensor_spec(name, tensor, "model")
    refuse_misfit(name, array, expected)
    if 0 in tensor.stride() and not repeats(array, tensor.stride()):
        tensor.data = torch.empty_like(tensor, memory_format=torch.contiguous_format)
    target, array = one_of_each(tensor.detach(), array)
    if target.device.type == "cpu" and not (target.is_conj() or target.is_neg()):
        numpy_view(target, expected.dtype)[...] = array  # no tensor in between
        if not tensor.is_inference():
            torch.autograd.graph.increment_version(tensor)  # torch has not seen this change
    else:
        with torch.no_grad():
            target.copy_(tensor_of(array))


def materialise(tensor: Tensor, array: np.ndarray) -> None:
    """Give a lazy parameter or buffer the shape of *array*; any other is left as it is."""
    if is_lazy(tensor):
        tensor.materialize(array.shape)


def repeats(array: np.ndarray, strides: Sequence[int]) -> bool:
    """Return whether *array* has the same bits all along each dimension whose stride is 0."""
    part = np.broadcast_to(array[of_each_one(strides)], array.shape)
    return part.tobytes() == array.tobytes()


def one_of_each(tensor: Tensor, array: np.ndarray) -> tuple[Tensor, np.ndarray]:
    """Return the part of *tensor* that has memory of its own, and its new values."""
    index = of_each_one(tensor.stride())
    return tensor[index], array[index]


def of_each_one(strides: Sequence[int]) -> tuple[slice, ...]:
    """Return the index of one element along each dimension whose stride is 0, of all elsewhere."""
    return tuple(slice(0, 1) if step == 0 else slice(None) for step in strides)
