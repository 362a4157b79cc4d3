"""Variables frozen as they are created: `freeze_variables` for a TensorFlow graph."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import tensorflow as tf

from ...errors import FreezeError
from .freezing import add_model_variables

v1 = tf.compat.v1


@contextmanager
def freeze_variables(stop_gradient: bool = True, skip_collection: bool = False) -> Iterator[None]:
    """Freeze the trainable variables created in the block, in the graph that is the default here.

    *stop_gradient*: `get_variable` returns a tensor that lets no gradient through.  The variable
    itself stays trainable: weight decay, or a use of it by another way, still moves it.

    *skip_collection*: the variable is in MODEL_VARIABLES, not in TRAINABLE_VARIABLES, so a train op
    built later without naming it leaves it alone.  Update ops made in the block, of statistics that
    were never trainable, still run; `freeze` holds those too.

    One trainable already and only reused in the block raises FreezeError with *skip_collection*:
    it is frozen at its creation or by `freeze`.  In eager mode the block changes nothing.
    """
    if tf.executing_eagerly():
        yield
        return
    with ExitStack() as stack:
        if skip_collection:
            stack.enter_context(v1.variable_creator_scope(untrained))
        getter = getter_for(stop_gradient, skip_collection)
        scope = v1.variable_scope(
            v1.get_variable_scope(), custom_getter=getter, auxiliary_name_scope=False
        )
        stack.enter_context(scope)
        yield


def untrained(create: Callable[..., Any], **arguments: Any) -> Any:
    """Create a variable that would be trainable as one that is kept but not trained."""
    trainable = arguments.get("trainable") in (None, True)
    collections = arguments.get("collections")
    if not trainable:
        return create(**arguments)
    arguments["trainable"] = False
    if collections is not None:
        trained = v1.GraphKeys.TRAINABLE_VARIABLES
        arguments["collections"] = [key for key in collections if key != trained]
    variable = create(**arguments)
    add_model_variables(v1.get_default_graph(), [variable])
    return variable


def getter_for(stop_gradient: bool, skip_collection: bool) -> Callable[..., Any]:
    """Return the custom getter; TensorFlow passes it everything by keyword."""

    def get(getter: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        found = getter(*args, **kwargs)
        if skip_collection:
            refuse_trainable(found)
        trainable = kwargs.get("trainable") in (None, True)
        return tf.stop_gradient(found) if stop_gradient and trainable else found

    return get


def refuse_trainable(found: Any) -> None:
    """Raise for a variable that was made trainable before the block."""
    collection = v1.get_default_graph().get_collection(v1.GraphKeys.TRAINABLE_VARIABLES)
    trainable = {variable.op.name for variable in collection}
    parts = list(found) if hasattr(found, "as_tensor") else [found]
    names = [part.op.name for part in parts if hasattr(part, "initializer")]
    reused = [name for name in names if name in trainable]
    if reused:
        raise FreezeError(
            f"{', '.join(reused)}: created outside freeze_variables(skip_collection=True) as "
            "trainable, so reusing it inside does not freeze it; create it inside the first time, "
            "or call warmstart.freeze(session, names)"
        )
