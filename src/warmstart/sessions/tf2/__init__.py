"""TensorFlow 2: the session on a `tf.Module`, a `tf.train.Checkpoint` or anything else whose parts
TensorFlow keeps track of, and the hook that freezes variables as they are created."""

from typing import Any

import tensorflow as tf

from .context import freeze_variables as freeze_variables
from .objects import Trackable, check_optimizer, variable_in
from .session import TF2Session


def session_for(model: Any, *, optimizer: Any = None, **options: Any) -> TF2Session | None:
    """Return the session on an object whose parts TensorFlow keeps track of, else None.

    Its variables are eager: those of a graph belong to the session on its `tf.compat.v1.Session`.
    """
    if not isinstance(model, Trackable) or variable_in(model) is not None:
        return None
    if options:
        raise TypeError(f"a TensorFlow 2 object takes no option {', '.join(sorted(options))}")
    if not tf.executing_eagerly():
        raise TypeError(
            f"eager execution is off, so a {type(model).__qualname__} has no values of its own; "
            "pass the tf.compat.v1.Session that has them"
        )
    if optimizer is not None:
        check_optimizer(optimizer)
    return TF2Session(model, optimizer)
