"""The graph of objects that `tf.train.Checkpoint` stores beside the variables it finds in them.

    TrackableObjectGraph  1 node ...                      the first is the root
    node                  1 child {1 node | 2 name}
                          2 attribute {1 name | 2 the variable's own name | 3 key in the checkpoint}
                          3 slot {1 node of the variable | 2 slot name | 3 node of the slot}

    key   names of children from the root / .ATTRIBUTES/VARIABLE_VALUE
          path of a variable / .OPTIMIZER_SLOT / path of the optimizer / slot name / .ATTRIBUTES/...

A node is a number, its place in the list.  Nodes may be reached by several ways, and in circles.
Source: TensorFlow 2.21, core/protobuf/trackable_object_graph.proto, python/trackable/constants.py.
"""

from collections.abc import Collection, Iterator, Mapping, Set
from functools import cached_property
from typing import NamedTuple

from ...binary.wire import as_bytes, as_number, as_text, bytes_field, fields, messages, text
from ...errors import CorruptCheckpoint, UnsupportedCheckpoint
from ...names import without_output

#: The scalar string tensor that holds the graph.
OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"

VARIABLE_VALUE = "VARIABLE_VALUE"
SUFFIX = "/.ATTRIBUTES/" + VARIABLE_VALUE

#: Half a minute of reading at worst; a model of 10,000 layers has a graph of some 10 MB.
MAX_NBYTES = 1 << 26

#: How optimizers call their count of steps: Keras 3, Keras 2 of old.
COUNTS = ("_iterations", "iter", "iterations")
#: What else shows that an object with such a count is an optimizer.
SIGNS = ("_learning_rate", "learning_rate", "_variables", "decay")


class Attribute(NamedTuple):
    """A value of an object: its name there, the variable's own name, its key in the checkpoint."""

    name: str
    own_name: str
    key: str


class Slot(NamedTuple):
    """A variable's slot as its optimizer has it: both are nodes."""

    variable: int
    name: str
    node: int


class Node(NamedTuple):
    """An object: its parts by name, its values, and its slots if it is an optimizer."""

    children: Mapping[str, int]
    attributes: tuple[Attribute, ...]
    slots: tuple[Slot, ...]

    @property
    def variable(self) -> Attribute | None:
        """What the object stores as a variable, None if it is none."""
        return next((a for a in self.attributes if a.name == VARIABLE_VALUE), None)

    @property
    def is_optimizer(self) -> bool:
        """Whether the object is an optimizer: it has slots, or Keras' count of steps and more."""
        counts = any(name in self.children for name in COUNTS)
        return bool(self.slots) or (counts and any(name in self.children for name in SIGNS))


EMPTY = Node({}, (), ())


class ObjectGraph:
    """The objects of a checkpoint; each is parsed when it is asked for."""

    def __init__(self, data: bytes) -> None:
        if len(data) > MAX_NBYTES:
            raise UnsupportedCheckpoint(
                f"the graph takes {len(data)} bytes; up to {MAX_NBYTES} are looked into"
            )
        self._nodes = list(messages(data, 1))

    def __len__(self) -> int:
        return len(self._nodes)

    def __getitem__(self, number: int) -> Node:
        data = self._nodes[number]
        return self._checked(number, parse_node(data)) if data else EMPTY

    def __iter__(self) -> Iterator[Node]:
        return map(self.__getitem__, range(len(self)))

    def _checked(self, number: int, node: Node) -> Node:
        """Return *node* if all that it refers to is there."""
        of_slots = (n for slot in node.slots for n in (slot.variable, slot.node))
        last = max((*node.children.values(), *of_slots), default=0)
        if last >= len(self):
            raise CorruptCheckpoint(
                f"object {number} refers to object {last}, but there are {len(self)}"
            )
        return node

    @cached_property
    def ways(self) -> Mapping[int, tuple[int, str]]:
        """The last step of the shortest way from the root to each object: whence, by which name.

        The root and what no way leads to are not there.  (A step, not a path: paths of objects deep
        in one another would take far more memory than the file that names them.)
        """
        return self.ways_around(())

    def ways_around(self, avoided: Collection[int]) -> Mapping[int, tuple[int, str]]:
        """The same, of ways through none of the objects *avoided*, wherever there is one."""
        found: dict[int, tuple[int, str]] = {}
        queue = [0] if self._nodes else []
        later: list[int] = []
        while queue:
            for number in queue:  # grows while it is walked: breadth first
                for name, child in self[number].children.items():
                    if child and child not in found:
                        found[child] = number, name
                        (later if child in avoided else queue).append(child)
            queue, later = later, []
        return found


def parse_node(data: bytes) -> Node:
    """Return the object in *data*; of children with one name the last counts, as in TensorFlow."""
    children: dict[str, int] = {}
    attributes: list[Attribute] = []
    slots: list[Slot] = []
    for number, value in fields(data):
        if number == 1:
            child, name, _ = parse_reference(as_bytes(value, "a child"))
            children[name] = child
        elif number == 2:
            attributes.append(parse_attribute(as_bytes(value, "an attribute")))
        elif number == 3:
            slots.append(Slot(*parse_reference(as_bytes(value, "a slot"))))
    return Node(children, tuple(attributes), tuple(slots))


def parse_attribute(data: bytes) -> Attribute:
    """Return the value of an object in *data*."""
    found = dict(fields(data))
    name, own_name, key = (as_text(found.get(number, b""), number) for number in (1, 2, 3))
    return Attribute(name, without_output(own_name), key)


def without_keys(data: bytes, gone: Collection[str]) -> bytes:
    """Return the graph in *data* without the values whose keys are *gone*, all else unchanged.

    Objects keep their numbers; nothing leads any more to one that has lost all its values.
    """
    graph = ObjectGraph(data)
    lost = {
        number
        for number, node in enumerate(graph)
        if node.attributes and all(attribute.key in gone for attribute in node.attributes)
    }
    parts = []
    for number, value in fields(data):
        message = as_bytes(value, "a part of the graph")
        parts.append(bytes_field(number, less(message, gone, lost) if number == 1 else message))
    return b"".join(parts)


def less(node: bytes, gone: Collection[str], lost: Set[int]) -> bytes:
    """Return the bytes of a node without values that are *gone* and objects that are *lost*."""
    parts = []
    for number, value in fields(node):
        message = as_bytes(value, "a part of an object")
        keeps = number != 2 or text(message, 3) not in gone
        if number in (1, 3):
            first, _, third = parse_reference(message)
            keeps = lost.isdisjoint((first,) if number == 1 else (first, third))
        if keeps:
            parts.append(bytes_field(number, message))
    return b"".join(parts)


def parse_reference(data: bytes) -> tuple[int, str, int]:
    """Return the fields of a child or a slot: a number, a name and another number."""
    first, name, third = 0, "", 0
    for number, value in fields(data):
        if number == 1:
            first = as_number(value, "the number of an object")
        elif number == 2:
            name = as_text(value, number)
        elif number == 3:
            third = as_number(value, "the number of an object")
    return first, name, third
