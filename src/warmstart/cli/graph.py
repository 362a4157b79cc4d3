"""`warmstart ls --graph`: what the graph of a checkpoint says, in words."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import number_of
from ..files.graph_search import graph_of
from ..files.graphs import Endpoint, Graph, Variable, shape_words
from ..files.object_tree import Object
from .output import columns, print_json, print_lines

VARIABLES = ("VARIABLE", "DTYPE", "SHAPE", "TRAINABLE")
OBJECTS = ("OBJECT", "KIND", "TENSOR", "OWN NAME")


def show_graph(path: str, *, as_json: bool, **reading: Any) -> None:
    """Print the graph that belongs to *path*."""
    found = graph_of(path, **reading)
    if as_json:
        print_json(found.to_dict())
        return
    lines = [str(found.path)]
    for graph in found.graphs:
        lines += ["", *graph_lines(graph)]
    print_lines([*lines, *object_lines(found.objects)])


def graph_lines(graph: Graph) -> Iterator[str]:
    """Yield the lines for one metagraph."""
    yield from columns([fact for fact in facts(graph) if fact[1]])
    yield from variable_lines(graph.variables)
    for signature in graph.signatures:
        yield ""
        yield f"signature {signature.name}  {signature.method}".rstrip()
        rows = [endpoint_row("input", each) for each in signature.inputs]
        rows += [endpoint_row("output", each) for each in signature.outputs]
        yield from columns(rows) if rows else ()


def facts(graph: Graph) -> Iterator[tuple[str, str]]:
    """Yield what is said of a graph in one line each: what it is, and how it is."""
    yield "tags", ", ".join(graph.tags)
    yield "written by", graph.tensorflow and f"TensorFlow {graph.tensorflow}"
    yield "assets", ", ".join(graph.assets)
    yield "collections", counts(graph.collections)
    yield "operations", total(graph.ops)
    yield "functions", f"{graph.functions}, {total(graph.function_ops)}" if graph.functions else ""


def total(ops: Mapping[str, int]) -> str:
    """Return the number of operations and that of each type."""
    return f"{number_of(sum(ops.values()), 'operation')}: {counts(ops)}"


def counts(by_name: Mapping[str, int]) -> str:
    """Return how many there are of each.

    >>> counts({"Const": 2, "NoOp": 1})
    'Const 2, NoOp 1'
    """
    return ", ".join(f"{name} {count}" for name, count in by_name.items())


def variable_lines(variables: Sequence[Variable]) -> Iterator[str]:
    """Yield a table of *variables*, if there are any."""
    if variables:
        yield ""
        yield from columns([VARIABLES, *map(variable_row, variables)])


def variable_row(variable: Variable) -> tuple[str, ...]:
    """Return the columns for a variable."""
    trainable = "yes" if variable.trainable else "-"
    return variable.name, variable.dtype, shape_words(variable.shape), trainable


def endpoint_row(kind: str, endpoint: Endpoint) -> tuple[str, ...]:
    """Return the columns for an input or an output of a signature."""
    shape = shape_words(endpoint.shape)
    return f"  {kind}", endpoint.name, endpoint.dtype, shape, ", ".join(endpoint.tensors)


def object_lines(objects: Sequence[Object]) -> Iterator[str]:
    """Yield a table of *objects*, indented by what they are part of, if there are any."""
    if objects:
        yield ""
        rows = columns([OBJECTS, *map(object_row, objects)])
        yield from map(str.rstrip, rows)


def object_row(each: Object) -> tuple[str, ...]:
    """Return the columns for an object."""
    slots = f" ({', '.join(each.slots)})" if each.slots else ""
    return "  " * each.depth + each.name, each.kind + slots, each.tensor, each.own_name
