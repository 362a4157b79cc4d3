"""The objects of a TensorFlow 2 checkpoint as a tree: each stands where the shortest way leads."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import CorruptCheckpoint
from ..formats.tf_bundle.object_graph import OBJECT_GRAPH, Node, ObjectGraph
from ..source import Source
from ..spec import TensorSpec

MAX_DEPTH = 100


@dataclass(frozen=True, slots=True)
class Object:
    """An object of the tree: its name in the object above it, and what it is."""

    depth: int  # 0 for the root
    name: str
    kind: str  # "variable", "optimizer", "values" for what stores anything else, or "object"
    own_name: str  # of a variable
    keys: tuple[str, ...]  # of its values in the checkpoint
    tensor: str  # dtype and shape of a variable that is there
    slots: tuple[str, ...]  # of an optimizer: the names of the slots that it has

    def to_dict(self) -> dict[str, Any]:
        """Return the object as JSON holds it."""
        return asdict(self)


def object_tree(source: Source) -> list[Object]:
    """Return every object of the graph that *source* holds, each below the one it is part of."""
    graph = ObjectGraph(source.read(OBJECT_GRAPH).item())
    below: dict[int, list[tuple[str, int]]] = {}
    for number, (above, name) in graph.ways.items():
        below.setdefault(above, []).append((name, number))
    return list(walked(graph, below, source.specs))


def walked(
    graph: ObjectGraph, below: Mapping[int, list[tuple[str, int]]], specs: Mapping[str, TensorSpec]
) -> Iterator[Object]:
    """Yield the objects of *graph* from the root down, what is *below* one after it, by name."""
    stack = [(0, "root", 0)] if len(graph) else []
    while stack:
        depth, name, number = stack.pop()
        if depth > MAX_DEPTH:
            raise CorruptCheckpoint(f"objects lie more than {MAX_DEPTH} deep in one another")
        yield described(depth, name, graph[number], specs)
        parts = sorted(below.get(number, ()), key=by_number, reverse=True)
        stack += [(depth + 1, part, child) for part, child in parts]


def by_number(part: tuple[str, int]) -> tuple[int, str]:
    """Return what orders the parts of an object: the items of a list by number, not by letters."""
    name = part[0]
    return (int(name) if name.isascii() and name.isdigit() and len(name) < 10 else -1), name


def described(depth: int, name: str, node: Node, specs: Mapping[str, TensorSpec]) -> Object:
    """Return what *node* is, called *name* where it was found."""
    variable = node.variable
    spec = None if variable is None else specs.get(variable.key)
    kind = "values" if node.attributes else "object"
    if node.is_optimizer:
        kind = "optimizer"
    elif variable is not None:
        kind = "variable"
    return Object(
        depth=depth,
        name=name,
        kind=kind,
        own_name="" if variable is None else variable.own_name,
        keys=tuple(attribute.key for attribute in node.attributes),
        tensor="" if spec is None else str(spec),
        slots=tuple(sorted({slot.name for slot in node.slots})),
    )
