"""What a compiled step of Keras uses, on TensorFlow, that no checkpoint can hold."""

from collections.abc import Callable, Collection
from typing import Any

import tensorflow as tf

from ..base import Session
from ..tf_graph.unresumable import unresumable


def look_at_steps(model: Any, session: Session, own: Callable[[], Collection[str]]) -> None:
    """Let *session* take note of it whenever the step of *model* is traced, before it is taken.

    Operations called as *own* says are this library's, and hold nothing.
    """
    step = model.train_step

    def train_step(data: Any) -> Any:
        logs = step(data)
        if not tf.executing_eagerly():
            found = unresumable(tf.compat.v1.get_default_graph().get_operations())
            ours = own()
            session.note({name: why for name, why in found.items() if name not in ours})
        return logs

    model.train_step = train_step
    model.train_function = None  # one that was made before does not look
