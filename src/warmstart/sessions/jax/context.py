"""The context `freeze_variables` over NNX: parameters made inside it, by this thread, are frozen.

    stop_gradient      a parameter is read without its gradient; it stays a Param, so that another
                       way to move it, as weight decay is, still does
    skip_collection    it is an `Untrained` and no Param at all, so no optimizer is asked to move it

NNX has no hook on the creation of variables, so their constructor is replaced inside the context.
Pytrees are made by functions, and have `freeze` only.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import jax
from flax import nnx


class Untrained(nnx.Variable[Any]):
    """A parameter that is kept and not trained, made where `skip_collection` is in force."""


@contextmanager
def freeze_variables(stop_gradient: bool = True, skip_collection: bool = False) -> Iterator[None]:
    """Freeze the parameters of NNX that this thread makes inside the context."""
    thread = threading.get_ident()
    original = nnx.Variable.__init__

    def made(variable: Any, *args: Any, **kwargs: Any) -> None:
        original(variable, *args, **kwargs)
        if threading.get_ident() != thread or not isinstance(variable, nnx.Param):
            return
        kind: type = Untrained if skip_collection else type(variable)
        object.__setattr__(variable, "__class__", stopped_type(kind) if stop_gradient else kind)

    nnx.Variable.__init__ = made  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        nnx.Variable.__init__ = original  # type: ignore[method-assign]


@cache
def stopped_type(base: type) -> type:
    """Return the class of a *base* variable that is read without its gradient."""

    class Stopped(base):  # type: ignore[misc]
        def get_value(self, **options: Any) -> Any:
            return jax.lax.stop_gradient(super().get_value(**options))

    Stopped.__name__ = Stopped.__qualname__ = f"Stopped{base.__name__}"
    return Stopped
