"""The session on a PyTorch module and its optimizer.

Variables are those of `state_dict`, under its names; slots are `<variable>/<slot>`.  They are
looked for anew at every call, so layers may be replaced, lazy ones may get their shape and
optimizers may take their first step at any time.  Assigning writes into the tensors that are
there: whoever else holds them, an optimizer or a tied layer, sees the new values.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from ...boxes import Box
from ...errors import FreezeError
from ...layer import Layer
from ...processes import Processes
from ...source import Index, no_such_tensor
from ...spec import TensorSpec
from ..base import Session, refusing
from ..looking import Live, Unsure
from . import distributed, meta, resuming, run_state, shards
from .arrays import (
    array_of,
    drawn,
    materialise,
    piece,
    tensor_spec,
    tensor_specs,
    write,
    write_piece,
)
from .freezing import TorchFreezing, freeze
from .layers import layers_of
from .optimizer import NamedOptimizer, Slot, named
from .predict import predictor
from .variables import NOTHING, Variables, variables_of

log = logging.getLogger("warmstart")


class TorchSession(Session):
    """A module and, if one is given, its optimizer."""

    engine = "torch"
    convention = "torch"

    def __init__(self, module: nn.Module, optimizer: Optimizer | None = None) -> None:
        self.module = distributed.unwrapped(module)
        self.optimizer = optimizer
        self._seen = NOTHING  # when last looked through
        self._slots: Mapping[str, Slot] = {}  # likewise
        self._warned: frozenset[str] = frozenset()

    @property
    def anchor(self) -> nn.Module:
        return self.module

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Every variable as it is now.

        Lazy parameters are left out, with one warning, until a batch or an assignment gives them
        their shape.
        """
        return Live(self._spec_last_seen, self._all_specs)

    @property
    def aliases(self) -> Mapping[str, str]:
        return Live(self._alias_last_seen, lambda: self._look().aliases)

    @property
    def pieces(self) -> Mapping[str, Sequence[Box]]:
        if self.processes.count == 1:
            return {}
        return Live(self._pieces_last_seen, self._all_pieces)

    @property
    def processes(self) -> Processes:
        """Those of torch.distributed's default group, when there is one."""
        return distributed.processes()

    def read(self, name: str) -> np.ndarray:
        return array_of(name, self._find(name))

    def read_slice(self, name: str, index: Index) -> np.ndarray:
        tensor = self._find(name)
        if shards.piece_of(tensor) is None:
            return np.asarray(array_of(name, tensor)[index])
        return piece(name, tensor, index)

    def creatable(self, specs: Mapping[str, TensorSpec]) -> Mapping[str, TensorSpec]:
        """Return the lazy parameters and the optimizer slots among *specs*."""
        variables = self._look()
        lazy = {
            name: specs[name]._replace(name=name, role=variable.role)
            for name in specs
            if (variable := variables.find(name)) and variable.lazy
        }
        return {**lazy, **self._named_optimizer(variables).creatable(specs)}

    def _assign(self, values: Iterable[tuple[str, np.ndarray]]) -> None:
        variables = self._look()
        optimizer = self._named_optimizer(variables)
        for name, array in values:
            variable = variables.find(name)
            if variable is not None:
                materialise(variable.tensor, array)
                meta.allocate(variable.tensor)
                write(name, variable.tensor, array)
            elif not optimizer.assign(name, array):
                raise no_such_tensor(name, self.specs)

    def _assign_pieces(self, values: Iterable[tuple[str, Box, np.ndarray]]) -> None:
        variables = self._look()
        optimizer = self._named_optimizer(variables)
        for name, box, array in values:
            variable = variables.find(name)
            if variable is not None:
                meta.allocate(variable.tensor)
                write_piece(name, variable.tensor, box, array)
            elif not optimizer.assign(name, array, box):
                raise no_such_tensor(name, self.specs)

    def check_initial(self, names: Collection[str]) -> None:
        meta.check(self.module, self._look(), names)

    def initialize(self, names: Collection[str]) -> list[str]:
        """Give those of *names* that are on the meta device memory and their initial values."""
        return meta.initialize(self.module, self._look(), names)

    def first_value(self, name: str) -> np.ndarray | None:
        """Return what the optimizer begins with under *name*; of a variable nothing is known."""
        return self._named_optimizer(self._look()).first_value(name)

    def draw(
        self, initializer: Callable[..., Any], shape: tuple[int, ...], dtype: str
    ) -> np.ndarray:
        return drawn(initializer, shape, dtype)

    def optimized(self) -> Collection[str]:
        return self._named_optimizer(self._look()).parameters.keys()

    def names_of(self, variables: Iterable[Any]) -> list[str | None]:
        names = self._look().names_of_tensors()
        return [names.get(id(variable)) for variable in variables]

    def state(self) -> dict[str, Any]:
        return run_state.state(self.module, self._named_optimizer(self._look()))

    def misfits(self, state: Mapping[str, Any]) -> Mapping[str, str]:
        optimizer = self._named_optimizer(self._look())
        return resuming.what_changes(self.module, optimizer, state)[1]

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.load_fitting(state, refusing)

    def load_fitting(self, state: Mapping[str, Any], accepts: Callable[[str], bool]) -> None:
        resuming.load_state(self.module, self._named_optimizer(self._look()), state, accepts)

    def unresumable(self) -> Mapping[str, str]:
        variables = self._look()
        return run_state.unresumable(self.module, variables, self._named_optimizer(variables))

    def layers(self) -> Iterable[Layer]:
        """Return the layers of the kinds that `layer.KINDS` lists."""
        return layers_of(self.module, self._look())

    def freeze(
        self,
        names: Collection[str],
        *,
        train_statistics: bool = False,
        regions: Mapping[str, Index] | None = None,
    ) -> TorchFreezing:
        divided = [name for name in regions or {} if name in self.pieces]
        if divided:
            raise FreezeError(
                f"{', '.join(map(repr, divided))}: of these each process has a part, and a part "
                "cannot be frozen in part; freeze them as a whole"
            )
        return freeze(self.module, names, train_statistics=train_statistics, regions=regions or {})

    def predictor(
        self, input_names: Sequence[str] | None, output_names: Sequence[str] | None
    ) -> Callable[..., list[np.ndarray]]:
        return predictor(self.module, input_names, output_names)

    def _look(self) -> Variables:
        """Return the variables as they are now."""
        self._seen = variables_of(self.module)
        self._slots = self._named_optimizer(self._seen).slots()
        return self._seen

    def _named_optimizer(self, variables: Variables) -> NamedOptimizer:
        return named(self.optimizer, variables.names_of_tensors())

    def _find(self, name: str) -> Tensor:
        """Return the live tensor *name*."""
        try:
            return self._last_seen(name)[0]
        except Unsure:
            self._look()
        try:
            return self._last_seen(name)[0]
        except Unsure:
            raise no_such_tensor(name, self.specs) from None

    def _last_seen(self, name: str) -> tuple[Tensor, str]:
        """Return the tensor *name* and its role, if it is where it was seen last; else Unsure."""
        variable = self._seen.find(name)
        if variable is not None and variable.still(self.module):
            return variable.tensor, variable.role
        slot = self._slots.get(name)
        if slot is None or self.optimizer is None:
            raise Unsure
        if not self._seen.by_name[slot.owner].still(self.module):
            raise Unsure
        tensor = self.optimizer.state.get(slot.parameter, {}).get(slot.key)
        if tensor is None:
            raise Unsure
        return tensor, "slot"

    def _spec_last_seen(self, name: str) -> TensorSpec:
        tensor, role = self._last_seen(name)
        if name in self._seen.aliases or is_lazy(tensor):
            raise KeyError(name)
        return tensor_spec(name, tensor, role)

    def _alias_last_seen(self, name: str) -> str:
        self._last_seen(name)
        return self._seen.aliases[name]

    def _pieces_last_seen(self, name: str) -> tuple[Box, ...]:
        box = shards.piece_of(self._last_seen(name)[0])
        if box is None or name in self._seen.aliases:
            raise KeyError(name)
        return (box,)

    def _all_pieces(self) -> dict[str, tuple[Box, ...]]:
        variables = self._look()
        tensors = {v.name: v.tensor for v in variables.by_name.values() if not v.lazy}
        tensors |= {name: slot.tensor for name, slot in self._slots.items()}
        tensors |= self._named_optimizer(variables).coming_shared()
        found = {name: shards.piece_of(tensor) for name, tensor in tensors.items()}
        return {name: (box,) for name, box in found.items() if box is not None}

    def _all_specs(self) -> dict[str, TensorSpec]:
        variables = self._look()
        self._warn_of_lazy(variables)
        tensors = {v.name: (v.tensor, v.role) for v in variables.by_name.values() if not v.lazy}
        slots = {name: (slot.tensor, "slot") for name, slot in self._slots.items()}
        return tensor_specs({**tensors, **slots})

    def _warn_of_lazy(self, variables: Variables) -> None:
        lazy = frozenset(v.name for v in variables.by_name.values() if v.lazy)
        if lazy - self._warned:
            self._warned = lazy
            log.warning(
                "no shape is known yet of %s: left out until one batch has run through the module",
                ", ".join(sorted(lazy)),
            )
