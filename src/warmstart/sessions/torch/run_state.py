"""What the next step depends on beside variables and slots.

    {"rng": array, "accelerators": {"cuda": [array, ...]}, "threads": 2,
     "extra_state": {"codebook._extra_state": ...},                     of `get_extra_state`
     "optimizer": {"class": "torch.optim.sgd.SGD",
                   "groups": [{"params": ["fc.weight", ...], "options": {"lr": 0.1, ...}}],
                   "state": {"fc.weight": {"n_iter": 3}}}}              what is no tensor there

Options belong to names: a group is recognised by its parameters, wherever it stands.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import CannotHold
from .arrays import array_of
from .optimizer import NamedOptimizer, NoOptimizer, is_slot
from .portable import pack
from .variables import Variables, extra_states

#: Kinds of devices each of which has a generator of its own.
ACCELERATORS = ("cuda", "xpu")


def state(module: nn.Module, optimizer: NamedOptimizer) -> dict[str, Any]:
    """Return the run state; what it cannot hold is left out, and `unresumable` names it."""
    found = process_state()
    if extra := held(extra_states(module)):
        found["extra_state"] = extra
    if not isinstance(optimizer.optimizer, NoOptimizer):
        found["optimizer"] = optimizer_state(optimizer)
    return found


def process_state() -> dict[str, Any]:
    """Return what belongs to the process: states of its generators, and its threads."""
    return {
        "rng": array_of("the random state", torch.get_rng_state()),
        "accelerators": accelerator_states(),
        "threads": torch.get_num_threads(),
    }


@dataclass(frozen=True, slots=True)
class Device:
    """How the generator of a device says and regains its state."""

    get: Callable[[], Tensor]
    set: Callable[[Tensor], object]


def generators() -> dict[str, list[Device]]:
    """Return the devices that have generators of their own, by kind."""
    found = {}
    for kind in ACCELERATORS:
        module = getattr(torch, kind)
        if module.is_available():
            found[kind] = [
                Device(partial(module.get_rng_state, i), partial(module.set_rng_state, device=i))
                for i in range(module.device_count())
            ]
    if torch.backends.mps.is_available():  # one device, which has no number
        found["mps"] = [Device(torch.mps.get_rng_state, torch.mps.set_rng_state)]
    return found


def accelerator_states() -> dict[str, list[Any]]:
    """Return the random states of every device, by kind of device."""
    return {
        kind: [array_of("the random state", device.get()) for device in devices]
        for kind, devices in generators().items()
    }


def optimizer_state(optimizer: NamedOptimizer) -> dict[str, Any]:
    """Return all of the optimizer that is no slot."""
    return {
        "class": class_name(optimizer),
        "groups": [
            {"params": optimizer.names_in(group), "options": held(options_of(group))}
            for group in optimizer.optimizer.param_groups
        ],
        "state": {name: held(rest) for name, rest in rests(optimizer).items()},
    }


def rests(optimizer: NamedOptimizer) -> dict[str, dict[Any, Any]]:
    """Return by parameter what is kept for it beside slots."""
    found = {}
    for name, parameter in optimizer.parameters.items():
        entries = optimizer.state_of(parameter).items()
        if rest := {key: value for key, value in entries if not is_slot(key, value)}:
            found[name] = rest
    return found


def options_of(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a parameter group: all but the parameters and what names them."""
    return {key: value for key, value in group.items() if key not in ("params", "param_names")}


def class_name(optimizer: NamedOptimizer) -> str:
    """Return the full name of the optimizer's class."""
    kind = type(optimizer.optimizer)
    return f"{kind.__module__}.{kind.__qualname__}"


def held(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Return those of *values* that a checkpoint can hold."""
    found = {}
    for key, value in values.items():
        if isinstance(key, str):
            with suppress(CannotHold):
                found[key] = pack(value, key)
    return found


def fault(key: object, value: object) -> str | None:
    """Return why a checkpoint cannot hold *value*, or None."""
    if not isinstance(key, str):
        return f"its key {key!r} is not text"
    try:
        pack(value, "it")
    except CannotHold as error:
        return str(error)
    return None


def unresumable(
    module: nn.Module, variables: Variables, optimizer: NamedOptimizer
) -> dict[str, str]:
    """Return what neither variables nor `state` hold, by name, with the reason."""
    found: dict[str, str] = dict.fromkeys(
        variables.not_live, "a hook of the module put it into state_dict"
    )
    stated = variables.names_of_tensors()
    for name, tensor in module.named_parameters():
        if id(tensor) not in stated:
            found[name] = "state_dict leaves this parameter out"
    for variable in variables.by_name.values():
        if variable.lazy:
            found[variable.name] = "it has no shape before the first batch"
    if strangers := optimizer.strangers():
        found["optimizer"] = f"{strangers} of its parameters are not among the module's variables"
    for name, why in optimizer_faults(optimizer):
        found[name] = why
    extra = {name: fault(name, value) for name, value in extra_states(module).items()}
    found.update((name, why) for name, why in extra.items() if why)
    return found


def optimizer_faults(optimizer: NamedOptimizer) -> Iterator[tuple[str, str]]:
    """Yield each entry of the optimizer's state and options that a checkpoint cannot hold."""
    for name, rest in rests(optimizer).items():
        for key, value in rest.items():
            if why := fault(key, value):
                yield f"{name}/{key}", why
    for index, group in enumerate(optimizer.optimizer.param_groups):
        for key, value in options_of(group).items():
            if why := fault(key, value):
                yield f"param_groups[{index}][{key!r}]", why
    for key in optimizer.optimizer.state:
        if not isinstance(key, Tensor):
            yield f"optimizer.state[{key!r}]", "it belongs to no parameter"
