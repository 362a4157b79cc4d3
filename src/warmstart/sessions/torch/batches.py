"""Batches as a module takes them: arrays become tensors on the module's device."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .arrays import tensor_of


def first_tensor(module: nn.Module) -> Tensor:
    """Return a tensor that is where *module* is: of a module without any, in main memory."""
    nothing = torch.empty(0)
    return next(module.parameters(), next(module.buffers(), nothing))


def tensors(batch: Any, device: torch.device) -> Any:
    """Return *batch* with every array and tensor in it, however deep, as a tensor on *device*.

    Anything else stays what it is.
    """
    match batch:
        case Tensor():
            return batch if batch.device == device else batch.to(device)
        case np.ndarray() | np.generic():
            return tensors(as_tensor(np.asarray(batch)), device)
        case dict():
            return {key: tensors(item, device) for key, item in batch.items()}
        case list():
            return [tensors(item, device) for item in batch]
        case tuple():
            items = [tensors(item, device) for item in batch]
            return type(batch)(*items) if hasattr(batch, "_fields") else tuple(items)
    return batch


def as_tensor(array: np.ndarray) -> Tensor:
    """Return *array* as a tensor: on its memory where torch takes that without a warning."""
    shareable = array.flags.writeable and array.flags.c_contiguous and array.dtype.isnative
    if shareable and array.dtype.kind in "biufc":
        return torch.from_numpy(array)
    return tensor_of(array)
