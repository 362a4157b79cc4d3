"""What the next step depends on beside variables and slots.

{"generator": {"algorithm": 1, "state": array},     tf.random.get_global_generator(), if any
 "eager": {"seed": 7, "numbers": array},            of tf.random.set_seed: where the seeds of
                                                    operations that are run at once come from
 "threads": 2,
 "not_saved": {"dropout/random_uniform": "..."}}     what the step uses that is in no checkpoint
"""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.eager.context import context
from tensorflow.python.ops import stateful_random_ops

from ...errors import ResumeError
from ..threads import warn_of_other


def state(not_saved: Mapping[str, str]) -> dict[str, Any]:
    """Return the run state; *not_saved* goes with it, for whoever resumes to know."""
    found: dict[str, Any] = {}
    generator = stateful_random_ops.global_generator  # asking for it in public would make it
    if generator is not None:
        found["generator"] = {
            "algorithm": int(generator.algorithm),
            "state": np.array(generator.state.numpy()),
        }
    seed = context()._seed
    if seed is not None:  # else nothing is drawn from the numbers, even if there was one before
        _, numbers, _ = context()._rng.getstate()
        found["eager"] = {"seed": int(seed), "numbers": np.array(numbers, np.uint32)}
    found["threads"] = threads()
    if not_saved:
        found["not_saved"] = dict(not_saved)
    return found


def threads() -> int:
    """Return how many threads an operation may use."""
    return tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count() or 1


def load_state(state: Mapping[str, Any]) -> None:
    """Take back what `state` returned; raise ResumeError for what is none."""
    set_generator(state.get("generator"))
    set_eager(state.get("eager"))
    setter = "tf.config.threading.set_intra_op_parallelism_threads"
    warn_of_other(state.get("threads", threads()), threads(), setter)


def set_generator(state: Any) -> None:
    """Let the global generator go on from *state*."""
    match state:
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


def set_eager(state: Any) -> None:
    """Let operations that are run at once get the seeds that come next."""
    match state:
        case None:
            return
        case {"seed": int(seed), "numbers": np.ndarray() as numbers}:
            tf.random.set_seed(seed)  # which also forgets the operations that were seeded before
            context()._rng.setstate((3, tuple(int(n) for n in numbers), None))
        case other:
            raise ResumeError(
                f"the state of tf.random.set_seed is not as it was written: {other!r}"
            )
