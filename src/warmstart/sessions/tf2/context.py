"""Variables frozen as they are created: `freeze_variables` for eager tf.Variables.

skip_collection    created with trainable=False: no tape watches them, so no optimizer is
                   given a gradient; their role is `model`
stop_gradient      they stay in `trainable_variables`; whoever reads them gets a value through
                   which no gradient flows
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import tensorflow as tf
from tensorflow.python.eager.record import stop_recording
from tensorflow.python.ops.resource_variable_ops import BaseResourceVariable

#: Where Keras makes its variables for TensorFlow.
KERAS = "keras.src.backend.tensorflow.core"

#: The methods of a tf.Variable through which its value is read.
READS = ("_read_variable_op", "sparse_read", "gather_nd")


@contextmanager
def freeze_variables(stop_gradient: bool = True, skip_collection: bool = False) -> Iterator[None]:
    """Freeze the trainable tf.Variables created in the block.

    Variables of a graph that is no function's are not these: the block changes nothing there.
    Nor are those that Keras makes, which layers own.
    """
    if not tf.executing_eagerly():
        yield
        return

    def create(next_creator: Callable[..., Any], **arguments: Any) -> Any:
        if arguments.get("trainable") not in (None, True) or called_from(KERAS):
            return next_creator(**arguments)
        if skip_collection:
            arguments["trainable"] = False
        variable = next_creator(**arguments)
        if stop_gradient and not skip_collection:
            stop(variable)
        return variable

    with tf.variable_creator_scope(create):
        yield


def called_from(module: str) -> bool:
    """Return whether a function of *module* waits for the caller to return."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals.get("__name__") == module:
            return True
        frame = frame.f_back
    return False


def stop(variable: Any) -> None:
    """Let no gradient flow through what is read of *variable* from now on."""
    if isinstance(variable, BaseResourceVariable):
        variable._trainable = False  # what is asked where TensorFlow reads without these methods
        kind: Any = type(variable)
        variable.__class__ = stopped(kind)


@cache
def stopped(kind: Any) -> type:
    """Return the class *kind* whose variables are trainable and are read without a gradient."""

    def reading(method: str) -> Callable[..., Any]:
        original = getattr(kind, method)

        def read(self: Any, *args: Any, **kwargs: Any) -> Any:
            with stop_recording():  # so that no tape learns of the variable
                value = original(self, *args, **kwargs)
            return tf.stop_gradient(value)  # for gradients of what is traced

        return read

    members = {method: reading(method) for method in READS}
    return type(kind.__name__, (kind,), {"trainable": property(lambda self: True), **members})
