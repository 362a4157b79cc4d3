"""Parts of parameters held still while the rest of them trains.

    a gradient      is zero there as soon as it is accumulated, and before a step once more
    before a step   the part is copied, and that of every slot of the parameter's shape
    after it        the copies are put back: no decay and no momentum has moved them

Statistics of a whole row or column, as Adafactor keeps, see zeros where the part is.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from ...source import Index

#: Slots of PyTorch's own optimizers that do not begin at zero.
BEGUN_OTHERWISE = ("step_size", "sum", "ax")


@dataclass(frozen=True, slots=True)
class Part:
    """Where a parameter is held, as an index that torch takes."""

    tensor: Tensor
    index: Any

    def mask(self) -> Tensor:
        """Return a mask over the parameter, true where it is held."""
        mask = torch.zeros(self.tensor.shape, dtype=torch.bool, device=self.tensor.device)
        mask[self.index] = True
        return mask

    def watch(self) -> RemovableHandle:
        """Clear every gradient of the part from now on as soon as it is there."""
        needs, self.tensor.requires_grad = self.tensor.requires_grad, True
        register: Any = self.tensor.register_post_accumulate_grad_hook
        handle: RemovableHandle = register(lambda _: self.clear_gradient())
        self.tensor.requires_grad = needs
        return handle

    @torch.no_grad()
    def clear_gradient(self) -> None:
        """Set the gradient of the part to zero, if there is one."""
        gradient = self.tensor.grad
        if gradient is None:
            return
        if gradient.is_sparse:
            self.tensor.grad = cleared(gradient, self.mask())
        else:
            gradient[self.index] = 0


def cleared(gradient: Tensor, mask: Tensor) -> Tensor:
    """Return the sparse *gradient* with zeros where *mask* is true."""
    gradient = gradient.coalesce()
    places = gradient.indices()
    values = gradient.values().masked_fill(mask[tuple(places)], 0)
    return torch.sparse_coo_tensor(
        places, values, gradient.shape, is_coalesced=True, check_invariants=False
    )


@dataclass(frozen=True, slots=True)
class PartBefore:
    """What a part of a parameter, and that part of its slots, was before a step."""

    part: Part
    value: Tensor
    slots: dict[Any, Tensor]

    def put_back(self, optimizer: Optimizer, slots_begin_at_zero: bool) -> None:
        """Set all of it to what it was.

        A slot that the step has made begins at zero there, if *slots_begin_at_zero*.
        """
        index = self.part.index
        self.part.tensor[index] = self.value
        for key, slot in slots_like(optimizer, self.part.tensor):
            if key in self.slots:
                slot[index] = self.slots[key]
            elif slots_begin_at_zero and key not in BEGUN_OTHERWISE:
                slot[index] = 0


def before(optimizer: Optimizer, part: Part) -> PartBefore:
    """Return copies of *part* and of its slots in *optimizer*."""
    return PartBefore(
        part,
        part.tensor.detach()[part.index].clone(),
        {k: slot[part.index].clone() for k, slot in slots_like(optimizer, part.tensor)},
    )


def slots_like(optimizer: Optimizer, parameter: Tensor) -> list[tuple[Any, Tensor]]:
    """Return the slots that have a place for every element of *parameter*, with their keys."""
    state = optimizer.state.get(parameter, {})
    return [
        (key, value)
        for key, value in state.items()
        if isinstance(value, Tensor) and value.shape == parameter.shape and value.dim()
    ]


def part_of(tensor: Tensor, index: Index) -> Part:
    """Return the part of *tensor* that NumPy's *index* means."""
    items = index if isinstance(index, tuple) else (index,)
    try:
        return Part(tensor, tuple(map(torch_item, items)))
    except TypeError:  # torch has no index like it, but a mask is the same everywhere
        mask = np.zeros(tuple(tensor.shape), bool)
        mask[index] = True
        return Part(tensor, torch.from_numpy(mask).to(tensor.device))


def torch_item(item: Any) -> Any:
    """Return one entry of NumPy's index as torch has it; TypeError where it has none like it."""
    if item is None or item is ... or (isinstance(item, slice) and (item.step or 1) > 0):
        return item
    array = np.asarray(item)
    if array.dtype.kind in "iu":
        return torch.from_numpy(array.astype(np.int64)) if array.ndim else int(array)
    raise TypeError(item)
