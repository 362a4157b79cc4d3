"""Frozen parameters before an optimizer, whichever it is and whenever it was made.

    before a step    frozen gradients are removed, whoever put them there; PyTorch's own optimizers
                     pass over a parameter without one: no decay, no momentum
    after a step     LBFGS, and optimizers this library does not know, get their frozen parameters
                     back as they were

LBFGS mixes all parameters in one history, which therefore begins anew once one is frozen.
"""

from collections.abc import Iterator
from typing import Any, Protocol
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils.hooks import RemovableHandle

from .first_step import looks_only_at_groups


class Holder(Protocol):
    """Whoever holds parameters of a module still."""

    parameters: tuple[Tensor, ...]
    trained: set[int]  # ids of those that needed a gradient before anybody held them
    modes: WeakKeyDictionary[nn.Module, bool]  # layers held, and their mode before
    looked_into: WeakSet[Optimizer]  # those whose history knows nothing of what is held


#: Who holds parameters still, by the module they belong to: a model that is gone is forgotten.
HOLDERS: WeakKeyDictionary[nn.Module, list[Holder]] = WeakKeyDictionary()

#: Our hooks on every optimizer's step, while there are holders.
HOOKS: list[RemovableHandle] = []

#: Copies of frozen parameters during a step.
COPIES: WeakKeyDictionary[Optimizer, list[tuple[Tensor, Tensor]]] = WeakKeyDictionary()


def add(module: nn.Module, holder: Holder) -> None:
    """Guard the parameters of *holder* until it is removed."""
    HOLDERS.setdefault(module, []).append(holder)
    if not HOOKS:
        HOOKS.append(register_optimizer_step_pre_hook(before_step))
        HOOKS.append(register_optimizer_step_post_hook(after_step))


def remove(module: nn.Module, holder: Holder) -> None:
    """Guard them no longer."""
    HOLDERS[module].remove(holder)
    if not any(HOLDERS.values()):
        for hook in HOOKS:
            hook.remove()
        HOOKS.clear()


def holders() -> Iterator[Holder]:
    """Yield whoever holds anything now."""
    for each in tuple(HOLDERS.values()):
        yield from each


def trained(parameter: Tensor) -> bool:
    """Return whether *parameter* is held now and needs a gradient otherwise."""
    return any(id(parameter) in holder.trained for holder in holders())


def trains(layer: nn.Module) -> bool:
    """Return whether *layer* is held now and is in training mode otherwise."""
    return any(holder.modes.get(layer, False) for holder in holders())


def before_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    """Remove frozen gradients; keep copies of what *optimizer* might move all the same."""
    for holder in holders():
        for parameter in holder.parameters:
            if parameter.grad is not None:
                parameter.grad = None
    if looks_only_at_groups(optimizer):
        return
    put_back(optimizer)  # of a step that failed halfway
    own = {id(p) for group in optimizer.param_groups for p in group["params"]}
    copies = COPIES.setdefault(optimizer, [])
    for holder in holders():
        held = [p for p in holder.parameters if id(p) in own]
        copies += [(p, p.detach().clone()) for p in held]
        if held and isinstance(optimizer, LBFGS) and optimizer not in holder.looked_into:
            holder.looked_into.add(optimizer)
            forget(optimizer, {id(p) for p in held})


def forget(optimizer: LBFGS, held: set[int]) -> None:
    """Let *optimizer* begin its history anew if that moves any of *held*, ids of parameters.

    A history restored from after the freezing does not, and must go on for a run to be resumed.
    """
    parts = [
        torch.full((p.numel() * (1 + p.is_complex()),), id(p) in held)
        for p in optimizer.param_groups[0]["params"]
    ]
    ours = torch.cat(parts)
    for state in optimizer.state.values():
        vectors = [state.get("d"), state.get("prev_flat_grad")]
        vectors += [*(state.get("old_dirs") or ()), *(state.get("old_stps") or ())]
        if any(bool(v[ours.to(v.device)].any()) for v in vectors if v is not None):
            state["n_iter"] = 0  # it takes the next iteration for its first


def after_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    """Put back what was copied before the step."""
    put_back(optimizer)


@torch.no_grad()
def put_back(optimizer: Optimizer) -> None:
    """Set the parameters that were copied to what they were."""
    for parameter, copy in COPIES.pop(optimizer, ()):
        parameter.copy_(copy)
