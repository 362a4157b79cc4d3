"""The tensors of an optimizer's state under the names of the variables they belong to.

    optimizer.state[fc.weight]["exp_avg"]    the variable `fc.weight/exp_avg`, role slot

PyTorch itself numbers parameters by their place in the groups, so that after a reordering or a
freezing one gets another's momentum.  Names do not move.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from ...names import inside, joined, parent
from ...spec import TensorSpec
from .arrays import tensor_of, tensor_spec, write
from .first_step import first_state, looks_only_at_groups


class NoOptimizer:
    """What a module without an optimizer has in its place."""

    param_groups: ClassVar[list[dict[str, Any]]] = []
    state: ClassVar[dict[Tensor, Any]] = {}


@dataclass(frozen=True, slots=True)
class Slot:
    """One tensor of an optimizer's state."""

    owner: str  # the name of the variable
    parameter: Tensor
    key: str
    tensor: Tensor


@dataclass(frozen=True, slots=True)
class NamedOptimizer:
    """An optimizer seen through the variables of one module, as they were when looked at."""

    optimizer: Optimizer | NoOptimizer
    names: Mapping[int, str]  # id of a parameter -> the name of its variable
    made: dict[tuple[Any, ...], dict[str, Any]] = field(default_factory=dict)  # first states

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The parameters that the optimizer has, by the name of their variable."""
        return {self.names[id(p)]: p for p in self.all_parameters() if id(p) in self.names}

    def all_parameters(self) -> Iterator[Tensor]:
        """Yield every parameter of every group, one outside the module too."""
        for group in self.optimizer.param_groups:
            yield from group["params"]

    def slots(self) -> dict[str, "Slot"]:
        """Return every tensor of the state by its name as a variable."""
        return {
            joined(name, key): Slot(name, parameter, key, value)
            for name, parameter in self.parameters.items()
            for key, value in self.state_of(parameter).items()
            if is_slot(key, value)
        }

    def state_of(self, parameter: Tensor) -> Mapping[Any, Any]:
        """Return what the optimizer keeps for *parameter*; looking does not create it."""
        found: Mapping[Any, Any] = self.optimizer.state.get(parameter, {})
        return found

    def names_in(self, group: Mapping[str, Any]) -> list[str]:
        """Return the names of the parameters of one *group* that the module has."""
        return [self.names[id(p)] for p in group["params"] if id(p) in self.names]

    def set_rest(self, parameter: Tensor, rest: Mapping[str, Any]) -> None:
        """Set what is kept for *parameter* beside its slots."""
        self.optimizer.state[parameter].update(rest)

    def creatable(self, specs: Mapping[str, TensorSpec]) -> dict[str, TensorSpec]:
        """Return the slots among *specs* that a step would create, as that step would make them.

        A parameter gets all that are still to be made for it or none, since half a state is one
        that no optimizer can go on from.
        """
        parameters = self.parameters
        wanted: dict[str, dict[str, TensorSpec]] = {}
        for name, spec in specs.items():
            owner = parent(name)
            if owner in parameters and inside(name, owner) not in self.state_of(parameters[owner]):
                wanted.setdefault(owner, {})[name] = spec
        found: dict[str, TensorSpec] = {}
        for owner, offered in wanted.items():
            coming = self.coming(owner, offered)
            if coming.keys() <= offered.keys():
                found.update(coming)
        return found

    def coming(self, name: str, offered: Mapping[str, TensorSpec]) -> dict[str, TensorSpec]:
        """Return the slots still to be made for the parameter *name*.

        An optimizer that cannot be asked is taken to make whatever is *offered*.
        """
        parameter = self.parameters[name]
        if not looks_only_at_groups(self.optimizer):
            return {slot: spec.renamed(slot) for slot, spec in offered.items()}
        there = self.state_of(parameter)
        return {
            joined(name, key): tensor_spec(joined(name, key), value, "slot")
            for key, value in self.first_state(parameter).items()
            if is_slot(key, value) and key not in there
        }

    def first_state(self, parameter: Tensor) -> dict[str, Any]:
        """Return what the optimizer will keep for *parameter*; asked once for all alike."""
        index, group = next(
            (i, group)
            for i, group in enumerate(self.optimizer.param_groups)
            if any(p is parameter for p in group["params"])
        )
        key = (index, parameter.shape, parameter.stride(), parameter.dtype, parameter.device)
        if key not in self.made:
            self.made[key] = first_state(self.optimizer, group, parameter)
        return self.made[key]

    def assign(self, name: str, array: np.ndarray) -> bool:
        """Set the slot *name*, creating it if need be; return whether a parameter owns it."""
        owner = self.parameters.get(parent(name))
        if owner is None:
            return False
        key = inside(name, parent(name))
        slot = self.state_of(owner).get(key)
        if slot is None:
            self.create(owner, str(key), array)
        else:
            write(name, slot, array)
        return True

    def create(self, owner: Tensor, key: str, array: np.ndarray) -> None:
        """Make the slot *key* of *owner*, and what is no tensor beside it, as a step would."""
        state = self.optimizer.state[owner]
        value = tensor_of(array)
        if not looks_only_at_groups(self.optimizer):
            state[key] = value.to(owner.device) if value.dim() else value
            return
        first = self.first_state(owner)
        for other, default in first.items():
            if not isinstance(default, Tensor):
                state.setdefault(other, default)
        like = first[key]
        device = owner.device if like.is_meta else like.device
        state[key] = torch.empty_like(like, device=device).copy_(value)


def is_slot(key: object, value: object) -> bool:
    """Return whether an entry of an optimizer's state is a variable of its own."""
    return isinstance(key, str) and isinstance(value, Tensor)
