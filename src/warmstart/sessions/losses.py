"""How a model for training is told what its loss is.

    loss=    a batch is (input, ..., target)       loss(module(*inputs), target)
    step=    a batch is whatever it takes          step(module, batch)

It refuses to know the framework.
"""

from typing import Any

from .arguments import check_function


def check_one_of(loss: Any, step: Any) -> None:
    """Raise TypeError unless one of the two is given, and is a function."""
    if (loss is None) == (step is None):
        raise TypeError("give one of loss=, called with (output, target), and step=")
    if loss is not None:
        check_function("loss", loss, "a function of (output, target)")
    else:
        check_function("step", step, "a function of (module, batch)")


def inputs_and_target(batch: Any) -> tuple[list[Any], Any]:
    """Return the inputs and the target in a *batch* for `loss=`; TypeError for one without."""
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        raise TypeError(
            f"a batch is a {type(batch).__name__}; with loss= it is (input, ..., target), "
            "and for any other there is step="
        )
    *inputs, target = batch
    return inputs, target
