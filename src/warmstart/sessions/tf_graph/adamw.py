"""AdamW for graphs: TensorFlow 2.21 has none that works in a `tf.compat.v1.Session`."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

v1 = tf.compat.v1


class AdamW:
    """`tf.compat.v1.train.AdamOptimizer` with decoupled weight decay.

    Before each update of Adam a variable loses `learning_rate * weight_decay` of itself, as in
    PyTorch.  Slots are those of Adam, and are named so.
    """

    def __init__(
        self,
        learning_rate: Any,
        weight_decay: float,
        *,
        decays: Callable[[str], bool] = lambda name: True,
        **adam: Any,
    ) -> None:
        """Take Adam's arguments in *adam*; *decays* tells by name which variables lose weight."""
        self._rate = learning_rate
        self._decay = weight_decay
        self._decays = decays
        self._adam = v1.train.AdamOptimizer(learning_rate, **adam)

    def compute_gradients(self, cost: Any, var_list: list[Any] | None = None) -> Any:
        """Return (gradient, variable) pairs."""
        return self._adam.compute_gradients(cost, var_list=var_list)

    def apply_gradients(self, pairs: Any, global_step: Any = None) -> Any:
        """Return the operation that decays, then updates.

        Nothing decays before all gradients are there, which read the variables.
        """
        pairs = [(gradient, v) for gradient, v in pairs if gradient is not None]
        with tf.control_dependencies([gradient for gradient, _ in pairs]):
            shrink = self._rate() if callable(self._rate) else self._rate
            decayed = [
                v1.assign_sub(v, v * tf.cast(shrink * self._decay, v.dtype.base_dtype))
                for _, v in pairs
                if self._decays(v.op.name)
            ]
        with tf.control_dependencies(decayed):
            return self._adam.apply_gradients(pairs, global_step=global_step)

    def minimize(
        self, cost: Any, global_step: Any = None, var_list: list[Any] | None = None
    ) -> Any:
        """Return the train op of *cost*."""
        return self.apply_gradients(self.compute_gradients(cost, var_list), global_step)

    def variables(self) -> Any:
        """Return the slots and Adam's powers of beta."""
        return self._adam.variables()
