"""What gradient processors ask for, inside a step that JAX compiles."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from ...errors import FreezeError
from ..processing import Processor
from .arrays import array_of

Watcher = Callable[[np.ndarray], None]


@dataclass(slots=True)
class JaxOps:
    """Gradients are traced, so those watched are given out by the step and looked at after it."""

    variables: Mapping[str, Any]
    watchers: list[Watcher] = field(default_factory=list)
    watched_gradients: list[Any] = field(default_factory=list)

    def scaled(self, gradient: Any, factor: float) -> Any:
        return gradient if factor == 1 else gradient * factor

    def clipped(self, gradients: Sequence[Any], norm: float) -> list[Any]:
        wide = [g.astype(jnp.promote_types(g.dtype, jnp.float32)) for g in gradients]
        whole = jnp.sqrt(sum(jnp.sum(jnp.square(jnp.abs(g))) for g in wide))
        factor = norm / jnp.maximum(whole, norm)
        return [g * factor.astype(g.dtype) for g in gradients]

    def watched(self, gradient: Any, watcher: Watcher) -> Any:
        self.watchers.append(watcher)
        self.watched_gradients.append(gradient)
        return gradient

    def variable(self, name: str) -> Any:
        return self.variables[name]


def check_trained(names: Sequence[str], processors: Iterable[Processor]) -> None:
    """Raise where no *names* are left to train, and for what *processors* say of none of them."""
    if not names:
        raise FreezeError("every trainable variable is frozen, so there is nothing to train")
    for processor in processors:
        processor.check(names)


def show(watchers: Sequence[Watcher], gradients: Sequence[Any]) -> None:
    """Show each of *watchers* the gradient it watches."""
    for watcher, gradient in zip(watchers, gradients, strict=True):
        watcher(array_of("a gradient", gradient))
