"""What a TensorFlow graph file says of its graph, read without TensorFlow.

    SavedModel        2 MetaGraphDef ...
    MetaGraphDef      1 {4 tag ... | 5 version of TensorFlow}   2 GraphDef
                      4 collection {1 key | 2 value}   5 signature {1 name | 2 SignatureDef}
                      6 asset {2 file}   7 SavedObjectGraph
    VariableDef       1 tensor | 4 {1 name of the whole | 2 its shape}, if it is a part
    GraphDef          1 node {1 name | 2 op | 5 attribute {1 name | 2 {6 type | 7 shape}}}
                      2 {1 function {3 node}}
    collection value  1 nodes {1} | 2 bytes {1} | 3 integers {1} | 4 floats {1} | 5 messages {1}
    SignatureDef      1 input {1 name | 2 TensorInfo}   2 output, likewise   3 method
    TensorInfo        1 tensor   2 dtype   3 shape   4 sparse {1 2 3 tensors}   5 {2 TensorInfo}
    SavedObjectGraph  1 {7 variable {1 dtype | 2 shape | 3 trainable | 6 name}}

Constants of any size are stepped over, and an op or a dtype need not be known.
Source: TensorFlow 2.21, core/protobuf/{saved_model,meta_graph,saved_object_graph}.proto,
core/framework/{graph,node_def,function,variable,tensor_shape}.proto.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..binary.wire import as_bytes, as_number, fields, messages, read_varint, signed, text, texts
from ..errors import UnsupportedCheckpoint, noting
from ..formats.tf_bundle.protos import DTYPES, OPAQUE
from ..names import without_output
from ..spec import shape_text
from .metagraph import GLOBAL_VARIABLES, mapped, parse_variable

TRAINABLE_VARIABLES = "trainable_variables"

#: Operations that are a variable.
VARIABLE_OPS = ("VarHandleOp", "VariableV2", "Variable")

#: Names of TensorFlow's dtypes; quantised ones too, which are read as the integers they hold.
QUANTISED = {11: "qint8", 12: "quint8", 13: "qint32", 15: "qint16", 16: "quint16"}
DTYPE_NAMES = {**DTYPES, **OPAQUE, **QUANTISED, 0: "none"}

Shape = tuple[int | None, ...] | None  # None is a size, or a rank, that is not known


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of a graph, under the name that a checkpoint has it under."""

    name: str
    dtype: str
    shape: Shape
    trainable: bool


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An input or an output of a signature; a sparse or ragged one is several tensors."""

    name: str
    tensors: tuple[str, ...]
    dtype: str
    shape: Shape


@dataclass(frozen=True, slots=True)
class Signature:
    """What a graph can be asked to compute."""

    name: str
    method: str
    inputs: tuple[Endpoint, ...]
    outputs: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """One metagraph: counts of operations are by type."""

    tags: tuple[str, ...]
    tensorflow: str  # the version that wrote it, "" if it does not say
    ops: Mapping[str, int]
    functions: int
    function_ops: Mapping[str, int]
    collections: Mapping[str, int]
    variables: tuple[Variable, ...]
    signatures: tuple[Signature, ...]
    assets: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as JSON holds it."""
        return asdict(self)


def read_metagraph_file(path: Path) -> list[Graph]:
    """Return the one graph in a file such as `model-3.meta`."""
    with noting(f"while reading {path} as a metagraph"):
        graph = parse_graph(mapped(path))
        if not (graph.ops or graph.collections or graph.signatures):
            raise UnsupportedCheckpoint("this is no metagraph: it has no operation")
        return [graph]


def read_saved_model(path: Path) -> list[Graph]:
    """Return the graphs in a file `saved_model.pb`."""
    with noting(f"while reading {path} as a SavedModel"):
        if path.suffix == ".pbtxt":
            raise UnsupportedCheckpoint(
                "graphs are read in binary form only, and this is text; its variables can be read"
            )
        graphs = [parse_graph(data) for data in messages(mapped(path), 2)]
        if not graphs:
            raise UnsupportedCheckpoint("this is no SavedModel: it has no graph")
        return graphs


def parse_graph(data: bytes) -> Graph:
    """Return what the MetaGraphDef in *data* says."""
    parts = by_number(data)
    about = joined_parts(parts.get(1, []))
    definition = joined_parts(parts.get(2, []))
    functions = [f for library in messages(definition, 2) for f in messages(library, 1)]
    collections = dict(map(parse_collection, parts.get(4, [])))
    return Graph(
        tags=tuple(texts(about, 4)),
        tensorflow=text(about, 5),
        ops=counted(messages(definition, 1)),
        functions=len(functions),
        function_ops=counted(node for f in functions for node in messages(f, 3)),
        collections={name: len(values) for name, values in sorted(collections.items())},
        variables=variables_in(definition, collections, joined_parts(parts.get(7, []))),
        signatures=tuple(map(parse_signature, sorted(parts.get(5, []), key=key_of))),
        assets=tuple(text(asset, 2) for asset in parts.get(6, [])),
    )


def by_number(data: bytes) -> dict[int, list[bytes]]:
    """Return the messages in *data* by the number of their field."""
    parts: dict[int, list[bytes]] = {}
    for number, value in fields(data):
        parts.setdefault(number, []).append(as_bytes(value, f"field {number}"))
    return parts


def joined_parts(parts: list[bytes]) -> bytes:
    """Return a message that stands in pieces as one, which is what pieces mean."""
    return parts[0] if len(parts) == 1 else b"".join(parts)


def key_of(item: bytes) -> str:
    """Return the key of an item of a map."""
    return text(item, 1)


def counted(nodes: Iterator[bytes]) -> dict[str, int]:
    """Return how many of *nodes* there are of each type of operation, the most first."""
    found = Counter(text(node, 2) for node in nodes)
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def parse_collection(data: bytes) -> tuple[str, list[bytes]]:
    """Return the key of a collection and a value for each of its items."""
    values: list[bytes] = []
    for collection in messages(data, 2):
        for number, items in fields(collection):
            inner = as_bytes(items, "a collection")
            values += packed_numbers(inner, number) if number in (3, 4) else messages(inner, 1)
    return text(data, 1), values


def packed_numbers(data: bytes, number: int) -> list[bytes]:
    """Return an item, empty, for each of the numbers: integers of field 3 or floats of field 4."""
    values = [value for _, value in fields(data)]
    packed = [value for value in values if not isinstance(value, int)]
    each = [len(v) // 4 if number == 4 else sum(byte < 0x80 for byte in v) for v in packed]
    return [b""] * (len(values) - len(packed) + sum(each))  # a varint's last byte is below 0x80


def variables_in(
    definition: bytes, collections: Mapping[str, list[bytes]], objects: bytes
) -> tuple[Variable, ...]:
    """Return the variables of a graph: those of its collections, and of its objects.

    The parts of a partitioned variable are one; objects may well have one name.
    """
    found: dict[str, Variable] = {}
    trainable = {parse_variable(v)[1] for v in collections.get(TRAINABLE_VARIABLES, ())}
    kinds = dict(variable_kinds(definition)) if collections.get(GLOBAL_VARIABLES) else {}
    for value in collections.get(GLOBAL_VARIABLES, ()):
        operation, name = parse_variable(value)
        dtype, shape = kinds.get(operation, ("?", None))
        whole = whole_shape(value)
        found[name] = Variable(name, dtype, whole or shape, name in trainable)
    of_objects = map(saved_variable, saved_variables(objects))
    return tuple(sorted([*found.values(), *of_objects], key=lambda variable: variable.name))


def whole_shape(variable: bytes) -> Shape:
    """Return the shape of the partitioned variable that a VariableDef is a part of, else None."""
    sizes: list[int] = []
    for info in messages(variable, 4):
        for number, value in fields(info):
            if number == 2:
                sizes += [value] if isinstance(value, int) else unpacked(value)
    return tuple(map(signed, sizes)) or None


def unpacked(data: bytes) -> Iterator[int]:
    """Yield the varints that stand back to back in *data*."""
    at = 0
    while at < len(data):
        value, at = read_varint(data, at)
        yield value


def variable_kinds(definition: bytes) -> Iterator[tuple[str, tuple[str, Shape]]]:
    """Yield the name, the dtype and the shape of every operation that is a variable."""
    for node in messages(definition, 1):
        if text(node, 2) in VARIABLE_OPS:
            values = {key_of(a): joined_parts(list(messages(a, 2))) for a in messages(node, 5)}
            dtype = number_in(values.get("dtype", b""), 6)
            shapes = list(messages(values.get("shape", b""), 7))
            yield text(node, 1), (dtype_text(dtype), parse_shape(shapes))


def saved_variables(objects: bytes) -> Iterator[bytes]:
    """Yield every variable among the *objects* of a SavedModel of TensorFlow 2."""
    for node in messages(objects, 1):
        yield from messages(node, 7)


def saved_variable(data: bytes) -> Variable:
    """Return the SavedVariable in *data*."""
    dtype, shape = dtype_text(number_in(data, 1)), parse_shape(list(messages(data, 2)))
    return Variable(without_output(text(data, 6)), dtype, shape, bool(number_in(data, 3)))


def parse_signature(data: bytes) -> Signature:
    """Return the signature in an item of a map."""
    definition = joined_parts(list(messages(data, 2)))
    inputs, outputs = (
        tuple(map(parse_endpoint, sorted(messages(definition, number), key=key_of)))
        for number in (1, 2)
    )
    return Signature(key_of(data), text(definition, 3), inputs, outputs)


def parse_endpoint(data: bytes) -> Endpoint:
    """Return the input or output in an item of a map."""
    info = joined_parts(list(messages(data, 2)))
    dtype, shape = dtype_text(number_in(info, 2)), parse_shape(list(messages(info, 3)))
    return Endpoint(key_of(data), tuple(tensors_in(info)), dtype, shape)


def tensors_in(info: bytes) -> Iterator[str]:
    """Yield the name of each tensor of a TensorInfo."""
    yield from texts(info, 1)
    for sparse in messages(info, 4):
        yield from (name for number in (1, 2, 3) for name in texts(sparse, number))
    for composite in messages(info, 5):
        for part in messages(composite, 2):
            yield from texts(part, 1)


def number_in(data: bytes, number: int) -> int:
    """Return a field that is a number, 0 if it is not set."""
    found = (as_number(value, f"field {number}") for n, value in fields(data) if n == number)
    return next(found, 0)


def dtype_text(number: int) -> str:
    """Return our name of a DataType, one of TensorFlow's own where we have none.

    >>> dtype_text(1), dtype_text(101), dtype_text(11), dtype_text(99)
    ('float32', 'float32', 'qint8', 'dtype 99')
    """
    bare = number - 100 if number > 100 else number  # a reference to such a tensor
    return DTYPE_NAMES.get(bare) or f"dtype {number}"


def parse_shape(shapes: list[bytes]) -> Shape:
    """Return the TensorShapeProto in *shapes*, of which there is one or none."""
    message = joined_parts(shapes)
    if not shapes or number_in(message, 3):
        return None
    sizes = [signed(number_in(dim, 1)) for dim in messages(message, 2)]
    return tuple(None if size < 0 else size for size in sizes)


def shape_words(shape: Shape) -> str:
    """Return *shape* as a listing shows it.

    >>> shape_words((None, 3)), shape_words(()), shape_words(None)
    ('(?, 3)', '()', '?')
    """
    if shape is None:
        return "?"
    known = shape_text(-1 if size is None else size for size in shape)
    return known.replace("-1", "?")
