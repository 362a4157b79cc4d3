"""Variables of a module held still, bit for bit, whatever the training loop does.

    a parameter     needs no gradient and has none; optimizers are guarded (guard.py)
    a part of one   has a gradient of zero, and is put back after each step (regions.py)
    its statistics  the layer runs in evaluation mode, also after `module.train()` (statistics.py)
    an embedding    with max_norm gets the rows back that its forward shortens
    any buffer      named itself: its layer runs on a copy (holding.py)
    an average      of a model, torch's AveragedModel: what is held is put back (averages.py)

Nothing of an optimizer is changed, so its slots are what they were when the variables are thawed.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary, WeakSet, ref

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from ...errors import FreezeError
from ...names import parent
from ...source import Index, no_such_tensor
from . import guard
from .averages import HeldAverage, hold_averages
from .compiling import compile_anew
from .holding import hold_buffers, hold_rows, hold_statistics
from .regions import Part, part_of
from .statistics import Statistics, statistics_in
from .variables import Variable, Variables, variables_of


@dataclass(frozen=True, slots=True)
class Held:
    """What of a module is to be held still."""

    names: tuple[str, ...]
    regions: Mapping[str, Index]  # of those that are held in part
    tensors: tuple[Tensor, ...]  # all that are held as a whole
    parts: tuple[Part, ...]
    layers: tuple[nn.Module, ...]  # those with statistics that are held
    buffers: tuple[Tensor, ...]  # those that are no layer's statistics

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """Those of the tensors that an optimizer may have."""
        return tuple(tensor for tensor in self.tensors if isinstance(tensor, nn.Parameter))


class TorchFreezing:
    """Variables of one module, held still until `thaw`."""

    def __init__(self, module: nn.Module, held: Held) -> None:
        self.names = held.names
        self.regions: Mapping[str, Index] = held.regions
        self.parameters = held.parameters
        self.parts = held.parts
        self.looked_into: WeakSet[Optimizer] = WeakSet()
        self.trained = {id(p) for p in self.parameters if p.requires_grad or guard.trained(p)}
        self.modes: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary(
            {layer: layer.training or guard.trains(layer) for layer in held.layers}
        )
        self._module = ref(module)
        self._hooks = list(hooks(module, held))
        for parameter in self.parameters:
            parameter.requires_grad = False  # the method of that name refuses lazy parameters
            parameter.grad = None
        guard.add(module, self)
        compile_anew()

    def thaw(self) -> None:
        """Let the variables be trained again, but for those that another freezing holds."""
        module = self._module()
        if module is None or self not in guard.HOLDERS.get(module, ()):
            return
        guard.remove(module, self)
        for hook in self._hooks:
            hook.remove()
        for layer, training in self.modes.items():
            if not guard.trains(layer):
                layer.training = training and (module.training or layer is module)
        for parameter in self.parameters:
            if id(parameter) in self.trained and not guard.trained(parameter):
                parameter.requires_grad = True
        compile_anew()


def freeze(
    module: nn.Module,
    names: Collection[str],
    *,
    train_statistics: bool,
    regions: Mapping[str, Index],
) -> TorchFreezing:
    """Hold the variables *names* still, and the statistics that belong to them.

    Those in *regions* are held in part.
    """
    variables = variables_of(module)
    wanted = variables_called([name for name in names if name not in regions], variables)
    partly = variables_called(regions, variables)
    in_part = {v.name: index for v, index in zip(partly, regions.values(), strict=True)}
    parts = parts_of([variables.by_name[name] for name in in_part], in_part)
    asked = {id(tensor) for variable in wanted for tensor in variable.tensors}
    all_statistics = list(statistics_in(module))
    held = [] if train_statistics else [s for s in all_statistics if belongs(s, asked)]
    statistics = {id(buffer) for each in all_statistics for buffer in each.buffers}
    kept = {id(buffer) for each in held for buffer in each.buffers}
    still = (asked - statistics) | kept
    if not still and not parts:
        named = ", ".join(variable.name for variable in wanted)
        raise FreezeError(f"{named}: statistics, and train_statistics=True lets them move")
    tensors = [t for v in variables.by_name.values() for t in v.tensors if id(t) in still]
    loose = (t for t in tensors if id(t) not in kept and not isinstance(t, nn.Parameter))
    what = Held(
        tuple(n for n, v in variables.by_name.items() if id(v.tensor) in still or n in in_part),
        in_part,
        tuple(tensors),
        parts,
        tuple(each.layer for each in held),
        tuple(loose),
    )
    return TorchFreezing(module, what)


def parts_of(variables: Collection[Variable], regions: Mapping[str, Index]) -> tuple[Part, ...]:
    """Return the parts of *variables* that *regions* mean; only parameters have some."""
    buffers = [v.name for v in variables if not isinstance(v.tensor, nn.Parameter)]
    if buffers:
        raise FreezeError(
            f"{', '.join(buffers)}: only parameters can be frozen in part, and these are buffers; "
            "freeze them as a whole"
        )
    return tuple(part_of(tensor, regions[v.name]) for v in variables for tensor in v.tensors)


def variables_called(names: Collection[str], variables: Variables) -> list[Variable]:
    """Return the variables called *names*, aliases resolved."""
    found = {name: variables.find(name) for name in names}
    unknown = [name for name, variable in found.items() if variable is None]
    slots = [name for name in unknown if variables.find(parent(name))]
    if slots:
        raise FreezeError(
            f"{', '.join(slots)}: state of the optimizer; it stays as it is when its variable is "
            "frozen, and is not frozen by itself"
        )
    if unknown:
        raise no_such_tensor(unknown[0], variables.by_name)
    return [variable for variable in found.values() if variable is not None]


def belongs(statistics: Statistics, frozen: set[int]) -> bool:
    """Return whether *statistics* are to be held with what is *frozen*, ids of tensors."""
    if any(id(buffer) in frozen for buffer in statistics.buffers):
        return True
    return bool(statistics.weights) and all(id(w) in frozen for w in statistics.weights)


def hooks(module: nn.Module, what: Held) -> Iterator[RemovableHandle | HeldAverage]:
    """Set the hooks that hold all this still, and yield their handles."""
    for part in what.parts:
        yield part.watch()
    for layer in what.layers:
        yield from hold_statistics(layer)
    yield from hold_averages(module, what.tensors, what.parts)
    held = {id(buffer) for buffer in what.buffers}
    rows: dict[int, Part | None] = {id(p): None for p in what.parameters}
    rows |= {id(part.tensor): part for part in what.parts}
    for layer in module.modules():
        leaves = [leaf for leaf, buffer in layer._buffers.items() if id(buffer) in held]
        if leaves:
            yield from hold_buffers(layer, leaves)
        weight = id(layer._parameters.get("weight"))
        if getattr(layer, "max_norm", None) is not None and weight in rows:
            in_part = rows[weight]
            yield from hold_rows(layer, None if in_part is None else in_part.mask())
