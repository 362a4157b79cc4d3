"""Taking back what `run_state.state` returned.  All of it is checked before anything is changed."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..base import refuse_misfits
from ..threads import warn_of_other
from .arrays import tensor_of
from .optimizer import NamedOptimizer, NoOptimizer
from .portable import part, unpack
from .run_state import class_name, fault, generators
from .variables import extra_states, owner_of_extra_state

log = logging.getLogger("warmstart")

Change = Callable[[], object]

#: An option by which schedulers of a kind can be told -> the options that they set.
SCHEDULED = {
    "initial_lr": {"lr", "initial_lr", "max_lr", "min_lr"},
    "base_momentum": {"momentum", "betas", "base_momentum", "max_momentum"},
}


def load_state(
    module: nn.Module,
    optimizer: NamedOptimizer,
    state: Mapping[str, Any],
    accepts: Callable[[str], bool],
) -> None:
    """Take back *state*; raise one ResumeError naming all that does not fit, changing nothing."""
    changes, faults = what_changes(module, optimizer, state)
    refuse_misfits(faults, accepts)
    for change in changes:
        change()
    warn_of_threads(state)


def what_changes(
    module: nn.Module, optimizer: NamedOptimizer, state: Mapping[str, Any]
) -> tuple[list[Change], dict[str, str]]:
    """Return what takes back all of *state* that fits, and by name why the rest does not."""
    faults: dict[str, str] = {}
    changes = [
        *generator_changes(state, faults),
        *extra_state_changes(module, state, faults),
        *optimizer_changes(optimizer, state, faults),
    ]
    return changes, faults


def warn_of_threads(state: Mapping[str, Any]) -> None:
    """Warn when the run so far computed with another number of threads."""
    warn_of_other(state.get("threads"), torch.get_num_threads(), "torch.set_num_threads")


def generator_changes(state: Mapping[str, Any], faults: dict[str, str]) -> Iterator[Change]:
    """Yield what sets the random states of the processor and of every accelerator."""
    saved = part(state, "rng", np.ndarray, "PyTorch")
    expected = torch.get_rng_state().numpy()
    if (saved.dtype, saved.shape) != (expected.dtype, expected.shape):
        faults["rng"] = (
            f"{saved.dtype} {saved.shape}; this PyTorch's generator has {expected.shape}"
        )
    else:
        yield lambda: torch.set_rng_state(tensor_of(saved))
    accelerators = part(state, "accelerators", dict, "PyTorch")
    here = generators()
    for kind in sorted({*accelerators, *here}):
        states, devices = accelerators.get(kind, []), here.get(kind, [])
        if len(states) != len(devices):
            faults[kind] = f"{len(states)} random states, and {len(devices)} devices here"
        for device, saved_state in zip(devices, states, strict=False):
            yield partial(device.set, tensor_of(saved_state))


def extra_state_changes(
    module: nn.Module, state: Mapping[str, Any], faults: dict[str, str]
) -> Iterator[Change]:
    """Yield what gives every module its extra state back."""
    saved = state.get("extra_state", {})
    here = {n for n, value in extra_states(module).items() if not fault(n, value)}
    faults |= dict.fromkeys(sorted(here - saved.keys()), "not in the checkpoint")
    faults |= dict.fromkeys(sorted(saved.keys() - here), "no module here has it")
    for name in here & saved.keys():
        owner = module.get_submodule(owner_of_extra_state(name))
        yield partial(owner.set_extra_state, unpack(saved[name]))


def optimizer_changes(
    optimizer: NamedOptimizer, state: Mapping[str, Any], faults: dict[str, str]
) -> Iterator[Change]:
    """Yield what gives the optimizer its options, and its state beside slots."""
    here = None if isinstance(optimizer.optimizer, NoOptimizer) else class_name(optimizer)
    saved = state.get("optimizer", {"class": None})
    if saved["class"] != here:
        faults["optimizer"] = f"{saved['class']} in the checkpoint, {here} here"
    if saved["class"] != here or here is None:
        return
    yield from option_changes(optimizer, part(saved, "groups", list, "the optimizer"), faults)
    parameters = optimizer.parameters
    for name, rest in part(saved, "state", dict, "the optimizer").items():
        if name in parameters:
            yield partial(optimizer.set_rest, parameters[name], unpack(rest))


def option_changes(
    optimizer: NamedOptimizer, saved: list[Any], faults: dict[str, str]
) -> Iterator[Change]:
    """Yield what gives each group the options that its parameters had in the run so far."""
    if not all(is_group(group) for group in saved):
        faults["optimizer"] = "its groups are not {'params': [...], 'options': {...}}"
        return
    group_of = {name: index for index, group in enumerate(saved) for name in group["params"]}
    pairs: list[tuple[dict[str, Any], Mapping[str, Any]]] = []
    new: list[str] = []
    for index, group in enumerate(optimizer.optimizer.param_groups):
        names = optimizer.names_in(group)
        found = {group_of[name]: name for name in names if name in group_of}
        choices = {repr(saved[i]["options"]): saved[i]["options"] for i in found}
        if len(choices) > 1:
            ones = ", ".join(map(repr, found.values()))
            faults[f"param_groups[{index}]"] = (
                f"{ones} were in groups with different options; give each its own group here too"
            )
            continue
        if names and not choices:
            new.append(f"param_groups[{index}]: {', '.join(names)}")
        pairs += [(group, unpack(options)) for options in choices.values()]
    yield partial(warn_of_replaced, replaced(pairs))
    yield partial(warn_of_new, new)
    for group, options in pairs:
        yield partial(set_options, group, options)


def is_group(value: object) -> bool:
    """Return whether *value* is a parameter group as `run_state` writes them."""
    match value:
        case {"params": list(), "options": dict()}:
            return True
    return False


def replaced(pairs: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> list[str]:
    """Return a line for each way in which the options of a live group are not those saved.

    What a scheduler sets differs at nearly every step, and is left out where there is one.
    """
    lines = []
    for group, options in pairs:
        both = group.keys() & options.keys()
        for mark in SCHEDULED.keys() & {*group, *options}:
            both -= SCHEDULED[mark]
        for key in sorted(both):
            here, saved = plain(group[key]), plain(options[key])
            if here != saved:
                lines.append(f"{key} is {here!r} here and {saved!r} in the checkpoint")
    return list(dict.fromkeys(lines))


def plain(option: Any) -> Any:
    """Return *option*; of a tensor its values, which can be compared and shown."""
    return option.tolist() if isinstance(option, Tensor) else option


def warn_of_replaced(lines: Iterable[str]) -> None:
    """Warn of options that the program has and the run goes on without."""
    if lines:
        log.warning(
            "the run goes on with the checkpoint's options of the optimizer: %s; to change one, "
            "set it in optimizer.param_groups in a callback's after_step",
            "; ".join(lines),
        )


def warn_of_new(groups: Iterable[str]) -> None:
    """Warn of groups whose parameters the optimizer did not train in the run so far."""
    if groups:
        log.warning(
            "groups of the optimizer that the checkpoint does not know keep the options they have "
            "here: %s",
            "; ".join(groups),
        )


def set_options(group: dict[str, Any], options: Mapping[str, Any]) -> None:
    """Set the options of a live *group*; one that is a tensor stays the same tensor."""
    for key, value in options.items():
        if isinstance(group.get(key), Tensor):
            group[key].copy_(torch.as_tensor(value))
        else:
            group[key] = value
