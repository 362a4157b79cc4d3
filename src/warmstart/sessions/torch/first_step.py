"""What an optimizer will keep for a parameter once it has taken a step.

An optimizer makes its state at the first step, and only it knows which.  So a twin of it takes one
with a stand-in for the parameter, on the meta device where it can: nothing is computed there.  Only
PyTorch's own optimizers are asked.  Another may keep the real parameters in places of its own, as
LBFGS does, and its twin would move them.
"""

import inspect
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import LBFGS

#: Where and with what gradient the step is tried: the first that leaves a state tells.
ATTEMPTS = (("meta", torch.strided), (None, torch.strided), (None, torch.sparse_coo))


def looks_only_at_groups(optimizer: object) -> bool:
    """Return whether *optimizer* is known to move nothing but what its groups hold with a gradient.

    True of PyTorch's own, except LBFGS; nothing is known of others.
    """
    return type(optimizer).__module__.startswith("torch.optim.") and type(optimizer) is not LBFGS


class Begun(dict[str, Any]):
    """What is kept for a parameter, and of each tensor what it was when it was made."""

    def __init__(self) -> None:
        super().__init__()
        self.first: dict[str, Tensor] = {}

    def __setitem__(self, key: str, value: Any) -> None:
        if isinstance(value, Tensor):
            self.first.setdefault(key, value.clone())
        super().__setitem__(key, value)


def first_state(optimizer: Any, group: dict[str, Any], parameter: Tensor) -> dict[str, Any]:
    """Return the state after a first step: numbers and such as they are, tensors without values."""
    return dict(stepped(optimizer, group, parameter, ATTEMPTS))


def first_values(optimizer: Any, group: dict[str, Any], parameter: Tensor) -> dict[str, Tensor]:
    """Return a tensor of one element for each slot: what fills it when it is made.

    PyTorch fills every slot with one number, so that a parameter of one element tells.  Adagrad
    fills its own when it is itself made, with an option.
    """
    small = torch.zeros((1,) * parameter.dim(), dtype=parameter.dtype)
    if ACCUMULATOR in group:
        number = group[ACCUMULATOR]
        filling = complex(number, number) if small.is_complex() else number
        return {"sum": torch.full_like(small, filling)}
    return stepped(optimizer, group, small, ATTEMPTS[1:]).first


#: Adagrad's option, of which its `sum` is made.
ACCUMULATOR = "initial_accumulator_value"


def stepped(
    optimizer: Any, group: dict[str, Any], parameter: Tensor, attempts: Iterable[Any]
) -> Begun:
    """Return what is kept for *parameter* after the first of *attempts* that leaves something."""
    for device, layout in attempts:
        twin: Any = object.__new__(type(optimizer))
        twin.__dict__.update(optimizer.__dict__)
        like = torch.empty_like(parameter.detach(), device=device or parameter.device)
        stand_in = nn.Parameter(like)
        zeros = torch.zeros_like(like)
        stand_in.grad = zeros if layout is torch.strided else zeros.to_sparse()
        twin.state = defaultdict(Begun)
        twin.param_groups = [{**group, "params": [stand_in]}]
        try:
            with torch.no_grad():
                inspect.unwrap(type(optimizer).step)(twin)
        except Exception:  # the state is made before the arithmetic, which the meta device lacks
            if not twin.state.get(stand_in):
                continue
        kept: Begun = twin.state.get(stand_in, Begun())
        return kept
    return Begun()
