"""JAX: the sessions on Flax NNX modules and on pytrees, and the hook for parameters' creation.

What a tree needs to be a model is one leaf of JAX's: a `jax.Array`, or a `ShapeDtypeStruct` of an
abstract one.  A dict of NumPy arrays is a source and no model.

Flax and optax are imported once a model of JAX's is seen, since JAX alone may be there for others.
"""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import jax

from ...errors import MissingDependency
from .arrays import is_of_jax

if TYPE_CHECKING:
    from .session import JaxSession


def session_for(
    model: Any, *, optimizer: Any = None, predict: Callable[..., Any] | None = None, **options: Any
) -> "JaxSession | None":
    """Return the session on an NNX module or a pytree with arrays of JAX; None for anything else.

    *predict* is a function of a tree and inputs, which a tree does not bring along.
    """
    if not is_model(model):
        return None
    if options:
        raise TypeError(f"a JAX model takes no option {', '.join(sorted(options))}")
    try:
        from flax import nnx

        from .nnx_session import NnxSession
        from .tree_session import TreeSession
    except ModuleNotFoundError as error:
        if error.name not in ("flax", "optax"):
            raise
        raise MissingDependency(
            f"a session on a JAX model needs {error.name}: pip install 'warmstart[jax]'"
        ) from error
    if isinstance(model, nnx.Module):
        if predict is not None:
            raise TypeError("an NNX module predicts by itself; predict= is for trees")
        return NnxSession(model, optimizer)
    return TreeSession(model, optimizer, predict=predict)


def is_model(model: Any) -> bool:
    """Return whether *model* is an NNX module, or a container with an array of JAX in it."""
    nnx = sys.modules.get("flax.nnx")
    if nnx is not None and isinstance(model, nnx.Module):
        return True
    return not is_of_jax(model) and any(map(is_of_jax, jax.tree.leaves(model)))


def freeze_variables(stop_gradient: bool, skip_collection: bool) -> AbstractContextManager[None]:
    """Freeze what is made inside the context, where Flax is in use."""
    if "flax.nnx" not in sys.modules:
        return nullcontext()
    from .context import freeze_variables as of_nnx

    return of_nnx(stop_gradient, skip_collection)
