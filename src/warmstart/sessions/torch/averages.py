"""Moving averages of a model, torch.optim.swa_utils.AveragedModel, that are themselves held still.

No optimizer moves them: `update_parameters` does, which is therefore followed by a put back.  A
copy of the average is free.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from .regions import Part

#: What is held of each average, by every freezing that holds some.
HELD: WeakKeyDictionary[AveragedModel, list["HeldAverage"]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True, eq=False)
class HeldAverage:
    """Tensors and parts of an average that its updates leave as they are, until removed."""

    layer: AveragedModel
    tensors: tuple[Tensor, ...]
    parts: tuple[Part, ...]

    def copies(self) -> list[tuple[Tensor, Any, Tensor]]:
        """Return every tensor that is held, where, and a copy of what is there."""
        held = [(t, ...) for t in self.tensors] + [(p.tensor, p.index) for p in self.parts]
        return [(tensor, index, tensor.detach()[index].clone()) for tensor, index in held]

    def remove(self) -> None:
        """Let updates change it again."""
        HELD[self.layer].remove(self)
        if not HELD[self.layer]:
            del self.layer.update_parameters


def hold_averages(
    module: nn.Module, tensors: Collection[Tensor], parts: Collection[Part]
) -> Iterator[HeldAverage]:
    """Hold those of *tensors* and *parts* that belong to an average in *module*."""
    for layer in module.modules():
        if isinstance(layer, AveragedModel):
            own = {id(t) for t in (*layer.parameters(), *layer.buffers())}
            held = HeldAverage(
                layer,
                tuple(t for t in tensors if id(t) in own),
                tuple(part for part in parts if id(part.tensor) in own),
            )
            HELD.setdefault(layer, []).append(held)
            layer.update_parameters = partial(update_but_held, layer)  # type: ignore[method-assign]
            yield held


@torch.no_grad()
def update_but_held(layer: AveragedModel, model: nn.Module) -> None:
    """Update *layer* by *model*, except for what is held."""
    copies = [copy for held in HELD.get(layer, ()) for copy in held.copies()]
    try:
        type(layer).update_parameters(layer, model)
    finally:
        for tensor, index, copy in copies:
            tensor[index] = copy
