"""Tensors of several processes, `torch.distributed.tensor.DTensor`: which part is in this one.

    DTensor (7, 5), Shard(0) on 2 processes      (slice(0, 4), slice(0, 5)) and (slice(4, 7), ...)

`fully_shard` makes the parameters of a module such, and with them the slots of its optimizer.  The
class is told by its methods, since it takes a second to import.
"""

from collections.abc import Hashable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ...boxes import Box, box_shape, whole_box


def is_shared(tensor: Tensor) -> bool:
    """Return whether *tensor* is one of several processes."""
    return hasattr(tensor, "full_tensor")


def local(tensor: Tensor) -> Tensor:
    """Return the part of *tensor* that is in this process, on its memory; a plain one is itself."""
    if not is_shared(tensor):
        return tensor
    with torch.no_grad():
        part: Tensor = tensor.to_local()  # type: ignore[attr-defined]
        return part


def box_of(tensor: Tensor) -> Box:
    """Return where the part of *tensor* that is in this process stands in the whole."""
    shape = tuple(tensor.shape)
    if not is_shared(tensor):
        return whole_box(shape)
    shared: Any = tensor
    return box_in(shape, shared.device_mesh, tuple(shared.placements))


@lru_cache(4096)  # a tenth of a millisecond each, and a model has few kinds of tensors
def box_in(shape: tuple[int, ...], mesh: Any, placements: tuple[Any, ...]) -> Box:
    """Return where the part of this process stands in a tensor of *shape* that lies so."""
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    sizes, starts = compute_local_shape_and_global_offset(shape, mesh, placements)
    begins = (min(at, side) for at, side in zip(starts, shape, strict=True))  # of an empty part
    return tuple(slice(at, at + size) for at, size in zip(begins, sizes, strict=True))


def piece_of(tensor: Tensor) -> Box | None:
    """Return `box_of(tensor)` where processes have different parts, None where each has all."""
    if not is_shared(tensor):
        return None
    shared: Any = tensor
    split = (
        shared.device_mesh.size(dimension) > 1
        for dimension, placement in enumerate(shared.placements)
        if not placement.is_replicate()
    )
    return box_of(tensor) if any(split) else None


def layout_of(tensor: Tensor) -> Hashable:
    """Return how *tensor* lies in the processes; None of a plain one."""
    if not is_shared(tensor):
        return None
    shared: Any = tensor
    return (shared.device_mesh, tuple(shared.placements))


def fault(tensor: Tensor) -> str | None:
    """Return why the part of a shared *tensor* in this process has no one place, or None."""
    placements = tensor.placements  # type: ignore[attr-defined]
    if any(placement.is_partial() for placement in placements):
        return f"a tensor of sums that are still to be added up over processes, {placements}"
    if tuple(local(tensor).shape) != box_shape(box_of(tensor)):
        return f"a tensor whose part in this process has no one place in it, {placements}"
    return None
