"""Variables of a graph held still, by leaving them out of whatever trains or updates them.

    freeze    out of TRAINABLE_VARIABLES into MODEL_VARIABLES, and the operations that update
              their statistics out of UPDATE_OPS: a train op built later does not know them
    thaw      back to where they were
    in part   a `TFGraph` builds its train op so that it leaves those parts as they are (regions.py)

A graph's operations cannot be changed.  An operation already there that would move a held variable
is an error, unless a `TFGraph` built it, which builds its train op anew over the rest.  Nor can a
normalisation layer be switched to inference: its statistics are held by not updating them, while
it goes on normalising as it was built to.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from weakref import WeakKeyDictionary, WeakSet

import numpy as np
import tensorflow as tf

from ...errors import FreezeError
from ...names import parent, scopes
from ...source import Index, no_such_tensor
from ...spec import TensorSpec
from . import movers
from .regions import Masks, either, masks_of
from .variables import Variable
from .walk import ancestors, dependent, operation, written

KEYS = tf.compat.v1.GraphKeys


class Trainer(Protocol):
    """Whoever runs training operations of a graph and can choose them anew."""

    @property
    def operations(self) -> set[str]:
        """The names of what it built itself and can do without."""

    @property
    def builds(self) -> bool:
        """Whether it builds its train op itself."""

    def check_rebuild(self) -> None:
        """Raise FreezeError if its train op is built and cannot be built anew."""

    def rebuild(self, returned: Iterable[Any] = ()) -> None:
        """Train what is trainable now; *returned* update ops are to be run again."""


@dataclass(slots=True)
class Held:
    """What is held in one graph, by the names of operations: it must not keep the graph alive."""

    counts: Counter[str] = field(default_factory=Counter)  # of freezings on each variable
    trainable: set[str] = field(default_factory=set)  # those taken from TRAINABLE_VARIABLES
    update_ops: list[tuple[int, str]] = field(default_factory=list)  # (place, name) they had
    changes: int = 0  # freezings and thawings so far
    parts: list[Masks] = field(default_factory=list)  # one of each freezing that holds some


HELD: WeakKeyDictionary[Any, Held] = WeakKeyDictionary()

#: Those that train in a graph.
TRAINERS: WeakKeyDictionary[Any, WeakSet[Trainer]] = WeakKeyDictionary()


def add_trainer(graph: Any, trainer: Trainer) -> None:
    """Let *trainer* know of every freezing and thawing in *graph*, as long as it lives."""
    TRAINERS.setdefault(graph, WeakSet()).add(trainer)


class GraphFreezing:
    """Variables held still in one graph, until `thaw`."""

    def __init__(
        self, graph: Any, variables: Iterable[Variable], in_part: Iterable[tuple[Variable, Index]]
    ) -> None:
        """Hold *variables*, and others *in_part*; they have been checked."""
        variables, in_part = list(variables), list(in_part)
        self.regions: Mapping[str, Index] = {v.name: index for v, index in in_part}
        self.names = (*(v.name for v in variables), *self.regions)
        self._graph = graph
        self._op_names = [name for v in variables for name in v.op_names]
        self._masks = either(masks_of(v, index) for v, index in in_part)
        self._thawed = False
        hold(graph, self._op_names, self._masks)
        self._train_ops = train_ops(graph)

    def thaw(self) -> None:
        """Let the variables be trained again; a second time does nothing.

        Raise FreezeError when a train op was built meanwhile that leaves them out for good.
        """
        if self._thawed:
            return
        meanwhile = sorted(train_ops(self._graph) - self._train_ops)
        if meanwhile and self._op_names:
            raise FreezeError(
                f"{', '.join(self.names)} cannot be thawed: the train op {', '.join(meanwhile)} "
                "was built meanwhile and leaves them out; thaw before building it, or give "
                "cost= and optimizer= to a TFGraph, which builds its own anew"
            )
        check_trainers(self._graph)
        self._thawed = True
        release(self._graph, self._op_names, self._masks)


def freeze(
    graph: Any,
    variables: Mapping[str, Variable],
    specs: Mapping[str, TensorSpec],
    names: Collection[str],
    *,
    train_statistics: bool,
    regions: Mapping[str, Index],
) -> GraphFreezing:
    """Hold the variables called *names*; see `Session.freeze`."""
    for name in names:
        if name not in specs:
            raise no_such_tensor(name, specs)
    refuse_state([specs[name] for name in names])
    whole = [name for name in names if name not in regions]
    chosen = set(whole)
    if train_statistics:
        updated = set(updated_by(graph))
        chosen -= {name for name in whole if updated & set(variables[name].op_names)}
    else:
        chosen |= set(statistics_of(graph, variables, whole))
    held = [v for v in variables.values() if v.name in chosen]
    in_part = [(v, regions[v.name]) for v in variables.values() if v.name in regions]
    parted = [v for v, _ in in_part]
    refuse_parts(graph, parted)
    owned = {name for trainer in TRAINERS.get(graph, ()) for name in trainer.operations}
    movers.refuse(graph, [*held, *parted], owned, [*update_ops(graph), *held_update_ops(graph)])
    check_trainers(graph)
    return GraphFreezing(graph, held, in_part)


def refuse_parts(graph: Any, variables: Collection[Variable]) -> None:
    """Raise for *variables* that cannot be held in part: nobody trains them who could leave some.

    A whole variable is held by not training it, which anybody can; a part must be left out by the
    train op itself.
    """
    if not variables:
        return
    trainable = {v.op.name for v in graph.get_collection(KEYS.TRAINABLE_VARIABLES)}
    trainable |= held_trainable(graph)
    untrained = [v.name for v in variables if not trainable.issuperset(v.op_names)]
    if untrained:
        raise FreezeError(
            f"{', '.join(untrained)}: only trainable variables can be frozen in part; freeze what "
            "is not trained as a whole"
        )
    if not any(trainer.builds for trainer in TRAINERS.get(graph, ())):
        raise FreezeError(
            f"{', '.join(v.name for v in variables)}: only a train op made for it leaves a part of "
            "a variable as it is; give cost= and optimizer= to a TFGraph, which builds it, before "
            "freezing"
        )


def refuse_state(specs: list[TensorSpec]) -> None:
    """Raise for what is not a weight: an optimizer moves its own state as it likes."""
    wrong = [spec for spec in specs if spec.role in ("slot", "run")]
    if wrong:
        listed = ", ".join(f"{spec.name} ({spec.role})" for spec in wrong)
        raise FreezeError(
            f"only trainable and model variables can be frozen; these are state: {listed}"
        )


def check_trainers(graph: Any) -> None:
    """Raise FreezeError if a train op that would have to be built anew cannot be."""
    for trainer in TRAINERS.get(graph, ()):
        trainer.check_rebuild()


def statistics_of(
    graph: Any, variables: Mapping[str, Variable], names: Collection[str]
) -> Iterator[str]:
    """Yield the statistics of the layers that *names* complete: all that is trainable is frozen.

    A layer is a scope with trainable variables; its statistics are what UPDATE_OPS write in that
    scope or below it (`bn/moving_mean`, `bn/mean/EMA`).
    """
    held = HELD.get(graph, Held())
    trainable = {v.op.name for v in graph.get_collection(KEYS.TRAINABLE_VARIABLES)}
    trainable |= held.trainable
    layers: dict[str, set[str]] = {}
    for v in variables.values():
        if trainable & set(v.op_names):
            layers.setdefault(parent(v.name), set()).add(v.name)
    still = set(names) | {n for n, v in variables.items() if held.trainable & set(v.op_names)}
    updated = set(updated_by(graph))
    for v in variables.values():
        if updated & set(v.op_names) and v.name not in layers.get(parent(v.name), ()):
            layer = next((scope for scope in scopes(v.name) if scope in layers), None)
            if layer is not None and layers[layer] <= still and layers[layer] & set(names):
                yield v.name


def updated_by(graph: Any) -> Iterator[str]:
    """Yield the variables that the update ops write, held ones included."""
    for _, target in written(ancestors([*update_ops(graph), *held_update_ops(graph)])):
        yield target.name


def update_ops(graph: Any) -> list[Any]:
    """Return the operations in UPDATE_OPS, groups taken apart."""
    return list(apart(map(operation, graph.get_collection(KEYS.UPDATE_OPS))))


def apart(ops: Iterable[Any]) -> Iterator[Any]:
    """Yield *ops*, in place of a group its members."""
    for op in ops:
        if op.type == "NoOp" and op.control_inputs:
            yield from apart(op.control_inputs)
        else:
            yield op


def held_update_ops(graph: Any) -> list[Any]:
    """Return the update ops that were taken out of UPDATE_OPS."""
    held = HELD.get(graph, Held())
    return [graph.get_operation_by_name(name) for _, name in held.update_ops]


def train_ops(graph: Any) -> set[str]:
    """Return the names of the train ops in *graph* that no `TFGraph` can build anew."""
    owned = {name for trainer in TRAINERS.get(graph, ()) for name in trainer.operations}
    return {operation(op).name for op in graph.get_collection(KEYS.TRAIN_OP)} - owned


def changes(graph: Any) -> int:
    """Return how often the collections of *graph* were changed here."""
    return HELD[graph].changes if graph in HELD else 0


def held_trainable(graph: Any) -> set[str]:
    """Return the variables that would be trainable were they not held."""
    return set(HELD.get(graph, Held()).trainable)


def left_out(graph: Any, ops: Iterable[Any]) -> list[Any]:
    """Return *ops* without those that write a held variable when they are run."""
    ops = list(map(operation, ops))
    held = HELD.get(graph, Held())
    running = ancestors(ops)
    writing = {op for op, target in written(running) if target.name in held.counts}
    writing |= dependent(running, writing)
    return [op for op in ops if op not in writing]


def held_parts(graph: Any) -> dict[str, np.ndarray]:
    """Return where variables are held in part, by their operations."""
    return either(HELD.get(graph, Held()).parts)


def hold(graph: Any, op_names: Iterable[str], masks: Masks) -> None:
    """Take the variables and their update ops out of the collections that training looks into.

    Those in *masks* stay there, and train ops are built anew to leave their parts.
    """
    held = HELD.setdefault(graph, Held())
    held.changes += 1
    held.parts.append(masks)
    held.counts.update(op_names)
    trainable = graph.get_collection_ref(KEYS.TRAINABLE_VARIABLES)
    leaving = [v for v in trainable if v.op.name in held.counts]
    held.trainable |= {v.op.name for v in leaving}
    trainable[:] = [v for v in trainable if v.op.name not in held.counts]
    add_model_variables(graph, leaving)
    before = update_ops(graph)
    after = left_out(graph, before)
    if len(after) < len(before):
        kept = set(after)
        held.update_ops += [(i, op.name) for i, op in enumerate(before) if op not in kept]
        graph.get_collection_ref(KEYS.UPDATE_OPS)[:] = after
    for trainer in TRAINERS.get(graph, ()):
        trainer.rebuild()


def add_model_variables(graph: Any, variables: Iterable[Any]) -> None:
    """Add *variables* to MODEL_VARIABLES, each once."""
    model = graph.get_collection_ref(KEYS.MODEL_VARIABLES)
    present = {v.op.name for v in model}
    model += [v for v in variables if v.op.name not in present]


def release(graph: Any, op_names: Iterable[str], masks: Masks) -> None:
    """Put back what is held no more by any freezing."""
    held = HELD[graph]
    held.changes += 1
    held.parts = [each for each in held.parts if each is not masks]
    held.counts -= Counter(op_names)  # those that reach 0 are dropped
    free = held.trainable - held.counts.keys()
    held.trainable -= free
    model = graph.get_collection_ref(KEYS.MODEL_VARIABLES)
    model[:] = [v for v in model if v.op.name not in free]
    put_back(graph, free)
    returning = left_out(graph, held_update_ops(graph))
    names = {op.name for op in returning}
    entries = graph.get_collection_ref(KEYS.UPDATE_OPS)
    for place, name in held.update_ops:
        if name in names:
            entries.insert(place, graph.get_operation_by_name(name))
    held.update_ops = [(place, name) for place, name in held.update_ops if name not in names]
    for trainer in TRAINERS.get(graph, ()):
        trainer.rebuild(returning)


def put_back(graph: Any, op_names: Collection[str]) -> None:
    """Make the variables trainable again, in the order all variables were made."""
    everything = graph.get_collection(KEYS.GLOBAL_VARIABLES)
    order = {v.op.name: i for i, v in enumerate(everything)}
    trainable = graph.get_collection_ref(KEYS.TRAINABLE_VARIABLES)
    for v in everything:
        if v.op.name in op_names:
            later = (
                i for i, t in enumerate(trainable) if order.get(t.op.name, -1) > order[v.op.name]
            )
            trainable.insert(next(later, len(trainable)), v)
