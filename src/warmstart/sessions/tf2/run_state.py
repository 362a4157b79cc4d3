"""What the next step depends on beside variables and slots.

{"generator": {"algorithm": 1, "state": array},     tf.random.get_global_generator(), if any
 "not_saved": {"dropout/random_uniform": "..."}}     what the step uses that is in no checkpoint
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.ops import stateful_random_ops

from ...errors import ResumeError


def state(not_saved: Mapping[str, str]) -> dict[str, Any]:
    """Return the run state; *not_saved* goes with it, for whoever resumes to know."""
    found: dict[str, Any] = {}
    generator = stateful_random_ops.global_generator  # asking for it in public would make it
    if generator is not None:
        found["generator"] = {
            "algorithm": int(generator.algorithm),
            "state": np.array(generator.state.numpy()),
        }
    if not_saved:
        found["not_saved"] = dict(not_saved)
    return found


def load_state(state: Mapping[str, Any]) -> None:
    """Take back what `state` returned; raise ResumeError for what is none."""
    match state.get("generator"):
        case None:
            return
        case {"algorithm": int(algorithm), "state": np.ndarray() as values}:
            pass
        case other:
            raise ResumeError(
                f"the state of TensorFlow's global generator is not as it was written: {other!r}"
            )
    present = stateful_random_ops.global_generator
    if present is not None and int(present.algorithm) == algorithm:
        present.state.assign(values)  # functions traced with it go on using it
        return
    generator = tf.random.Generator.from_state(values, algorithm)
    tf.random.set_global_generator(generator)
