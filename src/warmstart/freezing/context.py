"""Variables frozen as they are made: a context around the code that builds a model."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from ..errors import FreezeError
from ..sessions import live_engines


@contextmanager
def freeze_variables(stop_gradient: bool = True, skip_collection: bool = False) -> Iterator[None]:
    """Freeze the variables that are created in the block, for every framework in use.

    *stop_gradient* lets no gradient through what the block builds with them.  They stay trainable:
    weight decay, or a use outside the block, still moves them.

    *skip_collection* makes them variables that are kept and not trained (TensorFlow's
    MODEL_VARIABLES; `requires_grad=False` in PyTorch), so no optimizer moves them.

    With neither the block changes nothing, as in Tensorpack, so that a switch may be passed in.
    `warmstart.freeze` holds variables still that are there already, and proves it.
    """
    hooks = [e.freeze_variables for e in live_engines() if hasattr(e, "freeze_variables")]
    if not hooks:
        raise FreezeError(
            "no framework that creates variables is imported yet: import torch or tensorflow "
            "before freeze_variables"
        )
    with ExitStack() as stack:
        for hook in hooks if stop_gradient or skip_collection else ():
            stack.enter_context(hook(stop_gradient, skip_collection))
        yield
