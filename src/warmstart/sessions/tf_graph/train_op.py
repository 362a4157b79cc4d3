"""The train op of a cost and an optimizer, which can be built anew over other variables.

Gradients are computed once a variable.  Building anew applies those of the variables that are
trainable then, with the same optimizer object, so that their slots are the ones they had.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import tensorflow as tf

from ..processing import Looking, PartName, Processor, processed
from . import freezing, regions
from .gradients import GraphOps
from .variables import place
from .walk import operation

if TYPE_CHECKING:
    import numpy as np

v1 = tf.compat.v1


class Optimizer(Protocol):
    """What a train op needs of an optimizer: a tf.compat.v1.train.Optimizer, or the like."""

    def compute_gradients(self, cost: Any, var_list: list[Any]) -> list[tuple[Any, Any]]:
        """Return (gradient or None, variable) for each of *var_list*."""

    def apply_gradients(self, pairs: list[tuple[Any, Any]], global_step: Any) -> Any:
        """Return the operation that moves the variables and counts *global_step* up."""


class TrainOp:
    """The operation that trains every trainable variable of the cost's graph."""

    def __init__(self, cost: Any, optimizer: Optimizer, gradprocs: Iterable[Processor]) -> None:
        self._cost = cost
        self._optimizer = optimizer
        self._gradprocs = tuple(gradprocs)
        self._pairs: dict[str, tuple[Any, Any]] = {}  # operation of a variable -> its pair
        self.operation: Any = None  # None until it is built
        self.operations: set[str] = set()  # all that was ever built here
        self.looking = Looking()
        self._with_slots: set[str] = set()  # operations of variables whose slots were made

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
        names = self._names()
        masks = freezing.held_parts(self._cost.graph)
        gradients = {
            names[op]: regions.cleared(gradient, masks[op]) if op in masks else gradient
            for op, (gradient, _) in ((v.op.name, self._pairs[v.op.name]) for v in variables)
        }
        ops = GraphOps({names[v.op.name]: v for v in variables}, self.looking)
        found = processed(self._gradprocs, gradients, ops)
        kept = [(found[name], ops.variable(name)) for name in gradients if found[name] is not None]
        with v1.control_dependencies(ops.looks):
            if not kept:  # all is frozen: only the step is counted
                return operation(v1.assign_add(global_step, 1))
            apply = partial(self._optimizer.apply_gradients, kept, global_step=global_step)
            held = [(v, masks[v.op.name]) for _, v in kept if v.op.name in masks]
            return operation(self._applied_in_part(apply, held) if held else apply())

    def _applied_in_part(
        self, apply: Callable[[], Any], held: list[tuple[Any, "np.ndarray"]]
    ) -> Any:
        """Return the operation that *apply* makes, which leaves the parts that are *held*."""
        if not {v.op.name for v, _ in held} <= self._with_slots:
            apply()  # never run: it makes the slots, of which there must be copies first
            self._with_slots |= {v.op.name for v, _ in held}
        slots = [(slot, mask) for v, mask in held for slot in regions.slots_like(v)]
        return regions.applied(apply, [*held, *slots])

    def _names(self) -> dict[str, str]:
        """Return the name that each variable goes by before the processors, by its operation.

        They are asked about every variable that could be trained, whichever are frozen now: a
        regex that matches frozen ones alone is no mistake.
        """
        graph = self._cost.graph
        ops = self._pairs.keys() | freezing.held_trainable(graph)
        places = {v.op.name: place(v) for v in v1.global_variables() if v.op.name in ops}
        for processor in self._gradprocs:
            processor.check(list(dict.fromkeys(name for name, _ in places.values())))
        return {
            op: name if index is ... else PartName(name, op) for op, (name, index) in places.items()
        }
