"""Inference: tensors of a graph by name, and a function that feeds some and fetches others."""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import numpy as np
import tensorflow as tf

from ...errors import NoSuchTensor
from ...names import near, without_output
from .values import refusing_closed
from .walk import ancestors


def predictor(
    session: Any,
    input_names: Sequence[str] | None,
    output_names: Sequence[str] | None,
    inputs: Sequence[Any] = (),
) -> Callable[..., list[np.ndarray]]:
    """Return the function from arrays for the inputs to the list of the outputs' values.

    Without *input_names* they are those of *inputs* that the outputs depend on.
    """
    if not output_names:
        raise ValueError("a graph has no outputs of its own: name them with output_names=[...]")
    outputs = tensors_named(session.graph, output_names)
    if input_names is None:
        needed = ancestors(outputs)
        feeds = [tensor for tensor in inputs if tensor.op in needed]
    else:
        feeds = tensors_named(session.graph, input_names)
    with refusing_closed():
        run = session.make_callable(outputs, feed_list=feeds)

    def predict(*arrays: Any) -> list[np.ndarray]:
        if len(arrays) != len(feeds):
            names = ", ".join(tensor.name for tensor in feeds)
            raise TypeError(f"{len(arrays)} arrays were given for {len(feeds)} inputs: {names}")
        with refusing_closed():
            return [np.asarray(value) for value in run(*arrays)]

    return predict


def tensors_named(graph: Any, names: Sequence[str]) -> list[Any]:
    """Return the tensors called *names*, each with or without `:0`; raise NoSuchTensor for all."""
    found = {name: find(graph, name) for name in names}
    unknown = [name for name, tensor in found.items() if tensor is None]
    if unknown:
        raise NoSuchTensor("; ".join(not_in_graph(graph, name) for name in unknown))
    return list(found.values())


def find(graph: Any, name: str) -> Any | None:
    """Return the tensor called *name*, the value of a variable for a variable's name, or None."""
    try:
        tensor = graph.get_tensor_by_name(name if ":" in name else f"{name}:0")
    except (KeyError, ValueError):  # no such operation, no such output, or not a tensor's name
        return None
    if tensor.dtype != tf.resource:
        return tensor
    variables = graph.get_collection(tf.compat.v1.GraphKeys.GLOBAL_VARIABLES)
    handles = {variable.op.name: variable for variable in variables}
    variable = handles.get(tensor.op.name)
    return None if variable is None else graph.as_graph_element(variable)


def not_in_graph(graph: Any, name: str) -> str:
    """Return what to say about a *name* that no tensor of *graph* has."""
    known = (op.name for op in islice(graph.get_operations(), 20_000) if op.outputs)
    found = near(without_output(name), known)
    hint = f"; near it: {', '.join(map(repr, found))}" if found else ""
    return f"there is no tensor {name!r} in the graph{hint}"
