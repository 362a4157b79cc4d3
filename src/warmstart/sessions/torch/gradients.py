"""What gradient processors do to a module's gradients: `.grad`, between backward and step."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..processing import PartName, Processor, processed
from .arrays import array_of
from .variables import Variables

if TYPE_CHECKING:
    import numpy as np


class ProcessedGradients:
    """The gradients of a module's parameters, under the names of their variables."""

    def __init__(self, processors: Iterable[Processor], variables: Variables) -> None:
        """Take the parameters there are; RuleError for what a processor says of none of them."""
        self._processors = tuple(processors)
        self._parameters = dict(parameters_of(variables))
        self._ops = TorchOps(self._parameters)
        names = [name for name in self._parameters if not isinstance(name, PartName)]
        for processor in self._processors:
            processor.check(names)

    @torch.no_grad()
    def process(self) -> None:
        """Put in the place of every gradient what the processors make of it."""
        gradients = {name: p.grad for name, p in self._parameters.items() if p.requires_grad}
        for name, gradient in processed(self._processors, gradients, self._ops).items():
            self._parameters[name].grad = gradient


def parameters_of(variables: Variables) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters by name; several on one memory each by a name of its own."""
    for name, variable in variables.by_name.items():
        if isinstance(variable.tensor, nn.Parameter):
            yield name, variable.tensor
            hanging = {id(each.tensor): each for each in reversed(variable.hanging)}
            for each in hanging.values():
                if each.tensor is not variable.tensor:
                    yield PartName(name, each.name), each.tensor


class TorchOps:
    """What processors ask for; nothing is changed in place, since a function of a user's may have
    returned a tensor that it goes on using.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self._parameters = parameters

    def scaled(self, gradient: Tensor, factor: float) -> Tensor:
        return gradient if factor == 1 else gradient * factor

    def clipped(self, gradients: Sequence[Tensor], norm: float) -> list[Tensor]:
        device = gradients[0].device
        norms = [norm_of(gradient).to(device) for gradient in gradients]
        whole = torch.linalg.vector_norm(torch.stack(norms))
        factor = norm / whole.clamp(min=norm)
        return [gradient * factor.to(gradient.device, gradient.dtype) for gradient in gradients]

    def watched(self, gradient: Tensor, watcher: "Callable[[np.ndarray], None]") -> Tensor:
        watcher(array_of("a gradient", values_of(gradient)))
        return gradient

    def variable(self, name: str) -> Any:
        return self._parameters[name]


def norm_of(gradient: Tensor) -> Tensor:
    """Return the norm of a dense or sparse *gradient*, in float32 at least."""
    values = values_of(gradient)
    wide = torch.float32 if values.dtype in (torch.float16, torch.bfloat16) else None
    norm: Tensor = torch.linalg.vector_norm(values, dtype=wide)
    return norm


def values_of(gradient: Tensor) -> Tensor:
    """Return *gradient*, of a sparse one its values, each place once."""
    return gradient.coalesce().values() if gradient.is_sparse else gradient
