"""The tensors of an optimizer's state under the names of the variables they belong to.

    optimizer.state[fc.weight]["exp_avg"]    the variable `fc.weight/exp_avg`, role slot

PyTorch itself numbers parameters by their place in the groups, so that after a reordering or a
freezing one gets another's momentum.  Names do not move.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from ...boxes import Box
from ...errors import described
from ...names import inside, joined, parent
from ...spec import TensorSpec
from .arrays import array_of, tensor_of, tensor_specs, write, write_piece
from .first_step import first_state, first_values, looks_only_at_groups
from .meta import home_of
from .shards import is_shared, layout_of


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
    parameters: Mapping[str, Tensor]  # those the optimizer has, by that name
    group_of: Mapping[str, int]  # the index of their group
    made: dict[tuple[Any, ...], dict[str, Any]] = field(default_factory=dict)  # first states

    def strangers(self) -> int:
        """Return how many parameters of the optimizer are no variables of the module."""
        everything = (p for group in self.optimizer.param_groups for p in group["params"])
        return sum(self.parameters.get(self.names.get(id(p), "")) is not p for p in everything)

    def slots(self) -> dict[str, Slot]:
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
        wanted: dict[str, dict[str, TensorSpec]] = {}
        for name, spec in specs.items():
            owner = parent(name)
            parameter = self.parameters.get(owner)
            if parameter is not None and inside(name, owner) not in self.state_of(parameter):
                wanted.setdefault(owner, {})[name] = spec._replace(name=name, role="slot")
        found: dict[str, TensorSpec] = {}
        for owner, offered in wanted.items():
            coming = self.coming(owner, offered)
            if coming.keys() <= offered.keys():
                found.update(coming)
        return found

    def coming(self, owner: str, offered: Mapping[str, TensorSpec]) -> Mapping[str, TensorSpec]:
        """Return the slots still to be made for the parameter *owner*.

        An optimizer that cannot be asked is taken to make whatever is *offered*.
        """
        if not looks_only_at_groups(self.optimizer):
            return offered
        there = self.state_of(self.parameters[owner])
        return tensor_specs(
            {
                joined(owner, key): (value, "slot")
                for key, value in self.first_state(owner).items()
                if is_slot(key, value) and key not in there
            }
        )

    def coming_shared(self) -> dict[str, Tensor]:
        """Return the slots still to be made of which this process will have only a part."""
        if not looks_only_at_groups(self.optimizer):
            return {}
        return {
            joined(owner, key): value
            for owner, parameter in self.parameters.items()
            if is_shared(parameter)
            for key, value in self.first_state(owner).items()
            if is_slot(key, value) and key not in self.state_of(parameter)
        }

    def first_state(self, owner: str) -> dict[str, Any]:
        """Return what the optimizer will keep for *owner*; asked once for all that are alike."""
        like, index = self.parameters[owner], self.group_of[owner]
        key = (index, like.shape, like.stride(), like.dtype, like.device, layout_of(like))
        if key not in self.made:
            group = self.optimizer.param_groups[index]
            self.made[key] = first_state(self.optimizer, group, like)
        return self.made[key]

    def first_value(self, name: str) -> np.ndarray | None:
        """Return what the slot *name* begins with; None where nobody can tell."""
        owner, key = parent(name), inside(name, parent(name))
        if owner not in self.parameters or not looks_only_at_groups(self.optimizer):
            return None
        parameter = self.parameters[owner]
        group = self.optimizer.param_groups[self.group_of[owner]]
        made = self.state_of(parameter).get(key, self.first_state(owner).get(key or ""))
        filling = first_values(self.optimizer, group, parameter).get(key or "")
        if not isinstance(made, Tensor) or filling is None:
            return None
        return np.broadcast_to(array_of(name, filling).reshape(-1)[0], tuple(made.shape))

    def assign(self, name: str, array: np.ndarray, box: Box | None = None) -> bool:
        """Set the slot *name*, creating it if need be; return whether there is such a slot.

        With *box*, which is where the part of this process stands, *array* is that part.
        """
        owner, key = parent(name), inside(name, parent(name))
        if owner not in self.parameters or key is None:
            return False
        slot = self.state_of(self.parameters[owner]).get(key)
        if slot is None:
            slot = self.created(owner, key, array)
        if slot is None:
            return False
        if box is None:
            write(name, slot, array)
        else:
            write_piece(name, slot, box, array)
        return True

    def created(self, owner: str, key: str, array: np.ndarray) -> Tensor | None:
        """Make the slot *key* of *owner*, and what is no tensor beside it, as a step would."""
        parameter = self.parameters[owner]
        if looks_only_at_groups(self.optimizer):
            first = self.first_state(owner)
            if key not in first:
                return None
            device = home_of(parameter) if first[key].is_meta else first[key].device
            slot = torch.empty_like(first[key], device=device)
        else:
            first, slot = {}, tensor_of(array)
            if is_shared(parameter) and slot.shape == parameter.shape:
                slot = torch.empty_like(parameter, dtype=slot.dtype, requires_grad=False)
            elif slot.dim():  # numbers stay, as torch's do
                slot = slot.to(home_of(parameter))
        rest = {other: value for other, value in first.items() if not is_slot(other, value)}
        state = self.optimizer.state[parameter]
        state.update({**rest, **state, key: slot})
        return slot


def check_kind(optimizer: Any) -> None:
    """Raise TypeError for what is no optimizer."""
    if not hasattr(optimizer, "param_groups"):
        raise TypeError(
            f"the optimizer is {described(optimizer)}; expected a torch.optim.Optimizer, such as "
            "torch.optim.Adam(module.parameters())"
        )


def named(optimizer: Optimizer | None, names: Mapping[int, str]) -> NamedOptimizer:
    """Look at *optimizer* by the *names* of variables, which are by the ids of their tensors.

    Of two parameters on one memory, which are one variable, the first is taken.
    """
    seen = NoOptimizer() if optimizer is None else optimizer
    parameters: dict[str, Tensor] = {}
    group_of: dict[str, int] = {}
    for index, group in enumerate(seen.param_groups):
        for parameter in group["params"]:
            name = names.get(id(parameter))
            if name is not None and name not in parameters:
                parameters[name], group_of[name] = parameter, index
    return NamedOptimizer(seen, names, parameters, group_of)


def is_slot(key: object, value: object) -> bool:
    """Return whether an entry of an optimizer's state is a variable of its own."""
    return isinstance(key, str) and isinstance(value, Tensor)
