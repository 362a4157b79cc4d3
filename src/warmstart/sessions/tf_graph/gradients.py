"""What gradient processors ask for, as operations of a graph."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from ..processing import Looking

if TYPE_CHECKING:
    import numpy as np

v1 = tf.compat.v1


class GraphOps:
    """The operations; `looks` are those that no variable may be moved before."""

    def __init__(self, variables: Mapping[str, Any], looking: Looking) -> None:
        self._variables = variables
        self._looking = looking
        self.looks: list[Any] = []

    def scaled(self, gradient: Any, factor: float) -> Any:
        return gradient if factor == 1 else product(gradient, factor)

    def clipped(self, gradients: Sequence[Any], norm: float) -> Sequence[Any]:
        clipped: list[Any] = tf.clip_by_global_norm(list(gradients), norm)[0]
        return clipped

    def watched(self, gradient: Any, watcher: "Callable[[np.ndarray], None]") -> Any:
        values = gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient
        self.looks.append(v1.py_func(self._looking.function(watcher), [values], []))
        return gradient

    def variable(self, name: str) -> Any:
        return self._variables[name]


def product(gradient: Any, factor: Any) -> Any:
    """Return *factor* times a dense or sparse *gradient*."""
    if isinstance(gradient, tf.IndexedSlices):
        values = gradient.values * tf.cast(factor, gradient.dtype)
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return gradient * tf.cast(factor, gradient.dtype)
