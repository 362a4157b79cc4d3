"""Frozen variables before an optimizer of PyTorch's own, in a loop that has none of Keras'.

before `torch.optim.Optimizer.step`   what is frozen has no gradient
after it                              frozen parts of variables are put back
"""

from collections.abc import Collection
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from torch import nn
from torch.optim import Optimizer

from ...source import Index
from ..torch import guard
from ..torch.regions import part_of


class TorchHold:
    """The parameters of a model, held still until they are let go."""

    def __init__(
        self, model: Any, variables: Collection[Any], parts: Collection[tuple[Any, Index]]
    ) -> None:
        """Hold *variables* of Keras wholly, and *parts*, each (variable, where)."""
        self.parameters = tuple(v._value for v in variables if v._value is not None)
        self.parts = tuple(part_of(v._value, at) for v, at in parts if v._value is not None)
        self.trained: set[int] = set()
        self.modes: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()
        self.looked_into: WeakSet[Optimizer] = WeakSet()
        self._watches = [part.watch() for part in self.parts]
        guard.add(model, self)

    def let_go(self, model: Any) -> None:
        """Hold them no longer."""
        guard.remove(model, self)
        for each in self._watches:
            each.remove()
