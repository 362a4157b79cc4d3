"""Steps that were compiled before, made anew when what they do is another.

A step is compiled once and does what it did then, whoever compiled it: `fit` of this model or of
another around it, or a loop of one's own.

    tensorflow   every tf.function that uses a variable of the model forgets its traces
    jax          every function forgets what it was compiled to: it does not say what it uses
    torch        likewise, once anything was compiled
"""

from collections.abc import Iterable
from typing import Any

from .arrays import BACKEND
from .variables import Variable


def compile_anew(model: Any) -> None:
    """Have every step that trains variables of *model* compiled again."""
    forget(model)
    if getattr(model, "train_function", None) is not None:
        model.make_train_function(force=True)


def forget(model: Any) -> None:
    """Let what was compiled with variables of *model* be compiled anew when it is called."""
    if BACKEND == "jax":
        import jax

        jax.clear_caches()  # type: ignore[no-untyped-call]
    elif BACKEND == "torch":
        from ..torch.compiling import compile_anew as forget_compiled

        forget_compiled()
    else:
        from ..tf2 import traces

        traces.forget([v._value for v in model.variables if v._value is not None])


def refuse_traces(model: Any, held: Iterable[Variable]) -> None:
    """Raise FreezeError for steps of *model* that would move what is *held*, and stay as they are.

    TensorFlow alone lets somebody keep such a step, which is no function that is compiled anew.
    """
    if BACKEND != "tensorflow":
        return
    from ..tf2 import traces

    forget(model)
    there = {each.name: each.live._value for each in held if each.live._value is not None}
    traces.refuse_writers(list(there.values()), list(there))
