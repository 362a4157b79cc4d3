"""Variables of a module held still, bit for bit, whatever the training loop does.

    a parameter     needs no gradient and has none; optimizers are guarded (guard.py)
    its statistics  the layer runs in evaluation mode, also after `module.train()` (statistics.py)
    an embedding    with max_norm gets the rows back that its forward shortens
    any buffer      named itself: its layer runs on a copy (holding.py)

Nothing of an optimizer is changed, so its slots are what they were when the variables are thawed.
"""

from collections.abc import Collection, Iterator, Mapping
from weakref import WeakKeyDictionary, WeakSet, ref

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from ...errors import FreezeError
from ...names import parent
from ...source import Index, no_such_tensor
from . import guard
from .holding import hold_buffers, hold_rows, hold_statistics
from .statistics import Statistics, statistics_in
from .variables import Variable, Variables, variables_of


class TorchFreezing:
    """Variables of one module, held still until `thaw`."""

    def __init__(
        self,
        module: nn.Module,
        names: tuple[str, ...],
        *,
        parameters: tuple[Tensor, ...],
        layers: list[nn.Module],
        buffers: list[Tensor],
    ) -> None:
        """Hold *parameters* and *buffers* still, and *layers* in evaluation mode."""
        self.names = names
        self.regions: Mapping[str, Index] = {}
        self.parameters = parameters
        self.looked_into: WeakSet[Optimizer] = WeakSet()
        self.trained = {id(p) for p in parameters if p.requires_grad or guard.trained(p)}
        self.modes: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary(
            {layer: layer.training or guard.trains(layer) for layer in layers}
        )
        self._module = ref(module)
        self._hooks = list(hooks(module, parameters, layers, buffers))
        for parameter in parameters:
            parameter.requires_grad = False  # the method of that name refuses lazy parameters
            parameter.grad = None
        guard.add(module, self)

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


def freeze(
    module: nn.Module, names: Collection[str], *, train_statistics: bool = False
) -> TorchFreezing:
    """Hold the variables *names* still, and the statistics that belong to them."""
    variables = variables_of(module)
    wanted = variables_called(names, variables)
    asked = {id(tensor) for variable in wanted for tensor in variable.tensors}
    all_statistics = list(statistics_in(module))
    held = [] if train_statistics else [s for s in all_statistics if belongs(s, asked)]
    statistics = {id(buffer) for each in all_statistics for buffer in each.buffers}
    kept = {id(buffer) for each in held for buffer in each.buffers}
    still = (asked - statistics) | kept
    if not still:
        named = ", ".join(variable.name for variable in wanted)
        raise FreezeError(f"{named}: statistics, and train_statistics=True lets them move")
    tensors = [t for variable in variables.by_name.values() for t in variable.tensors]
    return TorchFreezing(
        module,
        tuple(name for name, v in variables.by_name.items() if id(v.tensor) in still),
        parameters=tuple(t for t in tensors if id(t) in still and isinstance(t, nn.Parameter)),
        layers=[each.layer for each in held],
        buffers=[t for t in tensors if id(t) in still - kept and not isinstance(t, nn.Parameter)],
    )


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


def hooks(
    module: nn.Module,
    parameters: Collection[Tensor],
    layers: Collection[nn.Module],
    buffers: Collection[Tensor],
) -> Iterator[RemovableHandle]:
    """Set the hooks that hold all this still, and yield their handles."""
    for layer in layers:
        yield from hold_statistics(layer)
    held, frozen = {id(b) for b in buffers}, {id(p) for p in parameters}
    for layer in module.modules():
        leaves = [leaf for leaf, buffer in layer._buffers.items() if id(buffer) in held]
        if leaves:
            yield from hold_buffers(layer, leaves)
        shortens = getattr(layer, "max_norm", None) is not None
        if shortens and id(layer._parameters.get("weight")) in frozen:
            yield from hold_rows(layer)
