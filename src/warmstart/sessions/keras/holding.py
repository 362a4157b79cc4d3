"""Layers kept from moving what is frozen: statistics, and weights that a forward rewrites.

    Variable.assign   of a held variable does nothing while a layer runs; SpectralNormalization
                      rewrites its kernel in the forward, batch norm its moving mean
    Layer.call        of a layer whose statistics are held runs in inference mode

Both are attributes of the one object, which go before those of its class.  An assignment from
outside a layer, such as `load_weights`, is carried out: it is on purpose.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import keras
from keras import ops
from keras.src.backend import in_stateless_scope
from keras.src.backend.common import global_state

from . import guard
from .variables import own_variables
from .walk import places

#: What Keras keeps while a layer runs.
CALL = "current_call_ctx"


def hold(variable: Any) -> None:
    """Let no layer move *variable* from now on, as far as the guard says it is held."""
    vars(variable).setdefault("assign", partial(assign, variable))


def release(variable: Any) -> None:
    """Let layers move *variable* again, unless somebody else holds it."""
    if not guard.is_held(variable) and guard.mask_of(variable) is None:
        vars(variable).pop("assign", None)


def assign(variable: Any, value: Any) -> Any:
    """Assign *value* to *variable*; within a layer only where it is not held."""
    original = partial(type(variable).assign, variable)
    if not in_a_layer():
        return original(value)
    if guard.is_held(variable):
        return variable.value
    mask = guard.mask_of(variable)
    return original(value if mask is None else ops.where(mask, variable.value, value))


def in_a_layer() -> bool:
    """Return whether this thread runs a layer, or a step without side effects as JAX' are."""
    return in_stateless_scope() or global_state.get_global_attribute(CALL) is not None


def hold_statistics(layer: Any) -> None:
    """Let *layer* run in inference mode whatever it is told."""
    vars(layer).setdefault("call", partial(infer, layer))


def release_statistics(layer: Any) -> None:
    """Let *layer* run as it is told again."""
    vars(layer).pop("call", None)


def infer(layer: Any, *args: Any, **kwargs: Any) -> Any:
    """Call *layer* in inference mode."""
    return type(layer).call(layer, *args, **{**kwargs, "training": False})


class Statistics(NamedTuple):
    """What one layer moves by itself in training mode, and not in inference mode."""

    layer: Any
    moved: tuple[Any, ...]
    weights: tuple[Any, ...]  # what they belong to


def statistics_in(model: Any) -> Iterator[Statistics]:
    """Yield the statistics of every layer of *model* that has some.

    They are those of batch norm, of layers with variables called so, and the vectors of
    SpectralNormalization.
    """
    for _, layer in places(model):
        own = own_variables(layer)
        moved = tuple(v for v in own if is_statistic(layer, v))
        if moved and layer._call_has_training_arg:
            rest = [v for v in own if not is_statistic(layer, v)]
            scale = [v for v in rest if v.name == "gamma"]
            yield Statistics(layer, moved, tuple(scale or rest))


def is_statistic(layer: Any, variable: Any) -> bool:
    """Return whether *layer* moves its own *variable* in training mode."""
    if isinstance(layer, keras.layers.SpectralNormalization):
        return variable is layer.vector_u
    if isinstance(layer, keras.layers.BatchNormalization):
        return all(variable is not each for each in (layer.gamma, layer.beta))
    return variable.name in ("moving_mean", "moving_variance")
