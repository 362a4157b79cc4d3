"""What a loss function returns, and layers of Flax linen that it runs in inference mode."""

import inspect
import sys
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax.numpy as jnp

from .held import MODES
from .trees import Path


def loss_and_rest(returned: Any) -> tuple[Any, dict[str, Any]]:
    """Return the loss and what a function *returned* beside it, by name."""
    loss, rest = returned if isinstance(returned, tuple) and len(returned) == 2 else (returned, {})
    if not isinstance(rest, Mapping):
        raise TypeError(
            f"loss= returned a {type(rest).__name__} beside the loss; expected a dict of metrics "
            "and of new collections, as `apply(..., mutable=...)` returns them"
        )
    if jnp.shape(loss):
        raise ValueError(f"loss= returned an array of shape {jnp.shape(loss)}; expected a number")
    return loss, dict(rest)


def refuse_arrays(metrics: Mapping[str, Any]) -> None:
    """Raise naming every one of *metrics* that is no number."""
    wrong = {name: value for name, value in metrics.items() if not is_metric(value)}
    if wrong:
        shown = ", ".join(f"{name!r} ({type(value).__name__})" for name, value in wrong.items())
        raise ValueError(
            f"loss= returned {shown} beside the loss; a metric is a number, and a new collection "
            "bears the name of one in the tree"
        )


def is_metric(value: Any) -> bool:
    """Return whether *value* is a number or an array of one."""
    return (
        not isinstance(value, Mapping | str)
        and hasattr(jnp.asarray(value), "shape")
        and not (jnp.shape(value))
    )


def in_inference(scopes: Collection[Path]) -> AbstractContextManager[Any]:
    """Return a block in which the layers of Flax linen at *scopes* run in inference mode."""
    linen = sys.modules.get("flax.linen")
    if linen is None or not scopes:
        return nullcontext()

    def intercept(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        layer = context.module
        if context.method_name != "__call__" or tuple(layer.path) not in scopes:
            return call(*args, **kwargs)
        signature = inspect.signature(type(layer).__call__)
        bound = signature.bind(layer, *args, **kwargs)
        for mode, value in MODES.items():
            if mode in signature.parameters and getattr(layer, mode, None) is None:
                bound.arguments[mode] = value
            elif mode in signature.parameters:  # linen refuses both
                object.__setattr__(layer, mode, value)
                bound.arguments[mode] = None
        return call(*bound.args[1:], **bound.kwargs)

    return linen.intercept_methods(intercept)  # type: ignore[no-any-return]
