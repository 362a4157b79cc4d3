"""Steps that Keras has compiled, made anew when what they do is another.

A step is compiled once and does what it did then.  Only those of the model itself are known: a
function of one's own (`tf.function`, `jax.jit`), or the step of another model around this one, has
to be made again by whoever made it.
"""

from functools import partial
from typing import Any

from .arrays import BACKEND


def compile_anew(model: Any) -> None:
    """Have the training step of *model* compiled again, if it has been."""
    if getattr(model, "train_function", None) is None:
        return
    own = vars(model)
    if BACKEND == "jax" and "train_step" not in own:  # jax.jit knows a method by what it is called
        original = model.train_step
        own["train_step"] = partial(original)
        try:
            model.make_train_function(force=True)
        finally:
            del own["train_step"]
        return
    if BACKEND == "torch" and model.jit_compile:
        import torch

        torch._dynamo.reset()
    model.make_train_function(force=True)
