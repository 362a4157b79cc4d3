"""The variables of a module under the names of its `state_dict`, found anew at each call.

A tensor that hangs under several names is one variable: the first name is its own, the others are
aliases.  Two parameters on the same memory count as one as well.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ...names import joined, parent
from .shards import is_shared

EXTRA_STATE = "_extra_state"


@dataclass(frozen=True, slots=True)
class Hanging:
    """A tensor under one of its names, and where it hangs: at one module below the root."""

    name: str
    tensor: Tensor
    path: str  # of the owner, "" for the root
    leaf: str  # of a parameter or a buffer there

    def still(self, root: nn.Module) -> bool:
        """Return whether the tensor hangs there now."""
        try:
            owner = root.get_submodule(self.path)
        except AttributeError:
            return False
        return owner._parameters.get(self.leaf, owner._buffers.get(self.leaf)) is self.tensor


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable, under its own name first and then under its aliases."""

    hanging: tuple[Hanging, ...]

    @property
    def name(self) -> str:
        """The first name."""
        return self.hanging[0].name

    @property
    def tensor(self) -> Tensor:
        """The tensor, or the first of several on one memory."""
        return self.hanging[0].tensor

    @property
    def tensors(self) -> list[Tensor]:
        """Every tensor: parameters that share a memory are several."""
        return list({id(each.tensor): each.tensor for each in self.hanging}.values())

    @property
    def role(self) -> str:
        """What the variable is for at this moment: "trainable" or "model"."""
        return "trainable" if any(h.tensor.requires_grad for h in self.hanging) else "model"

    @property
    def lazy(self) -> bool:
        """Whether its shape is still to be found out by the first batch."""
        return bool(is_lazy(self.tensor))

    def still(self, root: nn.Module) -> bool:
        """Return whether it hangs everywhere where it was found."""
        return all(each.still(root) for each in self.hanging)


@dataclass(frozen=True, slots=True)
class Variables:
    """All variables of a module as they were when looked at."""

    by_name: Mapping[str, Variable]  # in the order of state_dict, without the aliases
    aliases: Mapping[str, str]
    not_live: tuple[str, ...]  # tensors of state_dict that no module owns: a hook made them

    def find(self, name: str) -> Variable | None:
        """Return the variable of that name or alias, if there is one."""
        return self.by_name.get(self.aliases.get(name, name))

    def names_of_tensors(self) -> dict[int, str]:
        """Return the name of the variable that a live tensor belongs to, by the tensor's id."""
        return {id(t): name for name, v in self.by_name.items() for t in v.tensors}


#: What a session knows before it has looked.
NOTHING = Variables({}, {}, ())


def variables_of(module: nn.Module) -> Variables:
    """Look at *module* and return its variables."""
    places = {each.name: each for each in hanging_tensors(module)}
    by_tensor = {id(each.tensor): each for each in reversed(places.values())}
    groups: dict[Hashable, list[Hanging]] = {}
    not_live = []
    for name, tensor in stated_tensors(module):
        place = places.get(name)
        if place is None or place.tensor is not tensor:  # a hook gave it another name
            place = by_tensor.get(id(tensor))
        if place is None:
            not_live.append(name)
        else:
            groups.setdefault(memory_of(tensor), []).append(replace(place, name=name))
    variables = [Variable(tuple(group)) for group in groups.values()]
    return Variables(
        by_name={variable.name: variable for variable in variables},
        aliases={each.name: v.name for v in variables for each in v.hanging[1:]},
        not_live=tuple(not_live),
    )


def hanging_tensors(module: nn.Module) -> Iterator[Hanging]:
    """Yield every parameter and buffer by its full name, a shared one at each of its places."""
    for path, owner in module.named_modules(remove_duplicate=False):
        for leaf, tensor in (*owner._parameters.items(), *owner._buffers.items()):
            if tensor is not None:
                yield Hanging(joined(path, leaf, "."), tensor, path, leaf)


def stated_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of `state_dict`, the live ones themselves; extra state is left out."""
    for name, value in stated(module):
        if isinstance(value, Tensor) and not is_extra_state(name):
            yield name, value


def extra_states(module: nn.Module) -> dict[str, Any]:
    """Return what the modules put into `state_dict` by `get_extra_state`, by its name there."""
    return {name: value for name, value in stated(module) if is_extra_state(name)}


def stated(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield all of `state_dict`."""
    yield from module.state_dict(keep_vars=True).items()


def is_extra_state(name: str) -> bool:
    """Return whether nn.Module gave this *name* to a module's extra state."""
    return name == EXTRA_STATE or name.endswith("." + EXTRA_STATE)


def owner_of_extra_state(name: str) -> str:
    """Return the path of the module whose extra state is called *name*."""
    return parent(name, ".")


def memory_of(tensor: Tensor) -> Hashable:
    """Return what two tensors on the same memory have in common, and no others.

    Lazy, meta and empty tensors have no memory to be told by, and of those that are not dense and
    in this process nothing is known, so each is its own.
    """
    if is_lazy(tensor) or tensor.is_meta or not tensor.numel():
        return id(tensor)
    if tensor.layout is not torch.strided or is_shared(tensor):
        return id(tensor)
    return (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
