"""A session on a dictionary of arrays, to test restoring and freezing without a framework."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import CheckpointError, FreezeError
from ..names import parent
from ..sessions.base import Freezing, Session
from ..source import Index, no_such_tensor
from ..spec import TensorSpec


class MemorySession(Session):
    """Variables by spec; each has no value until it is assigned or initialized (to minus one)."""

    engine = "memory"

    def __init__(
        self,
        specs: Iterable[TensorSpec],
        aliases: Mapping[str, str] | None = None,
        slots_to_come: Collection[str] = (),
    ) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._aliases = dict(aliases or {})
        self.slots_to_come = set(slots_to_come)
        self.arrays: dict[str, np.ndarray] = {}
        self.held: set[str] = set()  # frozen
        self.order: list[str] = []  # names in the order they were assigned

    @property
    def anchor(self) -> Any:
        return self

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        return self._specs

    @property
    def aliases(self) -> Mapping[str, str]:
        return self._aliases

    def read(self, name: str) -> np.ndarray:
        own = self._aliases.get(name, name)
        if own not in self._specs:
            raise no_such_tensor(name, self._specs)
        if own not in self.arrays:
            raise CheckpointError(f"{name!r} has no value yet")
        return self.arrays[own]

    def creatable(self, specs: Mapping[str, TensorSpec]) -> Mapping[str, TensorSpec]:
        made = {n: s for n, s in specs.items() if n in self.slots_to_come}
        return {n: TensorSpec(n, "float32", s.shape, "slot") for n, s in made.items()}

    def _assign(self, values: Iterable[tuple[str, np.ndarray]]) -> None:
        for alias, array in values:
            name = self._aliases.get(alias, alias)
            self.order.append(name)
            if name in self.slots_to_come:
                self._specs[name] = TensorSpec(name, "float32", array.shape, "slot")
            if name not in self._specs:
                raise no_such_tensor(name, self._specs)
            self.arrays[name] = np.array(array)

    def initialize(self, names: Collection[str]) -> list[str]:
        new = [name for name in names if name not in self.arrays]
        for name in new:
            spec = self._specs[name]
            self.arrays[name] = np.full(spec.shape, -1, spec.numpy_dtype)
        return new

    def freeze(
        self,
        names: Collection[str],
        *,
        train_statistics: bool = False,
        regions: Mapping[str, Index] | None = None,
    ) -> Freezing:
        if regions:
            raise FreezeError("arrays in memory are frozen whole")
        return MemoryFreezing(tuple(names), self.held)

    def train(self, steps: int) -> None:
        """Count every slot up, made where it is still to come, and add it to its variable.

        Trainable variables without a slot go up by one; what is frozen stays, with its slots.
        """
        for _ in range(steps):
            for name in self.slots_to_come - self._specs.keys():
                self._specs[name] = self._specs[parent(name)]._replace(name=name, role="slot")
                self.arrays[name] = np.zeros_like(self.arrays[parent(name)])
            trained = {n for n, s in self._specs.items() if s.role == "trainable"} - self.held
            moves = {name: np.ones_like(self.arrays[name]) for name in trained}
            for name, spec in self._specs.items():
                if spec.role == "slot" and parent(name) in moves:
                    self.arrays[name] = self.arrays[name] + moves[parent(name)]
                    moves[parent(name)] = self.arrays[name]
            for name, move in moves.items():
                self.arrays[name] = self.arrays[name] + move

    def predictor(
        self, input_names: Sequence[str] | None, output_names: Sequence[str] | None
    ) -> Callable[..., list[np.ndarray]]:
        return lambda *inputs: list(inputs)


class MemoryFreezing:
    """The names that `MemorySession.train` leaves alone."""

    def __init__(self, names: tuple[str, ...], held: set[str]) -> None:
        self.names = names
        self.regions: Mapping[str, Index] = {}
        self._held = held
        held.update(names)

    def thaw(self) -> None:
        self._held.difference_update(self.names)
