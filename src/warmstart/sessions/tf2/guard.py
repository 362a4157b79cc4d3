"""Variables that are held still: whatever assigns to them is told so, and leaves them.

    a method that writes (assign, assign_sub, scatter_update ...)    of the variable itself: does
                                                                      nothing where it is held
    trainable                                                         False: no tape watches it
    an optimizer, of Keras or of tf.compat.v1.train                   is not shown its gradient,
                                                                      so that its slots rest too

An operation that is given the handle of a variable knows no methods.  `tf.raw_ops` and a
`tf.train.Checkpoint.restore` are such, and traces made before (see `traces`).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet, ref

import numpy as np
import tensorflow as tf

from ..tf_graph.regions import cleared
from .objects import inner_of, variable_in

#: The methods of a tf.Variable that change its value.
WRITES = (
    "assign", "assign_add", "assign_sub", "_strided_slice_assign", "batch_scatter_update",
    "scatter_add", "scatter_sub", "scatter_update", "scatter_max", "scatter_min",
    "scatter_mul", "scatter_div",
    "scatter_nd_add", "scatter_nd_sub", "scatter_nd_update", "scatter_nd_max", "scatter_nd_min",
)  # fmt: skip

#: Attributes that a held variable has.
HOLDS, TRAINED, TRACES = "_warmstart_holds", "_warmstart_trained", "_warmstart_traces"


@dataclass(frozen=True, eq=False, slots=True)
class Hold:
    """Somebody's wish that a variable stays as it is, where *mask* is true; None: everywhere."""

    mask: np.ndarray | None = None


def add(variable: Any, hold: Hold) -> None:
    """Hold *variable*, one of TensorFlow or of Keras."""
    inner = inner_of(variable)
    holds = vars(inner).setdefault(HOLDS, [])
    if not holds:
        setattr(inner, TRACES, WeakSet())
        for method in WRITES:
            if hasattr(type(inner), method):
                setattr(inner, method, guarded(ref(inner), getattr(type(inner), method)))
    holds.append(hold)
    if hold.mask is None and variable.trainable:
        setattr(inner, TRAINED, True)
        set_trainable(variable, False)


def remove(variable: Any, hold: Hold) -> None:
    """Take one hold off *variable*; when none is left it is what it was."""
    inner = inner_of(variable)
    holds = vars(inner)[HOLDS]
    holds.remove(hold)
    if was_trained(inner) and all(other.mask is not None for other in holds):
        delattr(inner, TRAINED)
        set_trainable(variable, True)
    if not holds:
        for name in (HOLDS, TRACES, *WRITES):
            vars(inner).pop(name, None)


def was_trained(inner: Any) -> bool:
    """Return whether a tf.Variable is held now and trainable otherwise."""
    return TRAINED in vars(inner)


def set_trainable(variable: Any, trainable: bool) -> None:
    """Let tapes watch *variable* by themselves, or not."""
    inner_of(variable)._trainable = trainable
    if not isinstance(variable, tf.Variable):
        variable.trainable = trainable


def held(variable: Any) -> np.ndarray | None:
    """Return where *variable* is held: everywhere if all is true, None if nobody holds it."""
    inner = variable_in(variable)
    holds = vars(inner).get(HOLDS) if inner is not None else None
    if not holds:
        return None
    masks = [hold.mask for hold in holds if hold.mask is not None]
    if len(masks) < len(holds):
        return np.True_  # type: ignore[return-value]
    mask: np.ndarray = np.logical_or.reduce(np.broadcast_arrays(*masks))
    return mask


def guarded(variable: "ref[Any]", write: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method *write* of *variable* so that it leaves what is held."""

    def method(*args: Any, **kwargs: Any) -> Any:
        inner: Any = variable()
        mask = held(inner)
        note_trace(inner)
        if mask is None or mask.all():
            return inner
        before = inner.value()
        write(inner, *args, **kwargs)
        put_back(inner, mask, before)
        return inner

    return method


def put_back(inner: Any, mask: np.ndarray, before: Any) -> None:
    """Set a tf.Variable to what it was *before* where *mask* is true."""
    type(inner).assign(inner, tf.where(mask, before, inner.value()))


def note_trace(inner: Any) -> None:
    """Remember the functions being traced, in which a tf.Variable stays out of something."""
    graph = tf.compat.v1.get_default_graph()
    while getattr(graph, "outer_graph", None) is not None:
        vars(inner)[TRACES].add(graph)
        graph = graph.outer_graph


def without_held(gradients: Iterable[Any], variables: Iterable[Any]) -> tuple[list[Any], list[Any]]:
    """Return gradients and variables without those held as a whole; rows held have none."""
    kept: tuple[list[Any], list[Any]] = ([], [])
    for gradient, variable in zip(gradients, variables, strict=True):
        mask = held(variable)
        if mask is not None:
            note_trace(inner_of(variable))
        if mask is None or not mask.all():
            kept[0].append(gradient if mask is None else cleared(gradient, mask))
            kept[1].append(variable)
    return kept
