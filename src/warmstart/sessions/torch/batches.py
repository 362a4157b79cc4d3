"""Batches as a module takes them: arrays become tensors on the module's device."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .arrays import tensor_of


def tensors(batch: Any, module: nn.Module) -> Any:
    """Return *batch* with every array in it, however deep, as a tensor where *module* is.

    Tensors are moved there too; anything else stays what it is.
    """
    return placed(batch, device_of(module))


def device_of(module: nn.Module) -> torch.device:
    """Return the device of the module's first parameter or buffer; main memory if it has none."""
    for parameter in module.parameters():
        return parameter.device
    for buffer in module.buffers():
        return buffer.device
    return torch.device("cpu")


def placed(value: Any, device: torch.device) -> Any:
    """Return *value* with its arrays and tensors on *device*."""
    match value:
        case Tensor():
            return value.to(device)  # itself when it is there already
        case np.ndarray() | np.generic():
            return as_tensor(np.asarray(value)).to(device)
        case dict():
            return {key: placed(item, device) for key, item in value.items()}
        case list():
            return [placed(item, device) for item in value]
        case tuple():
            items = [placed(item, device) for item in value]
            return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    return value


def as_tensor(array: np.ndarray) -> Tensor:
    """Return *array* as a tensor: on its memory where torch takes that without a warning."""
    shareable = array.flags.writeable and array.flags.c_contiguous and array.dtype.isnative
    if shareable and array.dtype.kind in "biufc":
        return torch.from_numpy(array)
    return tensor_of(array)
