"""Variables and layers of Flax NNX that do not move, by the class they are given.

    variable.__class__ = held_type(type(variable))     a Param is a Param still: filters find it

A held variable gives no gradient, and takes no value from whoever sets it: an optimizer, a layer
that keeps statistics, `nnx.update`.  The class is part of what `nnx.jit` traces by, so functions
compile anew when it changes, and not at each step.

    layer.__class__ = held_layer_type(type(layer))     runs in inference mode

A layer that rewrites its weights to run, as SpectralNorm and WeightNorm do, runs on them rewritten
and has them back after.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from threading import local
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.core import Tracer

from ...source import Index

#: The metadata of a variable that says who holds it, and where.
HOLDS = "warmstart_holds"

#: What a variable may be set to: NumPy's arrays do as well.
ARRAYS = (jax.Array, np.ndarray)

#: Where a variable keeps its metadata.
METADATA = "_var_metadata"

#: Arguments of a layer's call that decide whether it moves statistics -> what holds them.
MODES = {"use_running_average": True, "update_stats": False}


class Lent(local):
    """Whether a layer of this thread runs on its variables at the moment, to have them back."""

    now = False


LENT = Lent()


@dataclass(frozen=True, eq=False, slots=True)
class Hold:
    """One freezing of a variable: all of it, or where *region* says, at its full *shape*."""

    region: Index | None = None
    shape: tuple[int, ...] = ()


@cache
def held_type(base: Any) -> Any:
    """Return the class of a *base* variable that is held still."""

    class Held(base):  # type: ignore[misc]
        held_base = base

        def get_value(self, **options: Any) -> Any:
            index = options.pop("index", ...)
            value = without_gradient(super().get_value(**options), self._var_metadata[HOLDS])
            return value if index is ... else value[index]

        def set_value(self, value: Any, **options: Any) -> None:
            before = self._raw_value
            super().set_value(value, **options)
            if not LENT.now:
                object.__setattr__(self, "_raw_value", kept(self, before, self._raw_value))

        def __setitem__(self, index: Any, value: Any) -> None:
            before = self._raw_value
            if isinstance(before, np.ndarray):  # it would be written into
                object.__setattr__(self, "_raw_value", before.copy())
            super().__setitem__(index, value)
            if not LENT.now:
                object.__setattr__(self, "_raw_value", kept(self, before, self._raw_value))

        def set_raw_value(self, value: Any, **options: Any) -> None:
            super().set_raw_value(kept(self, self._raw_value, value), **options)

        def update_from_state(self, variable_state: Any) -> None:
            object.__setattr__(
                self, "_raw_value", kept(self, self._raw_value, variable_state.get_raw_value())
            )

        def __reduce_ex__(self, protocol: Any) -> Any:
            return thawed(super().__reduce_ex__(protocol), base)

    Held.__name__ = Held.__qualname__ = f"Held{base.__name__}"
    return Held


def kept(variable: Any, before: Any, after: Any) -> Any:
    """Return *after* with what is held of *variable* as it was *before*.

    A value that enters or leaves the trace of a function is the same in another shape, and one
    whose memory was donated is given back by the function it went into.
    """
    arrays = isinstance(before, ARRAYS) and isinstance(after, ARRAYS)
    if not arrays or isinstance(before, Tracer) != isinstance(after, Tracer):
        return after
    if isinstance(before, jax.Array) and not isinstance(before, Tracer) and before.is_deleted():
        return after
    for hold in variable._var_metadata[HOLDS]:
        if hold.region is None:
            return before
        if hold.shape == after.shape == before.shape:
            after = jnp.asarray(after).at[hold.region].set(before[hold.region])
    return after


def thawed(reduced: Any, base: Any) -> tuple[Any, ...]:
    """Return how an object of *base* is made that is what was *reduced*, and held by nobody.

    It is pickled so: a program that reads it has nobody to let it go.
    """
    _, _, state, *rest = reduced
    if METADATA in state:
        own = {key: value for key, value in state[METADATA].items() if key != HOLDS}
        state = {**state, METADATA: own}
    return (object.__new__, (base,), state, *rest)


def without_gradient(value: Any, holds: tuple[Hold, ...]) -> Any:
    """Return *value*, through which no gradient comes where it is held."""
    for hold in holds:
        if hold.region is None:
            return jax.lax.stop_gradient(value)
        if hold.shape == value.shape:
            still = jax.lax.stop_gradient(value[hold.region])
            value = jnp.asarray(value).at[hold.region].set(still)
    return value


def hold(variable: nnx.Variable[Any], by: Hold) -> None:
    """Hold *variable* still, until it is let go.

    A slot that an optimizer made of a held variable has its metadata, and yet nobody holds it.
    """
    held = hasattr(type(variable), "held_base")
    variable.set_metadata(HOLDS, (*(variable.get_metadata(HOLDS, ()) if held else ()), by))
    if not held:
        object.__setattr__(variable, "__class__", held_type(type(variable)))


def let_go(variable: nnx.Variable[Any], by: Hold) -> None:
    """Let *variable* move again, but for what others hold of it."""
    left = tuple(each for each in variable.get_metadata(HOLDS, ()) if each is not by)
    if left:
        variable.set_metadata(HOLDS, left)
    elif variable.has_metadata(HOLDS):
        variable.del_metadata(HOLDS)
        object.__setattr__(variable, "__class__", type(variable).held_base)  # type: ignore[attr-defined]


def is_held(variable: Any) -> bool:
    """Return whether *variable* is held, all of it."""
    holds = variable.get_metadata(HOLDS, ()) if hasattr(type(variable), "held_base") else ()
    return any(each.region is None for each in holds)


@cache
def held_layer_type(base: Any) -> Any:
    """Return the class of a *base* layer that runs in inference mode and moves nothing."""
    call = inspect.signature(base.__call__)
    fixed = {name: value for name, value in MODES.items() if name in call.parameters}

    class Held(base):  # type: ignore[misc]
        held_base = base

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            bound = call.bind(self, *args, **kwargs)
            bound.arguments.update(fixed)
            with lending(self):
                return base.__call__(*bound.args, **bound.kwargs)

        def __reduce_ex__(self, protocol: Any) -> Any:
            return thawed(super().__reduce_ex__(protocol), base)

    Held.__name__ = Held.__qualname__ = f"Held{base.__name__}"
    return Held


@contextmanager
def lending(layer: nnx.Module) -> Iterator[None]:
    """Let *layer* change its held variables in the block, and give them back after."""
    variables = [v for _, v in nnx.graph.iter_graph(layer) if isinstance(v, nnx.Variable)]
    own = [(v, v.get_raw_value()) for v in variables if hasattr(type(v), "held_base")]
    outer, LENT.now = LENT.now, True
    try:
        yield
    finally:
        LENT.now = outer
        for variable, raw in own:
            after = variable.get_raw_value()
            object.__setattr__(variable, "_raw_value", kept(variable, raw, after))
