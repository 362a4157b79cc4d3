"""What an optimizer will keep for a parameter once it has taken a step.

An optimizer makes its state at the first step, and only it knows which.  So a twin of it takes one
with a stand-in for the parameter, on the meta device where it can: nothing is computed there.  Only
PyTorch's own optimizers are asked.  Another may keep the real parameters in places of its own, as
LBFGS does, and its twin would move them.
"""

import inspect
from collections import defaultdict
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


def first_state(optimizer: Any, group: dict[str, Any], parameter: Tensor) -> dict[str, Any]:
    """Return the state after a first step: numbers and such as they are, tensors without values."""
    for device, layout in ATTEMPTS:
        twin: Any = object.__new__(type(optimizer))
        twin.__dict__.update(optimizer.__dict__)
        like = torch.empty_like(parameter.detach(), device=device or parameter.device)
        stand_in = nn.Parameter(like)
        zeros = torch.zeros_like(like)
        stand_in.grad = zeros if layout is torch.strided else zeros.to_sparse()
        twin.state = defaultdict(dict)
        twin.param_groups = [{**group, "params": [stand_in]}]
        try:
            with torch.no_grad():
                inspect.unwrap(type(optimizer).step)(twin)
        except Exception:  # the state is made before the arithmetic, which the meta device lacks
            if not twin.state.get(stand_in):
                continue
        return dict(twin.state.get(stand_in, {}))
    return {}
