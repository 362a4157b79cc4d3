"""Every optimizer's step, so that it passes over what is held; set once, when first needed.

The optimizer still learns of all variables it is built for, and counts its steps.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import tensorflow as tf

from . import guard
from .objects import inner_of
from .optimizers import build, keras_slots, slots_of

V1 = tf.compat.v1.train.Optimizer

#: The classes whose step is watched.
WATCHED: set[type] = set()


def watch() -> None:
    """Watch the optimizers of TensorFlow 1, and those of Keras once it is imported."""
    if V1 not in WATCHED:
        WATCHED.add(V1)
        V1.apply_gradients = v1_apply(V1.apply_gradients)
    keras = sys.modules.get("keras")
    if keras is None:
        return
    kind = next(c for c in keras.optimizers.Optimizer.__mro__ if "apply" in vars(c))
    if kind not in WATCHED:
        WATCHED.add(kind)
        kind.apply = keras_apply(kind.apply)


def keras_apply(step: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method `apply` of Keras' optimizers, made to pass over what is held."""

    @wraps(step)
    def apply(self: Any, grads: Any, trainable_variables: Any = None) -> Any:
        given = self._trainable_variables if trainable_variables is None else trainable_variables
        variables, grads = list(given), list(grads)
        known = [*variables, *self._trainable_variables] if self.built else variables
        if len(grads) != len(variables) or all(guard.held(v) is None for v in known):
            return step(self, grads, trainable_variables)
        build(self, variables)
        kept, kept_variables = guard.without_held(grads, variables)
        if not kept_variables:
            return self.iterations.assign_add(1)
        with slots_held(self):
            return step(self, kept, kept_variables)

    return apply


@contextmanager
def slots_held(optimizer: Any) -> Iterator[None]:
    """Hold the slots of held variables in the block: moving averages go on without a gradient."""
    holds, parts = [], []
    for slot in keras_slots(optimizer):
        mask = guard.held(slot.owner)
        if mask is not None and mask.all():
            holds.append((slot.value, guard.Hold()))
        elif mask is not None and slot.owner.shape == slot.value.shape:
            inner = inner_of(slot.value)
            parts.append((inner, mask, inner.value()))
    for variable, hold in holds:
        guard.add(variable, hold)
    try:
        yield
        for inner, mask, before in parts:  # not earlier: a step may divide by what it put there
            guard.put_back(inner, mask, before)
    finally:
        for variable, hold in holds:
            guard.remove(variable, hold)


def v1_apply(step: Callable[..., Any]) -> Callable[..., Any]:
    """Return `apply_gradients` of TensorFlow 1's optimizers, made to pass over what is held.

    They write by the handle: rows are put back afterwards, and those of slots, which have the
    shape of their variable.
    """

    @wraps(step)
    def apply_gradients(
        self: Any, grads_and_vars: Any, global_step: Any = None, name: str | None = None
    ) -> Any:
        pairs = list(grads_and_vars)
        if all(guard.held(variable) is None for _, variable in pairs):
            return step(self, pairs, global_step, name)
        gradients, variables = guard.without_held(*zip(*pairs, strict=True))
        if not variables:
            return None if global_step is None else global_step.assign_add(1)
        parts = [(inner_of(v), mask) for v in variables if (mask := guard.held(v)) is not None]
        parts += [(s.value, mask) for v, mask in parts for s in slots_of(self, [v])]
        before = [inner.value() for inner, _ in parts]
        result = step(self, zip(gradients, variables, strict=True), global_step, name)
        for (inner, mask), value in zip(parts, before, strict=True):
            guard.put_back(inner, mask, value)
        return result

    return apply_gradients
