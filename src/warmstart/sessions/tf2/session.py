"""A `tf.Module`, a `tf.train.Checkpoint` or the like as a session: its variables, live."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ...source import Index, no_such_tensor
from ...spec import TensorSpec, numpy_dtype
from ..base import Session
from . import freezing, run_state, values
from .first_slots import first_values
from .objects import variable_in
from .optimizers import build
from .predict import predictor
from .variables import Variable, Variables, variables_of


class TF2Session(Session):
    """An object of TensorFlow 2 whose variables are eager, and its optimizer if one is given.

    Names are the shortest ways of attributes, as in the checkpoints of TensorFlow.
    """

    engine = "tf2"
    convention = "keras"

    def __init__(self, root: Any, optimizer: Any = None) -> None:
        self.root = root
        self.optimizer = optimizer
        self._seen = Variables()  # when last looked at
        self._settled: tuple[Variables, Mapping[str, TensorSpec]] | None = None  # in `reading`

    @property
    def anchor(self) -> Any:
        return self.root

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        if self._settled is not None:
            return self._settled[1]
        return specs_of(self.look())

    @property
    def aliases(self) -> Mapping[str, str]:
        return self.look().aliases

    @property
    def derived(self) -> Collection[str]:
        return self.look().derived

    @property
    def synonyms(self) -> Mapping[str, str]:
        return self.look().synonyms

    def look(self) -> Variables:
        """Return the variables as they are now."""
        if self._settled is not None:
            return self._settled[0]
        self._seen = variables_of(self.root, self.optimizer)
        return self._seen

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Look at the variables once in the block, in which none is changed."""
        before, variables = self._settled, self.look()
        self._settled = before or (variables, specs_of(variables))
        try:
            yield
        finally:
            self._settled = before

    def read(self, name: str) -> "np.ndarray":
        return values.read(self._find(name))

    def _find(self, name: str) -> Variable:
        """Return the variable *name*, looking again only if it is not where it was."""
        found = self._seen.find(name)
        if found is None or not found.still:
            found = self.look().find(name)
        if found is None:
            raise no_such_tensor(name, self._seen.by_name)
        return found

    def creatable(self, specs: Mapping[str, TensorSpec]) -> Mapping[str, TensorSpec]:
        """Return those of *specs* that optimizers not built yet would make.

        A variable gets all of its slots or none: no optimizer can go on from half a state.
        """
        variables = self.look()
        coming = variables.coming
        own = {variables.canonical(name) for name in specs}
        wanted = [coming[name] for name in coming if name in own]
        half = {v.owner for v in coming.values() if v.owner and v.name not in own}
        return {v.name: v.spec for v in wanted if v.owner not in half}

    def optimized(self) -> Collection[str]:
        return self.look().optimized

    def first_value(self, name: str) -> "np.ndarray | None":
        """Return what the optimizer begins with under *name*; of a variable nothing is known."""
        variables = self.look()
        slot = variables.find(name) or variables.coming.get(name)
        if slot is None or not slot.owner:
            return None
        found = (first_values(each, slot.spec) for each in variables.optimizers)
        fillings = [each[slot.key] for each in found if slot.key in each]
        if not fillings:
            return None
        value = np.array(fillings[0], numpy_dtype(slot.spec.dtype))
        return np.broadcast_to(value, slot.spec.shape)

    def names_of(self, variables: Iterable[Any]) -> list[str | None]:
        names = {id(v.inner): name for name, v in self.look().by_name.items()}
        return [names.get(id(variable_in(variable))) for variable in variables]

    def _assign(self, pairs: "Iterable[tuple[str, np.ndarray]]") -> None:
        for name, array in pairs:
            if self._seen.find(name) is None:
                self._make_slots()
            values.write(self._find(name), array)

    def _make_slots(self) -> None:
        """Let every optimizer make what it keeps for the variables that it is to train."""
        variables = self.look()
        for optimizer in variables.optimizers:
            build(optimizer, [v.value for v in variables.trained])

    def state(self) -> dict[str, Any]:
        return run_state.state(self.noted)

    def load_state(self, state: Mapping[str, Any]) -> None:
        run_state.load_state(state)

    def unresumable(self) -> Mapping[str, str]:
        return {**self.look().unsaved, **self.noted}

    def freeze(
        self,
        names: Collection[str],
        *,
        train_statistics: bool = False,
        regions: Mapping[str, Index] | None = None,
    ) -> freezing.TF2Freezing:
        variables = self.look()
        return freezing.freeze(
            variables, names, train_statistics=train_statistics, regions=regions or {}
        )

    def predictor(
        self, input_names: Sequence[str] | None, output_names: Sequence[str] | None
    ) -> "Callable[..., list[np.ndarray]]":
        return predictor(self.root, input_names, output_names)


def specs_of(variables: Variables) -> dict[str, TensorSpec]:
    """Return the specs of all *variables*."""
    return {name: values.spec_in(v) for name, v in variables.by_name.items()}
