"""A TensorFlow metagraph read without TensorFlow: which of its variables a checkpoint names, and
which of those only training needs.

    MetaGraphDef    2 graph_def   4 collection_def {1 key, 2 CollectionDef}
    GraphDef        1 node {1 name, 2 op, 3 input ...}
    CollectionDef   2 bytes_list {1 value ...}           one VariableDef a value
    VariableDef     1 variable_name   4 save_slice_info_def {1 full_name}

Only these fields are looked into.  An op need not be registered, a constant of any size is stepped
over, and protobuf's own limit on the size of a message does not apply.
Source: tensorflow/core/protobuf/{meta_graph,variable}.proto, core/framework/{graph,node_def}.proto.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from ..binary.mapped import map_file
from ..binary.wire import messages, text, texts
from ..errors import UnsupportedCheckpoint, noting
from ..names import parent, without_output
from ..restore.slots import is_counter, is_slot, slot_name

#: TensorFlow's training ops (core/ops/training_ops.cc): the first input is the variable trained,
#: the others are slots, hyper-parameters and the gradient.  A custom op is not guessed at.
TRAINING_OP = re.compile(
    r"(Resource)?(Sparse)?Apply(GradientDescent|ProximalGradientDescent|Adadelta|Adagrad|AdagradV2"
    r"|ProximalAdagrad|AdagradDA|Ftrl|FtrlV2|Momentum|KerasMomentum|Adam|AdamWithAmsgrad|AdaMax"
    r"|RMSProp|CenteredRMSProp|AddSign|PowerSign)"
)

#: Ops whose value is that of their first input.
PASSING_ON = frozenset(("Identity", "ReadVariableOp", "Cast"))

GLOBAL_VARIABLES, GLOBAL_STEP = "variables", "global_step"


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of a graph; inputs are names of operations, control inputs left out."""

    op: str
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MetaGraph:
    """What matters here of a metagraph."""

    nodes: Mapping[str, Node]
    #: Collection -> operation of a variable -> the name a checkpoint has it under.  The parts of a
    #: partitioned variable share one name.
    collections: Mapping[str, Mapping[str, str]]

    def variables(self) -> set[str]:
        """Return the name of every variable that a saver saves by default."""
        return set(self.collections[GLOBAL_VARIABLES].values())

    def training_only(self) -> set[str]:
        """Return those of `variables` that only training needs.

        They are what training ops read beside the variable they train, slots that have such a
        slot's name but are updated by other ops (sparse Adam), and step counters.
        """
        names = self.collections[GLOBAL_VARIABLES]
        trained = {names[v] for v in self.trained()}
        read = {names[v] for v in self.read_by_training()} - trained
        known = frozenset(slot_name(name) for name in read if parent(name) in trained)
        every = self.variables()
        by_name = {n for n in every - trained if is_slot(n, every, known) or is_counter(n)}
        steps = set(self.collections.get(GLOBAL_STEP, {}).values()) & every
        return read | by_name | steps

    def trained(self) -> set[str]:
        """Return the operations of the variables that training ops train."""
        return self.variables_at(node.inputs[0] for node in self.training_ops())

    def read_by_training(self) -> set[str]:
        """Return the operations of the variables that training ops get besides."""
        return self.variables_at(name for node in self.training_ops() for name in node.inputs[1:])

    def training_ops(self) -> Iterator[Node]:
        """Yield the operations that update a variable by a gradient."""
        for node in self.nodes.values():
            if node.inputs and TRAINING_OP.fullmatch(node.op):
                yield node

    def variables_at(self, names: Iterable[str]) -> set[str]:
        """Return the variables whose value the operations *names* are or pass on."""
        return set(map(self.source_of, names)) & self.collections[GLOBAL_VARIABLES].keys()

    def source_of(self, name: str) -> str:
        """Return the operation whose value the operation *name* passes on, itself if none."""
        seen: set[str] = set()
        while self.passes_on(name) and name not in seen:
            seen.add(name)
            name = self.nodes[name].inputs[0]
        return name

    def passes_on(self, name: str) -> bool:
        """Return whether the operation *name* has the value of its first input."""
        node = self.nodes.get(name)
        return node is not None and node.op in PASSING_ON and bool(node.inputs)


def read_metagraph(path: str | Path) -> MetaGraph:
    """Return the metagraph in the file at *path*, a binary MetaGraphDef (`graph-*.meta`)."""
    path = Path(path).expanduser()
    with noting(f"while reading {path} as a metagraph"):
        graph = parse_metagraph(mapped(path))
        if not graph.collections.get(GLOBAL_VARIABLES):
            raise UnsupportedCheckpoint(
                "this is no metagraph that can tell variables apart: it has no collection "
                f"{GLOBAL_VARIABLES!r} (a MetaGraphDef in binary form is expected)"
            )
        return graph


def mapped(path: Path) -> bytes:
    """Return the bytes of the file at *path* without reading them: slices are not copied either."""
    return cast(bytes, memoryview(map_file(path)))


def parse_metagraph(data: bytes) -> MetaGraph:
    """Return the MetaGraphDef in *data*."""
    graph = messages(data, 2)
    collections = map(parse_collection, messages(data, 4))
    nodes = (parse_node(node) for part in graph for node in messages(part, 1))
    return MetaGraph(dict(nodes), dict(collections))


def parse_node(data: bytes) -> tuple[str, Node]:
    """Return the name of a NodeDef and what matters of it."""
    inputs = [name for name in texts(data, 3) if not name.startswith("^")]
    operations = tuple(parent(name, ":") or name for name in inputs)
    return text(data, 1), Node(text(data, 2), operations)


def parse_collection(data: bytes) -> tuple[str, dict[str, str]]:
    """Return the key of a collection, and its variables where it is one of variables."""
    key = text(data, 1)
    if key not in (GLOBAL_VARIABLES, GLOBAL_STEP):
        return key, {}
    lists = (part for collection in messages(data, 2) for part in messages(collection, 2))
    return key, dict(parse_variable(value) for part in lists for value in messages(part, 1))


def parse_variable(data: bytes) -> tuple[str, str]:
    """Return the operation of a VariableDef and the name a checkpoint has it under."""
    operation = without_output(text(data, 1))
    full_names = [text(info, 1) for info in messages(data, 4)]
    return operation, "".join(full_names) or operation
