"""The variables of a module under the names of its `state_dict`, found anew at each call.

A tensor that hangs under several names is one variable: the first name is its own, the others are
aliases.  Two parameters on the same memory count as one as well.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ...names import joined, parent

EXTRA_STATE = "_extra_state"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a live tensor hangs: a parameter or a buffer of one module below the root."""

    path: str  # of the owner, "" for the root
    leaf: str

    def owner(self, root: nn.Module) -> nn.Module:
        """Return the module that owns the tensor; AttributeError when it is gone."""
        return root.get_submodule(self.path)

    def tensor(self, root: nn.Module) -> Tensor:
        """Return what hangs there now; AttributeError when nothing does."""
        owner = self.owner(root)
        found = owner._parameters.get(self.leaf, owner._buffers.get(self.leaf))
        if found is None:
            raise AttributeError(f"{self.path!r} has no tensor {self.leaf!r}")
        return found


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable and everywhere it hangs."""

    name: str
    tensor: Tensor
    role: str  # "trainable" or "model"
    places: tuple[tuple[str, Place], ...]  # by name and alias

    @property
    def lazy(self) -> bool:
        """Whether its shape is still to be found out by the first batch."""
        return bool(is_lazy(self.tensor))


@dataclass(frozen=True, slots=True)
class Variables:
    """All variables of a module as they were when looked at."""

    by_name: Mapping[str, Variable]  # in the order of state_dict, without the aliases
    aliases: Mapping[str, str]
    owner_of: Mapping[int, str]  # id of a live tensor -> the name of its variable
    not_live: tuple[str, ...]  # tensors of state_dict that no module owns: a hook made them

    def find(self, name: str) -> Variable | None:
        """Return the variable of that name or alias, if there is one."""
        return self.by_name.get(self.aliases.get(name, name))

    def tensors(self, name: str, module: nn.Module) -> list[Tensor]:
        """Return every tensor of the variable *name*: tied ones may be several on one memory."""
        tensors = (place.tensor(module) for _, place in self.by_name[name].places)
        return list({id(tensor): tensor for tensor in tensors}.values())


def variables_of(module: nn.Module) -> Variables:
    """Look at *module* and return its variables."""
    hanging = dict(hanging_tensors(module))
    place_of = {id(tensor): place for place, tensor in reversed(hanging.values())}
    names: dict[Hashable, list[str]] = {}
    found: dict[str, tuple[Place, Tensor]] = {}
    not_live = []
    for name, tensor in stated_tensors(module):
        if id(tensor) not in place_of:
            not_live.append(name)
            continue
        place, there = hanging.get(name, (None, None))
        found[name] = (place if place and there is tensor else place_of[id(tensor)], tensor)
        names.setdefault(memory_of(tensor), []).append(name)
    return Variables(
        by_name={group[0]: variable([(n, *found[n]) for n in group]) for group in names.values()},
        aliases={alias: group[0] for group in names.values() for alias in group[1:]},
        owner_of={id(found[n][1]): group[0] for group in names.values() for n in group},
        not_live=tuple(not_live),
    )


def variable(hanging: list[tuple[str, Place, Tensor]]) -> Variable:
    """Return the one variable that stands under the names in *hanging*."""
    name, _, tensor = hanging[0]
    trained = any(each.requires_grad for _, _, each in hanging)
    places = tuple((each, place) for each, place, _ in hanging)
    return Variable(name, tensor, "trainable" if trained else "model", places)


def hanging_tensors(module: nn.Module) -> Iterator[tuple[str, tuple[Place, Tensor]]]:
    """Yield every parameter and buffer by its full name, a shared one at each of its places."""
    for path, owner in module.named_modules(remove_duplicate=False):
        for leaf, tensor in (*owner._parameters.items(), *owner._buffers.items()):
            if tensor is not None:
                yield joined(path, leaf, "."), (Place(path, leaf), tensor)


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

    Lazy, meta and empty tensors have no memory to be told by, so each is its own.
    """
    if is_lazy(tensor) or tensor.is_meta or not tensor.numel() or hasattr(tensor, "full_tensor"):
        return id(tensor)
    return (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
