"""Values of variables in a tf.compat.v1.Session, read, set and initialised without new operations.

A graph may be finalized, so a variable is set by running its initializer with the value fed in
place of the initial one, and asked whether it has a value through the operation that was made with
it.  Variables with references have none: one is added, or, in a finalized graph, they are run.

What a call of session.run costs the first time grows with the graph, by about 20 microseconds an
operation, for every new set of fetches: variables are never read or asked one by one where they
can be taken together.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from ...errors import CheckpointError
from ...spec import numpy_dtype
from .variables import Part, Variable
from .walk import VARIABLES, ancestors

#: Values up to this many bytes in all go through one call of session.run.
GROUP_NBYTES = 16 << 20

#: Operations that say whether their variable has a value.
ASKS = ("VarIsInitializedOp", "IsVariableInitialized")


def read(session: Any, variable: Variable) -> np.ndarray:
    """Return the value of *variable*, its parts put together."""
    return read_group(session, [variable])[variable.name]


def read_group(session: Any, variables: Iterable[Variable]) -> dict[str, np.ndarray]:
    """Return the values of *variables*, in one call of session.run."""
    variables = list(variables)
    fetches = {v.name: [element(session, part) for part in v.parts] for v in variables}
    try:
        values = run(session, fetches)
    except tf.errors.FailedPreconditionError as error:
        raise without_value(v.name for v in uninitialized(session, variables)) from error
    return {v.name: joined(v, values[v.name]) for v in variables}


def run(session: Any, fetches: Any, feeds: Any = None) -> Any:
    """Return what `session.run` does, or raise CheckpointError when *session* is closed."""
    with refusing_closed():
        return session.run(fetches, feeds)


@contextmanager
def refusing_closed() -> Iterator[None]:
    """Turn what TensorFlow says of a closed session into a CheckpointError."""
    try:
        yield
    except RuntimeError as error:
        if "closed" not in str(error):
            raise
        raise CheckpointError(
            "the TensorFlow session is closed, and its values are gone; use it before it is "
            "closed, or restore into a new one"
        ) from error


def element(session: Any, part: Part) -> Any:
    """Return the tensor that gives the value of *part*."""
    return session.graph.as_graph_element(part.variable)


def without_value(names: Iterable[str]) -> CheckpointError:
    """Return the error for variables that have no value."""
    return CheckpointError(
        f"variables without a value yet: {', '.join(names)}; run their initializers, or "
        "SmartInit(None).init"
    )


class ReadAhead:
    """Values read in groups, for whoever asks for them one by one while none of them changes.

    Groups are in alphabetical order, as files are written.
    """

    def __init__(self, session: Any, variables: Iterable[Variable]) -> None:
        self._session = session
        variables = sorted(variables, key=lambda v: v.name)
        self._lacking = {v.name for v in uninitialized(session, variables)}
        present = [v for v in variables if v.name not in self._lacking]
        self._groups = {v.name: group for group in by_size(present) for v in group}
        self._values: dict[str, np.ndarray] = {}

    def read(self, variable: Variable) -> np.ndarray:
        """Return the value of *variable*, with those beside it if it has not been read yet."""
        name = variable.name
        if name in self._lacking:
            raise without_value([name])
        if name not in self._values:
            if sum(value.nbytes for value in self._values.values()) >= 4 * GROUP_NBYTES:
                self._values = {}
            self._values |= read_group(self._session, self._groups[name])
        return self._values[name]


def joined(variable: Variable, parts: list[Any]) -> np.ndarray:
    """Return the value of the whole from those of its *parts*."""
    if variable.parts[0].index is ...:
        return as_array(variable, parts[0])
    whole = np.empty(variable.shape or (), as_array(variable, parts[0]).dtype)
    for part, value in zip(variable.parts, parts, strict=True):
        whole[part.index] = value
    return whole


def as_array(variable: Variable, value: Any) -> np.ndarray:
    """Return a fetched *value* as an array; TensorFlow gives a scalar string as bytes."""
    return np.asarray(value, dtype=object if variable.dtype == "string" else None)


def by_size(variables: Iterable[Variable]) -> Iterator[list[Variable]]:
    """Yield *variables* in groups that one call of session.run may read."""
    group: list[Variable] = []
    for variable in variables:
        if group and sum(v.nbytes for v in group) + variable.nbytes > GROUP_NBYTES:
            yield group
            group = []
        group.append(variable)
    if group:
        yield group


def assign(session: Any, pairs: Iterable[tuple[Variable, np.ndarray]]) -> None:
    """Set variables; small values are grouped, a big one is alone in memory."""
    feeds = (feed for variable, value in pairs for feed in feeds_of(variable, value))
    for group, initializers in groups(feeds):
        run(session, initializers, group)


def feeds_of(variable: Variable, value: np.ndarray) -> Iterator[tuple[Any, np.ndarray]]:
    """Yield (initializer, value to feed it) for every part of *variable*.

    The value is a copy: a resource variable keeps the very memory of an array that is aligned to
    64 bytes, which may be the caller's, or a mapped file's.
    """
    for part in variable.parts:
        yield part.variable.initializer, np.array(value[part.index])


def groups(
    feeds: Iterable[tuple[Any, np.ndarray]],
) -> Iterator[tuple[dict[Any, np.ndarray], list[Any]]]:
    """Yield what one call of session.run takes: what to feed, and the initializers to run.

    Two variables may share the tensor of their initial value; they end in different groups.
    """
    group: dict[Any, np.ndarray] = {}
    initializers: list[Any] = []
    nbytes = 0
    for initializer, value in feeds:
        key = initializer.inputs[1].ref()
        if initializers and (key in group or nbytes + value.nbytes > GROUP_NBYTES):
            yield {k.deref(): v for k, v in group.items()}, initializers
            group, initializers, nbytes = {}, [], 0
        group[key] = value
        initializers.append(initializer)
        nbytes += value.nbytes
    if initializers:
        yield {k.deref(): v for k, v in group.items()}, initializers


def uninitialized(session: Any, variables: Iterable[Variable]) -> list[Variable]:
    """Return those of *variables* of which a part has no value."""
    variables = list(variables)
    parts = [part for v in variables for part in v.parts]
    asks = {part.op_name: ask(part) for part in parts}
    asked = {name: tensor for name, tensor in asks.items() if tensor is not None}
    answers = run(session, asked) if asked else {}  # an empty graph cannot be run at all
    lacking = {name for name, answer in answers.items() if not answer}
    lacking |= without_one(session, [part for part in parts if asks[part.op_name] is None])
    return [v for v in variables if lacking & set(v.op_names)]


def ask(part: Part) -> Any | None:
    """Return the tensor that says whether *part* has a value; None in a graph that has none."""
    for tensor in part.variable.op.outputs:
        for op in tensor.consumers():
            if op.type in ASKS:
                return op.outputs[0]
    graph = part.variable.graph
    if graph.finalized:
        return None
    with graph.as_default(), graph.name_scope("warmstart/"), graph.control_dependencies(None):
        return tf.compat.v1.is_variable_initialized(part.variable)


def without_one(session: Any, parts: list[Part]) -> set[str]:
    """Return the operations of those of *parts* that cannot be read, by halving."""
    if not parts or all_readable(session, parts):
        return set()
    if len(parts) == 1:
        return {parts[0].op_name}
    half = len(parts) // 2
    return without_one(session, parts[:half]) | without_one(session, parts[half:])


def all_readable(session: Any, parts: list[Part]) -> bool:
    """Return whether all of *parts* can be read; their values are not fetched."""
    try:
        run(session, [reading(session, part) for part in parts])
    except tf.errors.FailedPreconditionError:
        return False
    return True


def reading(session: Any, part: Part) -> Any:
    """Return the operation that reads *part*."""
    if part.variable.op.type == "VarHandleOp":
        return element(session, part).op
    return part.variable.value().op  # the reference itself can be had without a value


def initialize(session: Any, variables: Iterable[Variable]) -> list[str]:
    """Run the initializers of those of *variables* that have no value; return their names.

    A variable whose initial value is computed from others comes after those.
    """
    lacking = uninitialized(session, variables)
    for level in levels(lacking):
        try:
            run(session, [part.variable.initializer for v in level for part in v.parts])
        except tf.errors.OpError as error:
            names = ", ".join(v.name for v in level)
            raise CheckpointError(
                f"the initial values of {names} could not be computed: {error.message}"
            ) from error
    return [v.name for v in lacking]


def first_value(session: Any, variable: Variable) -> np.ndarray:
    """Return what the initializers of *variable* give, its parts put together."""
    fetches = [part.variable.initializer.inputs[1] for part in variable.parts]
    try:
        return joined(variable, run(session, fetches))
    except tf.errors.OpError as error:
        raise CheckpointError(
            f"the initial value of {variable.name} could not be computed: {error.message}"
        ) from error


def drawn(initializer: Any, shape: tuple[int, ...], dtype: str, seed: int | None) -> np.ndarray:
    """Return what *initializer* makes, in a graph of its own where it makes operations."""
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        tf.compat.v1.set_random_seed(seed)
        value = initializer(shape, numpy_dtype(dtype))
        return np.asarray(session.run(value) if tf.is_tensor(value) else value)


def levels(variables: list[Variable]) -> Iterator[list[Variable]]:
    """Yield *variables* in groups, each of which needs only the values of earlier ones."""
    needs = {v.name: needed(v) for v in variables}
    waiting = list(variables)
    while waiting:
        open_names = {name for v in waiting for name in v.op_names}
        ready = {v.name for v in waiting if not needs[v.name] & open_names}
        if not ready:  # a circle: TensorFlow says what it lacks
            ready = {v.name for v in waiting}
        yield [v for v in waiting if v.name in ready]
        waiting = [v for v in waiting if v.name not in ready]


def needed(variable: Variable) -> set[str]:
    """Return the variables that the initial value of *variable* is computed from."""
    ops = ancestors(part.variable.initializer for part in variable.parts)
    return {op.name for op in ops if op.type in VARIABLES} - set(variable.op_names)
