"""Variables of an NNX module held still, bit for bit, whatever the training loop does.

    a variable      is given a class that does not move (held.py)
    its slots       likewise, in the optimizer that the session has
    its statistics  likewise, and their layer runs in inference mode

Layers are held that keep statistics of what is frozen, and those that rewrite a frozen weight.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from flax import nnx

from ...errors import FreezeError
from ...names import parent
from ...source import Index
from .held import Hold, held_layer_type, hold, let_go
from .module import hanging
from .trees import BoxCell
from .variables import Variable, Variables

#: How many freezings hold a layer in inference mode.
LAYERS: WeakKeyDictionary[Any, int] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a layer moves by itself, and the weights that belong to it; ids of variables."""

    layer: Any
    moved: frozenset[int]
    weights: frozenset[int]
    rewrites: bool  # the weights, each time it runs


class NnxFreezing:
    """Variables held still until `thaw`."""

    def __init__(
        self,
        names: tuple[str, ...],
        regions: Mapping[str, Index],
        boxes: Iterable[tuple[Any, Hold]],
        layers: Iterable[Any],
    ) -> None:
        """Hold *boxes*, each where its hold says, and *layers* in inference mode."""
        self.names = names
        self.regions: Mapping[str, Index] = dict(regions)
        self._boxes = list(boxes)
        self._layers = list(layers)
        for variable, by in self._boxes:
            hold(variable, by)
        for layer in self._layers:
            LAYERS[layer] = LAYERS.get(layer, 0) + 1
            if LAYERS[layer] == 1:
                kind: Any = type(layer)
                object.__setattr__(layer, "__class__", held_layer_type(kind))

    def thaw(self) -> None:
        """Let the variables be trained again, with the optimizer state they had."""
        for variable, by in self._boxes:
            let_go(variable, by)
        for layer in self._layers:
            LAYERS[layer] -= 1
            if not LAYERS[layer]:
                object.__setattr__(layer, "__class__", type(layer).held_base)
        self._boxes, self._layers = [], []


def freeze(
    module: Any,
    variables: Variables,
    asked: Collection[Variable],
    *,
    train_statistics: bool,
    regions: Mapping[str, Index],
) -> NnxFreezing:
    """Hold the variables *asked* for, and the statistics that belong to them."""
    partly = {variables.aliases.get(name, name): index for name, index in regions.items()}
    whole = frozenset(id(box(v)) for v in asked if v.name not in partly)
    every = list(statistics_in(module))
    statistics = [] if train_statistics else [s for s in every if kept(s, whole)]
    moved = frozenset().union(*(s.moved for s in every))
    ids = {id(box(v)) for v in asked} - (moved if train_statistics else frozenset())
    ids |= {each for s in statistics for each in s.moved}
    held = [
        v for v in variables.by_name.values() if isinstance(v.cell, BoxCell) and id(box(v)) in ids
    ]
    if not held:
        named = ", ".join(v.name for v in asked)
        raise FreezeError(f"{named}: statistics, and train_statistics=True lets them move")
    names = tuple(v.name for v in held)
    rewriting = [s.layer for s in every if s.rewrites and s.weights & ids]
    layers = {id(each): each for each in (*(s.layer for s in statistics), *rewriting)}
    return NnxFreezing(
        names, partly, holds(variables, held, partly), [] if train_statistics else layers.values()
    )


def holds(
    variables: Variables, held: Iterable[Variable], partly: Mapping[str, Index]
) -> Iterator[tuple[Any, Hold]]:
    """Yield each of the *held* variables, and its slots, with the hold on it."""
    shapes = {}
    for variable in held:
        shapes[variable.name] = tuple(variable.leaf.shape)
        yield box(variable), Hold(partly.get(variable.name), shapes[variable.name])
    for slot in variables.of_role("slot"):
        owner, shape = parent(slot.name), tuple(slot.leaf.shape)
        if owner not in shapes or not isinstance(slot.cell, BoxCell):
            continue
        if owner not in partly or shape == shapes[owner]:  # a factored slot has no such rows
            yield box(slot), Hold(partly.get(owner), shape)


def box(variable: Variable) -> Any:
    """Return the `nnx.Variable` of *variable*, or raise that it cannot be held."""
    cell = variable.cell
    if not isinstance(cell, BoxCell):
        raise FreezeError(
            f"{variable.name}: a bare array of the module; as an nnx.Variable it could be held"
        )
    if cell.variable.hijax or cell.variable.ref:
        raise FreezeError(f"{variable.name}: a variable by reference (hijax or ref) cannot be held")
    return cell.variable


def kept(statistics: Statistics, asked: frozenset[int]) -> bool:
    """Return whether *statistics* are to be held with what is *asked* for, ids of variables."""
    if statistics.moved & asked:
        return True
    return bool(statistics.moved and statistics.weights) and statistics.weights <= asked


def statistics_in(module: Any) -> Iterator[Statistics]:
    """Yield the statistics of every layer of *module* that has some or rewrites its weights.

    SpectralNorm keeps them by the path of the weight, and so does what wraps a layer likewise.
    """
    layers = [module] if isinstance(module, nnx.Module) else []
    layers += [node for _, node in nnx.iter_modules(module) if node is not module]
    for layer in layers:
        inner = getattr(layer, "layer_instance", None)
        if isinstance(inner, nnx.Module):
            moved = {id(h.value) for h in hanging(layer) if isinstance(h.value, nnx.BatchStat)}
            moved -= {id(h.value) for h in hanging(inner)}
            weights = {id(h.value) for h in hanging(inner) if isinstance(h.value, nnx.Param)}
            yield Statistics(layer, frozenset(moved), frozenset(weights), rewrites=True)
            continue
        own = {h.keys[0]: h.value for h in hanging(layer) if len(h.keys) == 1}
        moved = {id(v) for v in own.values() if isinstance(v, nnx.BatchStat)}
        params = {key: id(v) for key, v in own.items() if isinstance(v, nnx.Param)}
        if moved:
            scale = {params["scale"]} if "scale" in params else set(params.values())
            yield Statistics(layer, frozenset(moved), frozenset(scale), rewrites=False)
