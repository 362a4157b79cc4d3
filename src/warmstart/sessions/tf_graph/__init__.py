"""TensorFlow graphs: the session on a `tf.compat.v1.Session`, and the hook that freezes variables
as they are created."""

from typing import Any

import tensorflow as tf

from .context import freeze_variables as freeze_variables
from .session import GraphSession


def session_for(model: Any, *, optimizer: Any = None, **options: Any) -> GraphSession | None:
    """Return the session on a `tf.compat.v1.Session`; None for any other model.

    Of the *optimizer* only the list of its variables is asked, where the graph does not show them.
    """
    if not isinstance(model, tf.compat.v1.Session | tf.compat.v1.InteractiveSession):
        return None
    if options:
        raise TypeError(f"a TensorFlow graph takes no option {', '.join(sorted(options))}")
    return GraphSession(model, optimizer=optimizer)
