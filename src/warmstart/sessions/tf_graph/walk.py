"""Ways through a graph: what an operation depends on, and who writes a variable.

Operations are followed backwards through their data and control inputs, never into a variable's
initializer: nothing that reads a variable depends on the operation that first filled it.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow as tf

#: How the value of a variable can be changed by an operation whose first input it is.
WRITES = ("Assign", "Scatter", "ResourceScatter", "Apply", "SparseApply", "ResourceApply",
          "ResourceSparseApply", "StridedSliceAssign", "ResourceStridedSliceAssign")  # fmt: skip

#: The operations that stand for a variable: with references, and with resources.
VARIABLES = frozenset(("Variable", "VariableV2", "VarHandleOp"))


def operation(fetch: Any) -> Any:
    """Return the operation behind an operation, a tensor or a variable."""
    return fetch if isinstance(fetch, tf.Operation) else fetch.op


def ancestors(fetches: Iterable[Any]) -> set[Any]:
    """Return the operations that running *fetches* would run, themselves included."""
    seen: set[Any] = set()
    waiting = [operation(fetch) for fetch in fetches]
    while waiting:
        op = waiting.pop()
        if op not in seen:
            seen.add(op)
            waiting += [tensor.op for tensor in op.inputs]
            waiting += op.control_inputs
    return seen


def dependent(ops: Iterable[Any], origins: Iterable[Any]) -> set[Any]:
    """Return those of *ops* that depend on one of *origins*, through others of *ops*."""
    users: dict[Any, list[Any]] = {}
    for op in ops:
        for needed in [*(tensor.op for tensor in op.inputs), *op.control_inputs]:
            users.setdefault(needed, []).append(op)
    found: set[Any] = set()
    waiting = list(origins)
    while waiting:
        new = [user for user in users.get(waiting.pop(), ()) if user not in found]
        found.update(new)
        waiting += new
    return found


def writes(op: Any) -> Any | None:
    """Return the operation of the variable that *op* writes, or None."""
    if not op.type.startswith(WRITES) or not op.inputs:
        return None
    target = op.inputs[0].op
    return target if target.type in VARIABLES else None


def is_apply(op: Any) -> bool:
    """Return whether *op* is an optimizer's own update of a variable."""
    return "Apply" in op.type and writes(op) is not None


def written(ops: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield (writing operation, operation of the variable) for those of *ops* that write one."""
    for op in ops:
        target = writes(op)
        if target is not None:
            yield op, target
