"""Operations already in a graph that would move a variable that is to be held still."""

from collections.abc import Collection, Iterator
from typing import Any

import tensorflow as tf

from ...errors import FreezeError
from .variables import Variable
from .walk import VARIABLES, ancestors, operation, written

KEYS = tf.compat.v1.GraphKeys

#: Writes that put a value in place of the old one; they train only if it comes from a variable.
REPLACEMENTS = ("Assign", "AssignVariableOp", "ScatterUpdate", "ResourceScatterUpdate")


def refuse(
    graph: Any, variables: Collection[Variable], owned: Collection[str], updates: Collection[Any]
) -> None:
    """Raise FreezeError naming those of *variables* that an operation in *graph* would move.

    *owned* are operations that whoever built them does without from now on; *updates* are the
    update ops, which are left out unless something else runs them.
    """
    found = movers(graph, variables, owned, updates)
    if found:
        listed = "\n".join(f"  {name}   by {', '.join(ops)}" for name, ops in found.items())
        raise FreezeError(
            f"{len(found)} of {len(variables)} variables would still be moved by operations "
            f"already in the graph\n{listed}\n"
            "Freeze before the train op is built, or build it with a var_list= that leaves them "
            "out, or give cost= and optimizer= to a TFGraph, which builds its train op anew."
        )


def movers(
    graph: Any, variables: Collection[Variable], owned: Collection[str], updates: Collection[Any]
) -> dict[str, list[str]]:
    """Return name of variable -> names of the operations that would move it."""
    names = {op_name: v.name for v in variables for op_name in v.op_names}
    initializers = {part.variable.initializer for v in variables for part in v.parts}
    optional = separate(graph, updates, owned)
    found: dict[str, list[str]] = {}
    for op, target in written(graph.get_operations()):
        if target.name not in names or op.name in owned or op in initializers or op in optional:
            continue
        if not is_loading(op):
            found.setdefault(names[target.name], []).append(op.name)
    return found


def is_loading(op: Any) -> bool:
    """Return whether *op* only sets its variable to a value from outside: a feed, a file."""
    if op.type not in REPLACEMENTS:
        return False
    return not any(o.type in VARIABLES for tensor in op.inputs[1:] for o in ancestors([tensor]))


def separate(graph: Any, updates: Collection[Any], owned: Collection[str]) -> set[Any]:
    """Return what *updates* run and no train op or group runs as well: it can be left out."""
    running = ancestors([*updates, *graph.get_collection(KEYS.UPDATE_OPS)])
    return running - ancestors(roots(graph, running, owned))


def roots(graph: Any, updates: set[Any], owned: Collection[str]) -> Iterator[Any]:
    """Yield the train ops of *graph*, and the groups that run updates together with others."""
    for op in map(operation, graph.get_collection(KEYS.TRAIN_OP)):
        if op.name not in owned:
            yield op
    for op in graph.get_operations():
        outside = op.type == "NoOp" and op not in updates and op.name not in owned
        if outside and any(member in updates for member in op.control_inputs):
            yield op
