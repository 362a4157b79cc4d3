"""Frozen parameters before an optimizer, whichever it is and whenever it was made.

    before a step    frozen gradients are removed, whoever put them there; PyTorch's own optimizers
                     pass over a parameter without one: no decay, no momentum
    after a step     LBFGS, and optimizers this library does not know, get their frozen parameters
                     back as they were; all of them, the parts of parameters that are frozen

LBFGS mixes all parameters in one history, which therefore begins anew once one is frozen.
"""

from collections.abc import Collection, Iterator, Mapping
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

from .compiling import untraced
from .first_step import looks_only_at_groups
from .regions import Part, PartBefore, before


class Holder(Protocol):
    """Whoever holds parameters of a module still."""

    parameters: tuple[Tensor, ...]
    parts: tuple[Part, ...]
    trained: set[int]  # ids of those that needed a gradient before anybody held them
    modes: WeakKeyDictionary[nn.Module, bool]  # layers held, and their mode before
    looked_into: WeakSet[Optimizer]  # those whose history knows nothing of what is held


#: Who holds parameters still, by the module they belong to: a model that is gone is forgotten.
HOLDERS: WeakKeyDictionary[nn.Module, list[Holder]] = WeakKeyDictionary()

#: Our hooks on every optimizer's step, while there are holders.
HOOKS: list[RemovableHandle] = []

#: Copies of frozen parameters during a step, and of frozen parts.
COPIES: WeakKeyDictionary[Optimizer, list[tuple[Tensor, Tensor]]] = WeakKeyDictionary()
PARTS: WeakKeyDictionary[Optimizer, list[PartBefore]] = WeakKeyDictionary()


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


@untraced
def before_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    """Remove frozen gradients; keep copies of what *optimizer* might move all the same."""
    for holder in holders():
        for parameter in holder.parameters:
            if parameter.grad is not None:
                parameter.grad = None
        for part in holder.parts:
            part.clear_gradient()
    put_back(optimizer)  # of a step that failed halfway
    parts = [part for holder in holders() for part in holder.parts]
    unknown = not looks_only_at_groups(optimizer)
    if not (parts or unknown):
        return  # as in most runs: every step comes here
    own = {id(p) for group in optimizer.param_groups for p in group["params"]}
    PARTS[optimizer] = [before(optimizer, part) for part in parts if id(part.tensor) in own]
    for holder in holders() if unknown else ():
        held = [p for p in holder.parameters if id(p) in own]
        COPIES.setdefault(optimizer, []).extend((p, p.detach().clone()) for p in held)
        parts = [part for part in holder.parts if id(part.tensor) in own]
        concerned = (held or parts) and optimizer not in holder.looked_into
        if concerned and isinstance(optimizer, LBFGS):
            holder.looked_into.add(optimizer)
            forget(optimizer, {id(p) for p in held}, {id(part.tensor): part for part in parts})


def forget(optimizer: LBFGS, held: Collection[int], parts: Mapping[int, Part]) -> None:
    """Let *optimizer* begin its history anew if that moves any of *held* or *parts*, by ids.

    A history restored from after the freezing does not, and must go on for a run to be resumed.
    """
    masks = []
    for parameter in optimizer.param_groups[0]["params"]:
        part = parts.get(id(parameter))
        whole = torch.full((parameter.numel(),), id(parameter) in held)
        mask = whole if part is None else part.mask().cpu().reshape(-1)
        masks.append(mask.repeat_interleave(2) if parameter.is_complex() else mask)
    ours = torch.cat(masks)
    for state in optimizer.state.values():
        vectors = [state.get("d"), state.get("prev_flat_grad")]
        vectors += [*(state.get("old_dirs") or ()), *(state.get("old_stps") or ())]
        if any(bool(v[ours.to(v.device)].any()) for v in vectors if v is not None):
            state["n_iter"] = 0  # it takes the next iteration for its first


@untraced
def after_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    """Put back what was copied before the step."""
    put_back(optimizer)


@torch.no_grad()
def put_back(optimizer: Optimizer) -> None:
    """Set the parameters that were copied to what they were."""
    for parameter, copy in COPIES.pop(optimizer, ()):
        parameter.copy_(copy)
    for part in PARTS.pop(optimizer, ()):
        part.put_back(optimizer, slots_begin_at_zero=looks_only_at_groups(optimizer))
