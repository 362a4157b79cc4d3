"""Live models by engine.  A framework is never imported here: a model brings its own.

An engine is a module with `session_for(model, *, optimizer=None, **options) -> Session | None`
(None: not a model of mine) and, where variables are created through a hook,
`freeze_variables(stop_gradient, skip_collection)`, a context manager.  Others come from the entry
point group "warmstart.sessions", whose entries name such a module.  An entry is asked only once
the package it needs has been imported by somebody.
"""

import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from os import PathLike
from typing import TYPE_CHECKING, Any

from ..errors import described
from .base import Session

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

#: engine -> (module, the framework's package)
#: A Keras model is a module of PyTorch or TensorFlow too, and so Keras is asked first.
ENGINES: dict[str, tuple[str, str]] = {
    "keras": ("warmstart.sessions.keras", "keras"),
    "torch": ("warmstart.sessions.torch", "torch"),
    "tf": ("warmstart.sessions.tf_graph", "tensorflow"),
    "tf2": ("warmstart.sessions.tf2", "tensorflow"),
    "jax": ("warmstart.sessions.jax", "jax"),  # last: others' models may be trees of JAX's arrays
}


@cache
def third_party() -> "dict[str, EntryPoint]":
    """Return the engines that other packages offer; none of them is imported."""
    from importlib.metadata import entry_points

    return {e.name: e for e in entry_points(group="warmstart.sessions") if e.name not in ENGINES}


def live_engines() -> Iterator[Any]:
    """Yield the module of every engine whose framework this process has imported."""
    for module, package in ENGINES.values():
        if package in sys.modules:
            yield import_module(module)
    for entry in third_party().values():
        yield entry.load()


def session_for(model: Any, *, optimizer: Any = None, **options: Any) -> Session:
    """Return the session on a live *model*; a Session passes through unchanged.

    *model* is a `tf.compat.v1.Session`, a `tf.Module`, a `tf.train.Checkpoint`, a
    `torch.nn.Module`, a `keras.Model`, an `nnx.Module`, a pytree with a `jax.Array` in it, or
    anything with a `.session` (`TorchModel`, `JaxModel`, a trainer).  With *optimizer* its slots
    are variables too; a compiled Keras model brings its own.  A Keras model that is not built yet
    takes `input_shape=`, and then has no memory for variables before they get their values.
    """
    if isinstance(model, Session):
        return model
    own = getattr(model, "session", None)
    if isinstance(own, Session):
        return own
    for engine in live_engines():
        session = engine.session_for(model, optimizer=optimizer, **options)
        if session is not None:
            return session  # type: ignore[no-any-return]
    raise TypeError(
        f"no session is known for {described(model)}; {hint(model)}expected a torch.nn.Module, a "
        "keras.Model, a tf.compat.v1.Session, a tf.Module, an nnx.Module, a tree of jax.Arrays, a "
        "model for training (TorchModel, KerasModel, TFGraph, TFModule, JaxModel), or a Session"
    )


def hint(model: Any) -> str:
    """Return what may be meant by *model*, which is none, to go before what is expected."""
    if isinstance(model, type):
        return f"make a model of it, {model.__qualname__}(...); "
    if isinstance(model, Mapping):
        return "values by name are no model, give the one that has them; "
    if isinstance(model, str | PathLike):
        return "a file is no model, ws.open(PATH) reads it; "
    if hasattr(model, "param_groups"):
        return "give the module, and this as optimizer=; "
    return ""
