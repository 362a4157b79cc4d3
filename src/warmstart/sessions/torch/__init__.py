"""PyTorch: the session on a module and its optimizer, and the hook for parameters' creation."""

from typing import Any

from torch import nn

from .context import freeze_variables as freeze_variables
from .session import TorchSession


def session_for(model: Any, *, optimizer: Any = None, **options: Any) -> TorchSession | None:
    """Return the session on a `torch.nn.Module`; None for any other model."""
    if not isinstance(model, nn.Module):
        return None
    if options:
        raise TypeError(f"a PyTorch module takes no option {', '.join(sorted(options))}")
    if optimizer is not None and not hasattr(optimizer, "param_groups"):
        raise TypeError(
            f"the optimizer is a {type(optimizer).__qualname__}; expected a torch.optim.Optimizer"
        )
    return TorchSession(model, optimizer)
