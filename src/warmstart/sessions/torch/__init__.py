"""PyTorch: the session on a module and its optimizer, and the hook for parameters' creation."""

from typing import Any

from torch import nn

from .context import freeze_variables as freeze_variables
from .optimizer import check_kind
from .session import TorchSession


def session_for(model: Any, *, optimizer: Any = None, **options: Any) -> TorchSession | None:
    """Return the session on a `torch.nn.Module`; None for any other model."""
    if not isinstance(model, nn.Module):
        return None
    if options:
        raise TypeError(f"a PyTorch module takes no option {', '.join(sorted(options))}")
    if optimizer is not None:
        check_kind(optimizer)
    return TorchSession(model, optimizer)
