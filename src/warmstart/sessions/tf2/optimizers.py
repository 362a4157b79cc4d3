"""The slots of optimizers: which variable each belongs to, and what it is called there.

    Keras 3              lists beside the list of what is trained:  _momentums[i] of _trainable[i]
    tf.compat.v1.train   get_slot(variable, "m")

Keras' own name of a slot, `adam/encoder_w_momentum`, cannot be taken apart without the variable.
"""

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import tensorflow as tf

from ...names import joined, keras_slot
from ..tf_graph.roles import POWERS
from .objects import inner_of, is_keras_optimizer, variable_in

v1 = tf.compat.v1

#: Lists of an optimizer of Keras that are not of slots.
STATE, TRAINED = "_variables", "_trainable_variables"

#: What optimizers of TensorFlow 1 keep for each variable, in its shape and dtype.
V1_SLOTS: Mapping[str, tuple[str, ...]] = {
    "AdamOptimizer": ("m", "v"),
    "MomentumOptimizer": ("momentum",),
    "AdagradOptimizer": ("accumulator",),
    "AdadeltaOptimizer": ("accum", "accum_update"),
    "FtrlOptimizer": ("accum", "linear"),
    "RMSPropOptimizer": ("rms", "momentum"),
}


class Slot(NamedTuple):
    """A variable of an optimizer that belongs to one that it trains."""

    owner: Any  # the tf.Variable
    key: str  # "momentum"
    value: Any  # a tf.Variable, or one of Keras


class Coming(NamedTuple):
    """A variable that an optimizer has not made yet."""

    place: int | None  # that of the variable whose slot it is; None: the optimizer's own
    key: str
    dtype: str
    shape: tuple[int, ...]


#: What twins of optimizers made for variables of such dtypes and shapes.
TWINS: WeakKeyDictionary[Any, tuple[Any, list[Coming]]] = WeakKeyDictionary()


def slots_of(optimizer: Any, trained: Collection[Any]) -> Iterator[Slot]:
    """Yield the slots that *optimizer* has now; *trained* are all variables it may train."""
    if is_keras_optimizer(optimizer):
        yield from keras_slots(optimizer)
        return
    for key in optimizer.get_slot_names():
        for variable in trained:
            slot = optimizer.get_slot(variable, key)
            if slot is not None:
                yield Slot(variable, key, slot)


def keras_slots(optimizer: Any) -> Iterator[Slot]:
    """Yield the slots in the lists of an optimizer of Keras."""
    trained = list(getattr(optimizer, TRAINED, ()))
    own = {id(variable_in(variable)) for variable in trained}
    for attribute, values in vars(optimizer).items():
        is_list = isinstance(values, Sequence) and not isinstance(values, str)
        if attribute in (STATE, TRAINED) or not is_list or len(values) != len(trained):
            continue
        for variable, slot in zip(trained, values, strict=True):
            inner = variable_in(slot)
            if inner is not None and id(inner) not in own:
                owner = variable_in(variable)
                yield Slot(owner, keras_slot(slot.name, variable_path(variable), attribute), slot)


def variable_path(variable: Any) -> str:
    """Return the name of *variable* as Keras builds it into the names of its slots."""
    return str(getattr(variable, "path", variable.name))


def is_built(optimizer: Any) -> bool:
    """Return whether *optimizer* has made its slots."""
    if is_keras_optimizer(optimizer):
        return bool(optimizer.built)
    return bool(optimizer._slots)


def build(optimizer: Any, variables: Sequence[Any]) -> None:
    """Let *optimizer* make its slots for *variables*, unless it has."""
    if is_built(optimizer) or not variables:
        return
    with tf.init_scope():
        if is_keras_optimizer(optimizer):
            optimizer.build(list(variables))
            optimizer.built = True
        else:
            optimizer._create_slots([variable_in(variable) for variable in variables])


def coming(optimizer: Any, variables: Sequence[Any]) -> list[Coming]:
    """Return the slots that *optimizer*, not built yet, would make for *variables*."""
    if not is_keras_optimizer(optimizer):
        return v1_coming(optimizer, variables)
    alike = tuple(map(kind_of, variables))
    known = TWINS.get(optimizer)
    if known is None or known[0] != alike:
        known = TWINS[optimizer] = alike, twin_slots(optimizer, variables)
    return known[1]


def v1_coming(optimizer: Any, variables: Sequence[Any]) -> list[Coming]:
    """Return the slots that an optimizer of TensorFlow 1 would make, in the shapes of variables."""
    keys = V1_SLOTS.get(type(optimizer).__name__, ())
    slots = [Coming(i, key, *kind_of(v)) for i, v in enumerate(variables) for key in keys]
    # Adam keeps them once, of the type of the first variable.
    powers = POWERS if type(optimizer).__name__ == "AdamOptimizer" else ()
    return slots + [Coming(None, key, kind_of(variables[0])[0], ()) for key in powers]


def twin_slots(optimizer: Any, variables: Sequence[Any]) -> list[Coming]:
    """Return the slots that another like *optimizer* makes, of symbols without values.

    None of an optimizer that cannot be made anew from its settings.
    """
    try:
        other = type(optimizer).from_config(optimizer.get_config())
        with tf.Graph().as_default():
            likes = [like(variable, i) for i, variable in enumerate(variables)]
            build(other, likes)
            slots = [slot for each in with_inner(other) for slot in keras_slots(each)]
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        return []
    place = {id(variable_in(variable)): i for i, variable in enumerate(likes)}
    made = [Coming(place[id(s.owner)], s.key, *kind_of(s.value)) for s in slots]
    return [*made, *beside_slots(optimizer, other)]


def beside_slots(optimizer: Any, built: Any, path: str = "") -> Iterator[Coming]:
    """Yield the variables that *built* has for itself, and *optimizer*, not built yet, lacks."""
    for name, value in vars(built).items():
        there = getattr(optimizer, name, None)
        if variable_in(value) is not None and variable_in(there) is None:
            yield Coming(None, joined(path, name), *kind_of(value))
    inner = getattr(built, "inner_optimizer", None)
    if inner is not None:
        yield from beside_slots(optimizer.inner_optimizer, inner, joined(path, "inner_optimizer"))


def kind_of(variable: Any) -> tuple[str, tuple[int, ...]]:
    """Return the dtype and the shape of *variable*."""
    inner = inner_of(variable)
    return inner.dtype.base_dtype.name, tuple(inner.shape.as_list())


def like(variable: Any, number: int) -> Any:
    """Return a symbol of the dtype and the shape of *variable*, of those that Keras makes.

    In a graph the name of a tf.Variable, `w:0`, is no name, and Adafactor gives it to its slots.
    """
    keras = sys.modules["keras"]
    name, dtype = f"variable{number}", variable.dtype.name
    return keras.Variable("zeros", shape=tuple(variable.shape), dtype=dtype, name=name)


def with_inner(optimizer: Any) -> Iterator[Any]:
    """Yield *optimizer* and those it passes its gradients to."""
    yield optimizer
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is not None:
        yield from with_inner(inner)
