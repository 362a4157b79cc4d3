"""Building a model without memory for its variables: shapes now, values from a checkpoint later.

    session = session_for(model, input_shape=(None, 224, 224, 3))
    SmartInit(path).init(session)          each variable gets memory once, with its value

In a StatelessScope Keras makes variables that know their shape and initializer only, and would
give them their values when the scope ends.  They are taken off that list.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras.src.backend.common import global_state

from .walk import places

#: Where Keras lists the variables that wait for the end of the outermost scope.
WAITING = "uninitialized_variables"


@contextmanager
def without_memory() -> Iterator[None]:
    """Let variables that the block makes have no values."""
    with keras.StatelessScope():
        before = list(global_state.get_global_attribute(WAITING, [], set_to_default=True))
        try:
            yield
        finally:
            global_state.set_global_attribute(WAITING, before)


def build(model: Any, input_shape: Any) -> None:
    """Build *model* for inputs of *input_shape*, the batch first, with variables without values.

    Several inputs are a list or a dict of shapes.
    """
    if model.built and model.variables:
        raise ValueError(
            f"the model {model.name!r} is built already, and its variables have memory; "
            "input_shape= is for a model that is not"
        )
    inputs = keras.tree.map_shape_structure(
        lambda shape: keras.KerasTensor(shape, dtype=model.input_dtype), input_shape
    )
    with without_memory():
        keras.src.backend.compute_output_spec(model.__call__, inputs)


def refuse_unbuilt(model: Any) -> None:
    """Raise ValueError for a model that is to be built, and has layers that are too."""
    without = [layer.name for _, layer in places(model) if not layer.built]
    if model.built or without in ([], [model.name]):
        return
    raise ValueError(
        f"the model {model.name!r} has no variables before it is built (nor have "
        f"{', '.join(without)}): call model.build(SHAPE) or run one batch; or give "
        "session_for(model, input_shape=SHAPE), which builds it without memory for values that a "
        "checkpoint has"
    )
