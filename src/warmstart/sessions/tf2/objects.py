"""The objects of a TensorFlow 2 program as `tf.train.Checkpoint` finds them, by name.

    root -encoder-> module -layers-> list -0-> layer -w-> variable         "encoder/layers/0/w"

An object may be reached by several ways, and in circles.  Its path is the shortest way that leads
through no optimizer: an optimizer lists the variables that it trains, and a name by a place in
that list would change with it.
"""

import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from ...errors import UnsupportedCheckpoint, described
from ...names import object_path

Trackable = tf.__internal__.tracking.Trackable

UNSAVED = "state that is no variable, which this library does not save"


@dataclass(frozen=True, slots=True)
class Edge:
    """One way to a part: the object that has it, and by which name."""

    parent: Any
    name: str

    def leads_to(self, part: Any) -> bool:
        """Return whether the part is there now."""
        return self.parent._lookup_dependency(self.name) is part


@dataclass(slots=True)
class Found:
    """An object below the root: the names on the shortest way to it, and all last steps."""

    value: Any
    way: tuple[str, ...]
    edges: list[Edge] = field(default_factory=list)
    in_optimizer: bool = False

    @property
    def path(self) -> str:
        """Its name: the way with `/` between the steps."""
        return object_path(self.way)


class Objects:
    """All objects below a root, each once, by identity; those nearest to the root first."""

    def __init__(self) -> None:
        self._found: dict[int, Found] = {}

    def __iter__(self) -> Iterator[Found]:
        return iter(self._found.values())

    def of(self, value: Any) -> Found:
        """Return what is known of the object *value*."""
        return self._found[id(value)]

    def paths(self, found: Found) -> list[str]:
        """Return every name of an object, by each of its last steps; the shortest is first.

        None is by a place in an optimizer's list, but for what only the optimizer has.
        """
        parents = [(self.of(edge.parent), edge.name) for edge in found.edges]
        ways = [(*p.way, n) for p, n in parents if found.in_optimizer or not p.in_optimizer]
        return list(dict.fromkeys([found.path, *map(object_path, ways)]))

    def add(self, root: Any, way: tuple[str, ...] = ()) -> None:
        """Add *root* and all below it, breadth first; what optimizers have comes last."""
        waiting, of_optimizers = deque([Found(root, way)]), deque[Found]()
        while waiting:
            found = waiting.popleft()
            known = self._found.setdefault(id(found.value), found)
            if known is not found:
                known.edges += found.edges
            elif is_optimizer(found.value):
                of_optimizers.extend(parts_of(found, in_optimizer=True))
            else:
                waiting.extend(parts_of(found, in_optimizer=found.in_optimizer))
            if not waiting:
                waiting, of_optimizers = of_optimizers, deque()


def parts_of(found: Found, *, in_optimizer: bool) -> Iterator[Found]:
    """Yield what *found* consists of; a variable has no parts."""
    if variable_in(found.value) is not None:
        return
    try:
        parts = tf.train.TrackableView.children(found.value)
    except ValueError as error:  # a list that was changed otherwise than by appending
        raise UnsupportedCheckpoint(
            f"TensorFlow cannot say what {found.path or 'the root'!r} consists of: {error}"
        ) from error
    for name, value in parts.items():
        yield Found(value, (*found.way, name), [Edge(found.value, name)], in_optimizer)


def variable_in(value: Any) -> Any | None:
    """Return the tf.Variable that *value* is or, as a variable of Keras, holds; else None."""
    if isinstance(value, tf.Variable):
        return value
    keras = sys.modules.get("keras")
    if keras is not None and isinstance(value, keras.Variable):
        inner = value._value
        return inner if isinstance(inner, tf.Variable) else None
    return None


def inner_of(value: Any) -> Any:
    """Return the tf.Variable that a variable of TensorFlow or Keras is or holds."""
    return variable_in(value)


def is_optimizer(value: Any) -> bool:
    """Return whether *value* is an optimizer: of Keras 3, or of tf.compat.v1.train."""
    return is_keras_optimizer(value) or isinstance(value, tf.compat.v1.train.Optimizer)


def check_optimizer(value: Any) -> None:
    """Raise TypeError for what is no optimizer."""
    if not is_optimizer(value):
        raise TypeError(
            f"the optimizer is {described(value)}; expected one "
            "of tf.keras.optimizers, on the backend TensorFlow, or of tf.compat.v1.train"
        )


def is_keras_optimizer(value: Any) -> bool:
    """Return whether *value* is an optimizer of Keras 3 on TensorFlow; Keras is not imported."""
    keras = sys.modules.get("keras")
    return (
        keras is not None
        and isinstance(value, keras.optimizers.Optimizer)
        and isinstance(value, Trackable)
    )


def has_other_state(value: Any) -> bool:
    """Return whether `tf.train.Checkpoint` saves something of *value* that is no variable."""
    if variable_in(value) is not None:
        return False
    kind = type(value)
    return (
        kind._serialize_to_tensors is not Trackable._serialize_to_tensors
        or kind._gather_saveables_for_checkpoint is not Trackable._gather_saveables_for_checkpoint
    )
