"""What the session on a pytree and the one on a module have in common."""

import logging
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from inspect import signature
from itertools import groupby
from operator import itemgetter
from typing import Any

import jax
import numpy as np

from ...boxes import Box
from ...errors import FreezeError, RestoreError, ResumeError, number_of
from ...names import parent
from ...processes import Processes
from ...source import Index, no_such_tensor
from ...spec import TensorSpec, numpy_dtype
from ..base import Session
from ..looking import Live, Unsure
from .arrays import array_of, is_abstract, leaf_like, leaf_of_pieces, leaf_spec, leaf_specs, piece
from .distributed import processes
from .memory import Replaced
from .shards import boxes_of, is_divided
from .trees import BoxCell
from .variables import Variable, Variables

log = logging.getLogger("warmstart")


class JaxSession(Session):
    """Variables in cells.  Whoever derives from it looks for them."""

    engine = "jax"

    def __init__(self) -> None:
        self._seen = Variables()  # when last looked

    @abstractmethod
    def _find_all(self) -> Variables:
        """Return the variables as they are now."""

    @abstractmethod
    def _begins(self) -> bool:
        """Return whether it is known what the optimizer's state begins with."""

    @abstractmethod
    def _first_state(self) -> Mapping[str, Any]:
        """Return the leaves that the optimizer begins with, by name, where that is known."""

    @property
    @abstractmethod
    def tree(self) -> Any:
        """The model as it is now: a new tree after each assignment, or the module itself."""

    @property
    @abstractmethod
    def opt_state(self) -> Any:
        """The optimizer's state as it is now, None where there is none."""

    @property
    def model(self) -> Any:
        return self.tree

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        return Live(self._spec_last_seen, self._all_specs)

    @property
    def aliases(self) -> Mapping[str, str]:
        return self.look().aliases

    @property
    def synonyms(self) -> Mapping[str, str]:
        return self.look().synonyms

    @property
    def pieces(self) -> Mapping[str, Sequence[Box]]:
        if self.processes.count == 1:
            return {}
        return Live(self._pieces_last_seen, self._all_pieces)

    @property
    def processes(self) -> Processes:
        """Those of `jax.distributed.initialize`, where it was called."""
        return processes()

    def read(self, name: str) -> np.ndarray:
        return array_of(name, self.find(name).leaf)

    def read_slice(self, name: str, index: Index) -> np.ndarray:
        leaf = self.find(name).leaf
        return piece(name, leaf, index) if is_divided(leaf) else array_of(name, leaf)[index]

    def look(self) -> Variables:
        """Return the variables as they are now."""
        self._seen = self._find_all()
        return self._seen

    def find(self, name: str) -> Variable:
        """Return the variable of that name or alias.  Raise NoSuchTensor."""
        variable = self._seen.find(name)
        if variable is None or not variable.cell.still():
            variable = self.look().find(name)
        if variable is None:
            raise no_such_tensor(name, self._seen.by_name)
        return variable

    def _assign(self, values: "Iterable[tuple[str, np.ndarray]]") -> None:
        replaced = Replaced()
        for name, array in values:
            variable = self.find(name)
            variable.cell.put(leaf_like(name, variable.leaf, array))
            replaced.add(array.nbytes)

    def _assign_pieces(self, values: Iterable[tuple[str, Box, np.ndarray]]) -> None:
        """Set each variable once its pieces, which come one after another, have all come."""
        for name, several in groupby(values, itemgetter(0)):
            variable = self.find(name)
            variable.cell.put(leaf_of_pieces(name, variable.leaf, [item[1:] for item in several]))

    def check_initial(self, names: Collection[str]) -> None:
        """Raise RestoreError for what would stay without a value if *names* were not loaded.

        Of random states and counters of the run, which no start restores, `initialize` warns.
        """
        without = ("run", "slot") if self._begins() else ("run",)
        lost = [v for v in self._abstract(names) if v.role not in without]
        rows = [f"  {v.name} {leaf_spec(v.name, v.leaf, v.role)}" for v in lost]
        if rows:
            raise RestoreError(
                "\n".join(
                    [
                        "the model is abstract, and these would have no values:",
                        *rows,
                        "Load them too (another source in a list, or a rule for their names), or "
                        "make the model itself in place of its shapes.",
                    ]
                )
            )

    def initialize(self, names: Collection[str]) -> list[str]:
        """Give the optimizer's state the values it begins with.

        Random states of an abstract model have none to begin with: those left are warned about.
        """
        variables = self.look()
        empty = [v.name for v in self._abstract(names)]
        made: list[str] = []
        if any(variables.by_name[name].role != "trainable" for name in empty):
            first = self._first_state()
            made = [name for name in empty if name in first]
            for name in made:
                variables.by_name[name].cell.put(first[name])
        left = [name for name in empty if name not in made]
        if left:
            log.warning(
                "%s of the abstract model: no value still, and none to begin with: %s; restore "
                "them too, or make the model itself",
                number_of(len(left), "variable"), ", ".join(left),
            )  # fmt: skip
        return made

    def _abstract(self, names: Collection[str]) -> list[Variable]:
        """Return those of *names* that have no value yet."""
        variables = self.look()
        return [v for n in names if (v := variables.find(n)) and is_abstract(v.leaf)]

    def first_value(self, name: str) -> np.ndarray | None:
        """Return what the optimizer begins with under *name*; of a variable nothing is known."""
        leaf = self._first_state().get(name)
        return None if leaf is None else array_of(name, leaf)

    def draw(
        self, initializer: Callable[..., Any], shape: tuple[int, ...], dtype: str
    ) -> np.ndarray:
        """Return what *initializer* makes; one of JAX is given the key of the seed 0 first."""
        key = (jax.random.key(0),) if wants_key(initializer) else ()
        return np.asarray(initializer(*key, shape, numpy_dtype(dtype)))

    def names_of(self, variables: Iterable[Any]) -> list[str | None]:
        """Return the names of leaves, of variables of NNX, or of whatever has a name."""
        variables, known = list(variables), self.look().by_name.values()
        names = {id(v.leaf): v.name for v in known}
        names |= {id(v.cell.variable): v.name for v in known if isinstance(v.cell, BoxCell)}
        plain = super().names_of(variables)
        return [names.get(id(v)) or name for v, name in zip(variables, plain, strict=True)]

    def state(self) -> dict[str, Any]:
        """Return on what the run computes; random keys are variables."""
        return {"platform": jax.default_backend(), "devices": jax.device_count()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Warn where the run so far computed on something else."""
        here = self.state()
        if state.keys() != here.keys():
            raise ResumeError(
                f"the checkpoint's state of JAX has {', '.join(map(repr, sorted(state)))}; "
                f"expected {', '.join(map(repr, sorted(here)))}"
            )
        if here != state:
            log.warning(
                "the run so far computed on %s (%d devices), this process on %s (%d): sums may "
                "differ in their last bits",
                state["platform"], state["devices"], here["platform"], here["devices"],
            )  # fmt: skip

    def unresumable(self) -> Mapping[str, str]:
        return self.look().unheld

    def variables_called(self, names: Collection[str]) -> list[Variable]:
        """Return the variables *names*; raise FreezeError for what belongs to an optimizer."""
        variables = self.look()
        found = {name: variables.find(name) for name in names}
        for name, variable in found.items():
            if variable is None:
                raise no_such_tensor(name, variables.by_name)
            if variable.role == "slot":
                raise FreezeError(
                    f"{name}: state of the optimizer; it stays as it is when "
                    f"{parent(name)} is frozen, and is not frozen by itself"
                )
        return [variable for variable in found.values() if variable is not None]

    def _last_seen(self, name: str) -> Variable:
        """Return the variable *name*, if it is where it was seen last; else Unsure."""
        variable = self._seen.by_name.get(name)
        if variable is None or not variable.cell.still():
            raise Unsure
        return variable

    def _spec_last_seen(self, name: str) -> TensorSpec:
        variable = self._last_seen(name)
        return leaf_spec(name, variable.leaf, variable.role)

    def _pieces_last_seen(self, name: str) -> tuple[Box, ...]:
        leaf = self._last_seen(name).leaf
        if not is_divided(leaf):
            raise KeyError(name)
        return boxes_of(leaf)

    def _all_pieces(self) -> dict[str, tuple[Box, ...]]:
        found = self.look().by_name.values()
        return {v.name: boxes_of(v.leaf) for v in found if is_divided(v.leaf)}

    def _all_specs(self) -> dict[str, TensorSpec]:
        return leaf_specs({v.name: (v.leaf, v.role) for v in self.look().by_name.values()})


def wants_key(initializer: Callable[..., Any]) -> bool:
    """Return whether *initializer* is one of JAX: a function of (key, shape, dtype)."""
    try:
        return next(iter(signature(initializer).parameters), "") == "key"
    except (TypeError, ValueError):  # it is not written in Python
        return False
