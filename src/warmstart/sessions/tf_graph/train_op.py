"""The train op of a cost and an optimizer, which can be built anew over other variables.

Gradients are computed once a variable.  Building anew applies those of the variables that are
trainable then, with the same optimizer object, so that their slots are the ones they had.
"""

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any, Protocol

import tensorflow as tf

from . import freezing
from .variables import place
from .walk import operation

v1 = tf.compat.v1


class Optimizer(Protocol):
    """What a train op needs of an optimizer: a tf.compat.v1.train.Optimizer, or the like."""

    def compute_gradients(self, cost: Any, var_list: list[Any]) -> list[tuple[Any, Any]]:
        """Return (gradient or None, variable) for each of *var_list*."""

    def apply_gradients(self, pairs: list[tuple[Any, Any]], global_step: Any) -> Any:
        """Return the operation that moves the variables and counts *global_step* up."""


class Gradients(Protocol):
    """A gradient processor: by what factor to multiply the gradient of which variable."""

    def factors(self, names: Iterable[str]) -> Mapping[str, float]:
        """Return the factors of those of *names* that have one; 0 removes the gradient."""


class TrainOp:
    """The operation that trains every trainable variable of the cost's graph."""

    def __init__(self, cost: Any, optimizer: Optimizer, gradprocs: Iterable[Gradients]) -> None:
        self._cost = cost
        self._optimizer = optimizer
        self._gradprocs = tuple(gradprocs)
        self._pairs: dict[str, tuple[Any, Any]] = {}  # operation of a variable -> its pair
        self.operation: Any = None  # None until it is built
        self.operations: set[str] = set()  # all that was ever built here

    def build(self) -> None:
        """Build the operation over what is trainable now, in place of an earlier one."""
        graph = self._cost.graph
        before = len(graph.get_operations())
        with graph.as_default(), graph.name_scope(None), graph.control_dependencies(None):
            self.operation = self._applied(v1.train.get_or_create_global_step(graph))
        self.operations |= {op.name for op in graph.get_operations()[before:]}
        collection = graph.get_collection_ref(v1.GraphKeys.TRAIN_OP)
        collection[:] = [op for op in collection if operation(op).name not in self.operations]
        collection.append(self.operation)

    def _applied(self, global_step: Any) -> Any:
        """Return the operation that applies the gradients there are."""
        variables = v1.trainable_variables()
        unseen = [v for v in variables if v.op.name not in self._pairs]
        if unseen:
            pairs = self._optimizer.compute_gradients(self._cost, var_list=unseen)
            self._pairs |= {v.op.name: (gradient, v) for gradient, v in pairs}
        pairs = [self._pairs[v.op.name] for v in variables]
        factors = self._factors()
        kept = [
            (multiplied(gradient, factors[v.op.name]), v)
            for gradient, v in pairs
            if gradient is not None and factors[v.op.name] != 0
        ]
        if not kept:  # all is frozen: only the step is counted
            return operation(v1.assign_add(global_step, 1))
        return operation(self._optimizer.apply_gradients(kept, global_step=global_step))

    def _factors(self) -> dict[str, float]:
        """Return by what to multiply the gradient of each variable, by its operation's name.

        The processors see every variable that could be trained, whichever are frozen now: a regex
        that matches frozen ones alone is no mistake.
        """
        graph = self._cost.graph
        ops = self._pairs.keys() | freezing.held_trainable(graph)
        variables = [v for v in v1.global_variables() if v.op.name in ops]
        names = {v.op.name: place(v)[0] for v in variables}
        tables = [gradproc.factors(dict.fromkeys(names.values())) for gradproc in self._gradprocs]
        return {op: prod(table.get(name, 1) for table in tables) for op, name in names.items()}


def multiplied(gradient: Any, factor: float) -> Any:
    """Return *factor* times a dense or sparse *gradient*; one of factor 1 as it is."""
    if factor == 1:
        return gradient
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(
            gradient.values * tf.cast(factor, gradient.dtype),
            gradient.indices,
            gradient.dense_shape,
        )
    return gradient * tf.cast(factor, gradient.dtype)
