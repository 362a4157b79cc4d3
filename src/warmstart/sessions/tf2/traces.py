"""Functions that TensorFlow has traced: what they write is settled, whoever holds it later.

    a tf.function       forgets its traces and makes new ones when it is called again
    a trace itself      (`get_concrete_function`, a SavedModel's) cannot be made anew

They are found among all live objects, by the handles of the variables that they use.
"""

import gc
from collections.abc import Collection, Iterator
from typing import Any

import tensorflow as tf
from tensorflow.python.eager.polymorphic_function.concrete_function import ConcreteFunction
from tensorflow.python.eager.polymorphic_function.polymorphic_function import Function
from tensorflow.python.framework.auto_control_deps_utils import get_read_write_resource_inputs

from ...errors import FreezeError
from .guard import TRACES


def forget(variables: Collection[Any]) -> None:
    """Let every tf.function that uses one of the tf.Variables be traced anew when called."""
    handles = {id(v.handle) for v in variables}
    noted = {id(graph) for v in variables for graph in vars(v).get(TRACES, ())}
    for function in live(Function):
        first = getattr(function, "_concrete_variable_creation_fn", None)
        traces = [*function._function_cache.values(), *([first] if first is not None else [])]
        if any(id(t.graph) in noted or uses(t, handles) for t in traces):
            function._function_cache.clear()
            function._concrete_variable_creation_fn = None


def refuse_writers(variables: Collection[Any], names: Collection[str]) -> None:
    """Raise FreezeError for traces that would move the tf.Variables, called *names*, for good.

    What can be traced anew was forgotten before.
    """
    found = writers(variables)
    if found:
        raise FreezeError(
            f"{', '.join(found)}: already traced, and would move {', '.join(names)}; a "
            "tf.function is traced anew by itself, but what get_concrete_function returned or a "
            "SavedModel brought cannot be: drop it, freeze, and get it again"
        )


def writers(variables: Collection[Any]) -> list[str]:
    """Return the names of traces that write one of the tf.Variables and cannot be made anew."""
    handles = {id(v.handle) for v in variables}
    if not any(uses(trace, handles) for trace in live(ConcreteFunction)):
        return []
    gc.collect()  # traces and what they use hold each other
    return sorted({tf.compat.as_str(t.name) for t in live(ConcreteFunction) if writes(t, handles)})


def live(kind: type) -> Iterator[Any]:
    """Yield every live object of *kind*."""
    yield from [each for each in gc.get_objects() if issubclass(type(each), kind)]


def uses(trace: ConcreteFunction, handles: set[int]) -> bool:
    """Return whether *trace* is given one of *handles*, ids of tensors."""
    return any(id(outer) in handles for outer in trace.captured_inputs)


def writes(trace: ConcreteFunction, handles: set[int]) -> bool:
    """Return whether *trace*, or a function it calls, writes a variable of these *handles*."""
    inside = {id(inner) for outer, inner in trace.graph.captures if id(outer) in handles}
    if not inside:
        return False
    for op in trace.graph.get_operations():
        if any(tensor.dtype == tf.resource for tensor in op.inputs):
            _, written = get_read_write_resource_inputs(op)
            if any(id(tensor) in inside for tensor in written):
                return True
    return False
