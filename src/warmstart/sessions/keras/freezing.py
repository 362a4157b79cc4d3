"""Variables of a Keras model held still, bit for bit, whatever trains it.

    a weight         no optimizer gets to see its gradient (guard.py), of PyTorch's neither
                     (torch_hold.py)
    a part of one    is put back after the step (regions.py)
    its statistics   the layer runs in inference mode (holding.py)
    any variable     is not assigned to by a layer (holding.py)

For Keras all of them stay trainable, so nothing of an optimizer is changed, and its slots are what
they were when the variables are thawed.  A compiled step is compiled anew.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any
from weakref import ref

import numpy as np

from ...errors import FreezeError
from ...source import Index, no_such_tensor
from ..masks import mask_of
from . import guard
from .arrays import BACKEND
from .compiled import compile_anew, refuse_traces
from .holding import (
    Statistics,
    hold,
    hold_statistics,
    release,
    release_statistics,
    statistics_in,
)
from .variables import Variable, Variables


class KerasFreezing:
    """Variables of one model, held still until `thaw`."""

    def __init__(
        self,
        model: Any,
        names: tuple[str, ...],
        *,
        variables: tuple[Any, ...],
        regions: Mapping[str, tuple[Any, Index]],
        layers: tuple[Any, ...],
    ) -> None:
        """Hold *variables* and *regions*, name -> (variable, where); *layers* infer."""
        self.names = names
        self.regions: Mapping[str, Index] = {name: where for name, (_, where) in regions.items()}
        self.variables = variables
        self.layers = layers
        self.masks: dict[int, np.ndarray] = {
            id(live): mask_of(live.shape, where) for live, where in regions.values()
        }
        self._parts = tuple(live for live, _ in regions.values())
        self._model = ref(model)
        guard.add(model, self)
        for each in (*variables, *self._parts):
            hold(each)
        for layer in layers:
            hold_statistics(layer)
        need_gradients(model)
        self._torch_hold: Any = None
        if BACKEND == "torch":
            from .torch_hold import TorchHold

            self._torch_hold = TorchHold(model, variables, regions.values())
        compile_anew(model)

    def thaw(self) -> None:
        """Let the variables be trained again, but for those that another freezing holds."""
        model = self._model()
        if model is None or self not in guard.HOLDERS.get(model, ()):
            return
        guard.remove(model, self)
        if self._torch_hold is not None:
            self._torch_hold.let_go(model)
        for each in (*self.variables, *self._parts):
            release(each)
        for layer in self.layers:
            if not any(layer is other for h in guard.holders() for other in h.layers):
                release_statistics(layer)
        need_gradients(model)
        compile_anew(model)


def freeze(
    model: Any,
    variables: Variables,
    names: Collection[str],
    *,
    train_statistics: bool,
    regions: Mapping[str, Index],
) -> KerasFreezing:
    """Hold the variables *names* still, and the statistics that belong to them."""
    wanted = variables_called(names, variables)
    in_part = {each.name: index for name, index in regions.items()
               if (each := variables.find(name)) is not None}  # fmt: skip
    asked = {id(each.live) for each in wanted}
    wholly = {id(each.live) for each in wanted if each.name not in in_part}
    every = list(statistics_in(model))
    held = [] if train_statistics else [s for s in every if belongs(s, wholly)]
    statistics = {id(v) for each in every for v in each.moved}
    kept = {id(v) for each in held for v in each.moved}
    still = (asked - statistics) | kept
    if not still:
        named = ", ".join(each.name for each in wanted)
        raise FreezeError(f"{named}: statistics, and train_statistics=True lets them move")
    found = [each for each in variables.by_name.values() if id(each.live) in still]
    refuse_traces(model, found)
    return KerasFreezing(
        model,
        tuple(each.name for each in found),
        variables=tuple(each.live for each in found if each.name not in in_part),
        regions={e.name: (e.live, in_part[e.name]) for e in found if e.name in in_part},
        layers=tuple(each.layer for each in held),
    )


def variables_called(names: Iterable[str], variables: Variables) -> list[Variable]:
    """Return the variables called *names*, aliases resolved; those of an optimizer are refused."""
    found = {name: variables.find(name) for name in names}
    for name, each in found.items():
        if each is None:
            raise no_such_tensor(name, variables.by_name)
    wanted = list({each.name: each for each in found.values() if each is not None}.values())
    others = [each.name for each in wanted if each.role is not None]
    if others:
        raise FreezeError(
            f"{', '.join(others)}: state of the optimizer or of the run; that of a variable stays "
            "as it is when the variable is frozen, and is not frozen by itself"
        )
    return wanted


def belongs(statistics: Statistics, frozen: set[int]) -> bool:
    """Return whether *statistics* are to be held with what is *frozen*, ids of variables."""
    if any(id(v) in frozen for v in statistics.moved):
        return True
    return bool(statistics.weights) and all(id(v) in frozen for v in statistics.weights)


def need_gradients(model: Any) -> None:
    """Let PyTorch compute no gradients of what is held; the other backends leave out what nobody
    uses when they compile.
    """
    if BACKEND != "torch":
        return
    trained, held = model.trainable_variables, guard.all_held()
    nothing_left = all(id(v) in held for v in trained)
    for each in trained:
        if each._value is not None:
            each._value.requires_grad = id(each) not in held or nothing_left
            each._value.grad = None
