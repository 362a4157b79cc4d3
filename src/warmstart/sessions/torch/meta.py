"""Modules on the meta device: shapes without memory, which each variable is given once.

    with torch.device("meta"):
        module = Net()                     nothing is allocated
    SmartInit(path).init(module)           each variable gets its memory as it is assigned

Parameters stay the objects they are, so an optimizer that has them already keeps them.  What is not
loaded is initialised by its layer's own `reset_parameters`; what no layer can initialise is refused
before anything is allocated.
"""

from collections.abc import Collection

import torch
from torch import Tensor, nn

from ...errors import RestoreError
from .variables import Hanging, Variable, Variables, hanging_tensors

#: The methods by which layers draw their initial values.
RESETS = ("reset_parameters", "_reset_parameters")


def home_of(tensor: Tensor) -> torch.device:
    """Return the device of *tensor*; of one on the meta device that where tensors are made."""
    if not tensor.is_meta:
        return tensor.device
    device = torch.get_default_device()
    return torch.device("cpu") if device.type == "meta" else device


def allocate(tensor: Tensor) -> None:
    """Give a tensor on the meta device memory, of no values yet; any other is left as it is."""
    if not tensor.is_meta:
        return
    new = torch.empty_like(tensor.detach(), device=home_of(tensor))
    if isinstance(tensor, nn.Parameter):
        new = nn.Parameter(new, requires_grad=tensor.requires_grad)
    new.__dict__.update(tensor.__dict__)
    try:
        torch.utils.swap_tensors(tensor, new)  # type: ignore[no-untyped-call]
    except RuntimeError as error:  # something has a weak reference to it, or a view
        raise RestoreError(
            f"a tensor {tuple(tensor.shape)} on the meta device cannot be given memory: {error}; "
            "call module.to_empty(device='cpu') before what refers to it is made"
        ) from error


def check(module: nn.Module, variables: Variables, names: Collection[str]) -> None:
    """Raise RestoreError for what would have no values if *names* were not loaded.

    That is those of them that no layer initialises, and buffers that no checkpoint has.
    """
    lost = [
        v.name for v in without_values(variables, names) if reset_of(module, v.hanging[0]) is None
    ]
    held = {id(t) for v in variables.by_name.values() for t in v.tensors}
    unstated = [
        h.name for h in hanging_tensors(module) if h.tensor.is_meta and id(h.tensor) not in held
    ]
    faults = [
        *(f"  {name}: not loaded, and its layer has no reset_parameters" for name in lost),
        *(f"  {name}: a buffer that no state_dict has, made by its layer" for name in unstated),
    ]
    if faults:
        raise RestoreError(
            "\n".join(
                [
                    "the module is on the meta device, and these would have no values:",
                    *faults,
                    "Load them, build their layers outside of torch.device('meta'), or give the "
                    "module memory and values first: module.to_empty(device='cpu').",
                ]
            )
        )


def initialize(module: nn.Module, variables: Variables, names: Collection[str]) -> list[str]:
    """Give those of *names* that are on the meta device their initial values; return which."""
    empty = without_values(variables, names)
    layers: dict[str, list[str]] = {}
    for variable in empty:
        path = reset_of(module, variable.hanging[0])
        if path is not None:
            layers.setdefault(path, []).append(variable.name)
    fresh = {id(tensor) for variable in empty for tensor in variable.tensors}
    for path in layers:
        reset(module.get_submodule(path), fresh)
    return [name for names_of_layer in layers.values() for name in names_of_layer]


def without_values(variables: Variables, names: Collection[str]) -> list[Variable]:
    """Return those of *names* that are on the meta device, and no slots."""
    found = (variables.find(name) for name in names)
    return [v for v in found if v is not None and not v.lazy and v.tensor.is_meta]


def reset_of(module: nn.Module, place: Hanging) -> str | None:
    """Return the path of the layer that initialises what hangs at *place*, None if it cannot."""
    owner = module.get_submodule(place.path)
    return place.path if any(hasattr(owner, name) for name in RESETS) else None


def reset(layer: nn.Module, fresh: Collection[int]) -> None:
    """Let *layer* draw its initial values; of its tensors only those in *fresh*, by id, change."""
    tensors = [*layer.parameters(), *layer.buffers()]
    kept = [(t, t.detach().clone()) for t in tensors if id(t) not in fresh and not t.is_meta]
    for tensor in tensors:
        allocate(tensor)
    method = next(getattr(layer, name) for name in RESETS if hasattr(layer, name))
    method()
    with torch.no_grad():
        for tensor, values in kept:
            tensor.copy_(values)
