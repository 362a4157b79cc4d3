"""The context `freeze_variables` over Keras layers: what is made inside it, by this thread, is
frozen, also the variables that such a layer makes later, when it is built.

    stop_gradient      the layers use their variables without gradient: another way to reach one,
                       such as its regularizer or weight decay, still moves it
    skip_collection    the variables are made untrained
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from keras import Layer, ops
from keras.src.backend.common import global_state

from .holding import CALL

#: Layers made inside a context -> its two switches.
MADE: WeakKeyDictionary[Any, tuple[bool, bool]] = WeakKeyDictionary()

ADD_WEIGHT = Layer.add_weight


@contextmanager
def freeze_variables(stop_gradient: bool = True, skip_collection: bool = False) -> Iterator[None]:
    """Freeze the variables of layers that this thread makes inside the context."""
    thread = threading.get_ident()
    before = Layer.__new__

    def new(cls: type, *args: Any, **kwargs: Any) -> Any:
        layer = before(cls, *args, **kwargs)
        if threading.get_ident() == thread:
            MADE[layer] = (stop_gradient, skip_collection)
        return layer

    Layer.add_weight = add_weight
    Layer.__new__ = new
    try:
        yield
    finally:
        Layer.__new__ = before


def add_weight(self: Any, *args: Any, **kwargs: Any) -> Any:
    """Make a variable as Keras does; one of a layer that a context made is frozen."""
    stop_gradient, skip_collection = MADE.get(self, (False, False))
    if skip_collection:
        kwargs["trainable"] = False
    variable = ADD_WEIGHT(self, *args, **kwargs)
    if stop_gradient and variable.trainable:
        original = type(variable)._maybe_autocast
        vars(variable)["_maybe_autocast"] = partial(without_gradient, variable, original)
    return variable


def without_gradient(variable: Any, original: Any, value: Any) -> Any:
    """Return the *value* that a layer is to use of *variable*; outside of layers it is itself."""
    used = original(variable, value)
    in_a_layer = global_state.get_global_attribute(CALL) is not None
    return ops.stop_gradient(used) if in_a_layer else used
