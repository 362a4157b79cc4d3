"""What a step of PyTorch returned, checked where it cannot be used: the message says what it is."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ...errors import FreezeError, described


def check_losses(losses: Any) -> None:
    """Raise for *losses* that are no dict with a tensor as "loss"."""
    if not isinstance(losses, Mapping):
        raise TypeError(f"step= returned {described(losses)}; expected a dict with 'loss'")
    if "loss" not in losses:
        raise ValueError(f"step= returned {', '.join(losses) or 'nothing'}; expected 'loss'")
    if not isinstance(losses["loss"], Tensor):
        raise TypeError(f"the loss is {described(losses['loss'])}; expected a tensor of one number")


def refuse_backward(loss: Tensor, module: nn.Module) -> None:
    """Raise for a *loss* of *module* from which no gradient can come, if it is known why."""
    if loss.numel() != 1:
        raise ValueError(
            f"the loss is a tensor of shape {tuple(loss.shape)}; expected one number, such as "
            "its mean"
        )
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise FreezeError("every trainable variable is frozen, so there is nothing to train")


def as_float(name: str, value: Any) -> float:
    """Return the metric *name*, a tensor of one element or a number, as a float."""
    if not isinstance(value, Tensor):
        return float(value)
    if value.numel() != 1:
        raise ValueError(
            f"{name!r} is a tensor of shape {tuple(value.shape)}; what step= returns is reported "
            "as numbers"
        )
    return float(value.item())
