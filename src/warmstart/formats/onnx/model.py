"""A model: where its tensors are, and what it says besides."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ...errors import CorruptCheckpoint
from ...names import joined
from .places import Place, as_number, as_place
from .tensors import TYPES, Tensor, entry, name_of, parse_tensor

MAX_DEPTH = 32  # graphs in nodes in graphs

#: What a node with tensors holds: the name of the operation, or an attribute that says that it is
#: a graph, or graphs, as each must.  Most nodes hold none, and looking is faster than walking.
HINTS = (b"Constant", b"\xa0\x01\x05", b"\xa0\x01\x0a")
SMALL = 4096  # bytes; larger ones are walked through

GRAPH, OPSET, PROPERTIES, TRAINING, FUNCTIONS = 7, 8, 14, 20, 25

#: field of a model -> what it is called in the metadata; numbers and texts.
SAID = {1: "ir_version", 2: "producer", 3: "producer_version", 4: "domain", 5: "model_version",
        6: "doc"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Model:
    """Every tensor by name, and the metadata."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]


class Found(NamedTuple):
    """A tensor in the model: the name of what it is in, its own if it does not say it itself."""

    path: str
    place: Place
    name: str | None = None


def read_model(place: Place) -> Model:
    """Return the model at *place*."""
    fields = list(place.fields())
    numbers = {number for number, _ in fields}
    absent = [what for what, n in (("graph", GRAPH), ("version of operators", OPSET))
              if n not in numbers]  # fmt: skip
    if absent:
        raise CorruptCheckpoint(f"the model has no {' and no '.join(absent)}")
    tensors: dict[str, Tensor] = {}
    sparse: dict[str, list[int]] = {}
    for found in tensors_in(fields, sparse):
        name = joined(found.path, name_of(found.place) if found.name is None else found.name)
        if name in tensors:
            raise CorruptCheckpoint(f"two tensors are called {name!r}")
        tensors[name] = parse_tensor(name, found.place)
    return Model(tensors, metadata_of(fields, tensors, sparse))


Fields = list[tuple[int, int | Place]]


def tensors_in(fields: Fields, sparse: dict[str, list[int]]) -> Iterator[Found]:
    """Yield every tensor of a model; the sizes of sparse ones are put in *sparse*."""
    stages = 0
    for number, value in fields:
        if number == GRAPH:
            yield from in_graph(as_place(value, "the graph"), "", MAX_DEPTH, sparse)
        elif number == FUNCTIONS:
            yield from in_function(as_place(value, "a function"), sparse)
        elif number == TRAINING:
            for which, graph in as_place(value, "a training stage").fields():
                if which in (1, 2):
                    path = f"training/{stages}/{('initialization', 'algorithm')[which - 1]}"
                    yield from in_graph(as_place(graph, "a graph"), path, MAX_DEPTH, sparse)
            stages += 1


def in_function(place: Place, sparse: dict[str, list[int]]) -> Iterator[Found]:
    """Yield the tensors of a function's nodes."""
    fields = list(place.fields())
    names = [as_place(v, "the name of a function") for n, v in fields if n == 1]
    name = names[-1].text("the name of a function") if names else ""
    for number, value in fields:
        if number == 7:
            node = as_place(value, "a node")
            yield from in_node(node, joined("functions", name), MAX_DEPTH, sparse)


def in_graph(place: Place, path: str, depth: int, sparse: dict[str, list[int]]) -> Iterator[Found]:
    """Yield the tensors of the graph at *place*, which is called *path*."""
    if depth == 0:
        raise CorruptCheckpoint(f"graphs lie more than {MAX_DEPTH} deep in nodes: {path[:80]!r}")
    for number, value in place.fields():
        if number == 1:
            yield from in_node(as_place(value, "a node"), path, depth, sparse)
        elif number == 5:
            yield Found(path, as_place(value, "an initializer"))
        elif number == 15:
            yield from in_sparse(as_place(value, "a sparse initializer"), path, sparse)


def in_sparse(place: Place, path: str, sparse: dict[str, list[int]]) -> Iterator[Found]:
    """Yield the two tensors of a sparse one, whose name is that of its values."""
    fields = list(place.fields())
    parts = {n: as_place(v, "a part of a sparse tensor") for n, v in fields if n in (1, 2)}
    if parts.keys() != {1, 2}:
        raise CorruptCheckpoint("a sparse initializer has no values or no indices")
    name = name_of(parts[1])
    sparse[joined(path, name)] = [as_number(v, "a size") for n, v in fields if n == 3]
    yield Found(path, parts[1], f"{name}/values")
    yield Found(path, parts[2], f"{name}/indices")


def in_node(place: Place, path: str, depth: int, sparse: dict[str, list[int]]) -> Iterator[Found]:
    """Yield the value of a Constant, and the tensors of the graphs in a node's attributes."""
    if place.nbytes <= SMALL and not any(map(place.raw().tobytes().__contains__, HINTS)):
        return
    texts: dict[int, Place] = {}
    attributes = []
    for number, value in place.fields():
        if number in (2, 3, 4):  # its first output, its name, its operation
            texts.setdefault(number, as_place(value, "a text of a node"))
        elif number == 5:
            attributes.append(as_place(value, "an attribute"))
    for attribute in attributes:
        yield from in_attribute(attribute, texts, path, depth, sparse)


def in_attribute(
    place: Place, texts: dict[int, Place], path: str, depth: int, sparse: dict[str, list[int]]
) -> Iterator[Found]:
    """Yield the tensors in an attribute of the node with these *texts*."""
    name, several = "", 0
    for number, value in place.fields():
        if number == 1:
            name = as_place(value, "the name of an attribute").text("the name of an attribute")
        elif number == 5 and name == "value" and is_constant(texts):
            yield Found(path, as_place(value, "a constant"), shown(texts, (2,)))
        elif number in (6, 11):  # a graph, one of several graphs
            below = joined(joined(path, shown(texts, (3, 2))), name)
            several += number == 11
            inner = joined(below, str(several - 1)) if number == 11 else below
            yield from in_graph(as_place(value, "a graph"), inner, depth - 1, sparse)


def is_constant(texts: dict[int, Place]) -> bool:
    """Return whether the node with these *texts* is a Constant."""
    return 4 in texts and bytes(texts[4].raw()) == b"Constant"


def shown(texts: dict[int, Place], numbers: tuple[int, ...]) -> str:
    """Return the first text of a node among those with these *numbers* that says anything."""
    found = (texts[n].text("a text of a node") for n in numbers if n in texts)
    return next(filter(None, found), "")


# --- metadata ---------------------------------------------------------------------------------


def metadata_of(
    fields: Fields, tensors: dict[str, Tensor], sparse: dict[str, list[int]]
) -> dict[str, str]:
    """Return the metadata: the model's own, and under "onnx." what it says of itself."""
    own: dict[str, str] = {}
    opsets: dict[str, int] = {}
    properties: dict[str, str] = {}
    for number, value in fields:
        if number in SAID:
            own[f"onnx.{SAID[number]}"] = (
                str(value) if isinstance(value, int) else value.text("a text of the model")
            )
        elif number == OPSET:
            opsets |= opset(as_place(value, "a version of operators"))
        elif number == PROPERTIES:
            properties |= entry(as_place(value, "a property"))
        elif number == GRAPH:
            own |= graph_said(as_place(value, "the graph"), tensors)
    own["onnx.opset_import"] = json.dumps(opsets, ensure_ascii=False)
    if sparse:
        own["onnx.sparse"] = json.dumps(sparse, ensure_ascii=False)
    return own | properties


def opset(place: Place) -> dict[str, int]:
    """Return a domain of operators and its version."""
    parts = dict(place.fields())
    domain = as_place(parts[1], "a domain").text("a domain") if 1 in parts else ""
    return {domain: as_number(parts.get(2, 0), "a version")}


def graph_said(place: Place, tensors: dict[str, Tensor]) -> dict[str, str]:
    """Return the graph's name, and its inputs (but not the tensors among them) and outputs."""
    own: dict[str, str] = {}
    described: dict[str, dict[str, str]] = {"onnx.inputs": {}, "onnx.outputs": {}}
    for number, value in place.fields():
        if number == 2:
            own["onnx.graph"] = as_place(value, "the name of the graph").text("its name")
        elif number in (11, 12):
            what = "onnx.inputs" if number == 11 else "onnx.outputs"
            described[what] |= value_info(as_place(value, "an input or output"))
    inputs = described["onnx.inputs"]
    described["onnx.inputs"] = {name: kind for name, kind in inputs.items() if name not in tensors}
    return own | {key: json.dumps(part, ensure_ascii=False) for key, part in described.items()}


def value_info(place: Place) -> dict[str, str]:
    """Return the name of a value, and its type in words: "float32 (batch, 3)"."""
    parts = dict(place.fields())
    name = as_place(parts[1], "the name of a value").text("its name") if 1 in parts else ""
    kinds = dict(as_place(parts[2], "a type").fields()) if 2 in parts else {}
    if 1 not in kinds:
        return {name: "no tensor"}
    tensor = dict(as_place(kinds[1], "the type of a tensor").fields())
    type_ = TYPES.get(as_number(tensor.get(1, 0), "the type of a tensor"))
    dtype = type_.dtype if type_ else "of unknown type"
    if 2 not in tensor:
        return {name: dtype}
    sizes = [size_text(as_place(v, "a size")) for n, v in as_place(tensor[2], "a shape").fields()
             if n == 1]  # fmt: skip
    return {name: f"{dtype} ({', '.join(sizes)})"}


def size_text(place: Place) -> str:
    """Return a size in words: a number, the name of one, or "?"."""
    for number, value in place.fields():
        if number == 1:
            return str(as_number(value, "a size"))
        if number == 2:
            return as_place(value, "the name of a size").text("the name of a size")
    return "?"
