"""The session on a Keras 3 model and its optimizer, on any of Keras' backends.

Variables are named by their place in the model, slots are `<variable>/<slot>`.  Layers cannot be
added to a built model, so what has been found stays; an optimizer or metric that is built later is
noticed.  Assigning changes the variables that are there.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from ...layer import Layer
from ...names import first, parent
from ...source import Index, no_such_tensor
from ...spec import TensorSpec, numpy_dtype
from ..base import Session, refusing
from . import optimizer as optimizers
from . import run_state
from .arrays import array_of, has_value, initialize, variable_spec, write
from .freezing import KerasFreezing, freeze
from .guard import all_held
from .layers import layers_of
from .predict import predictor
from .variables import METRICS, Variable, Variables, variables_of


class KerasSession(Session):
    """A model and, if it has one, its optimizer."""

    engine = "keras"
    convention = "keras"

    def __init__(self, model: Any, optimizer: Any = None) -> None:
        """Look at *model* with *optimizer*; without one, with that it is compiled with."""
        optimizers.check_kind(optimizer)
        self._model = model
        self._given = optimizer
        self._seen = Variables()
        self._state_seen: tuple[Any, ...] = ()
        self._reading = False  # so that nothing changes

    @property
    def anchor(self) -> Any:
        return self._model

    @property
    def optimizer(self) -> Any:
        """The optimizer that was given, or else the compiled model's; None where there is none."""
        return self._given or getattr(self._model, "optimizer", None)

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        found, held = self.look().by_name.values(), all_held()
        return {v.name: variable_spec(v.name, v.live, role_of(v, held)) for v in found}

    @property
    def aliases(self) -> Mapping[str, str]:
        return self.look().aliases

    @property
    def synonyms(self) -> Mapping[str, str]:
        return self.look().synonyms

    def read(self, name: str) -> np.ndarray:
        return array_of(name, self._find(name).live)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Look at the model once in the block: that takes longer than to read a variable."""
        self.look()
        before, self._reading = self._reading, True
        try:
            yield
        finally:
            self._reading = before

    def creatable(self, specs: Mapping[str, TensorSpec]) -> Mapping[str, TensorSpec]:
        """Return those of *specs* that are an optimizer's.

        They are slots that it has not made yet, or all its variables by their numbers, which is how
        a file of weights alone has them.  The sums of metrics that Keras has not made yet are
        taken and forgotten: it resets them before it uses them.
        """
        pairs: dict[str, Variable] = {}
        if self.optimizer is not None:
            pairs = self._of_optimizer(specs)
        chosen = {n: v for n, v in pairs.items() if n in specs}
        held = all_held()
        found = {n: variable_spec(v.name, v.live, role_of(v, held)) for n, v in chosen.items()}
        to_come = {n: specs[n]._replace(name=n, role="run") for n in specs if self._is_to_come(n)}
        return {**found, **to_come}

    def _assign(self, values: Iterable[tuple[str, np.ndarray]]) -> None:
        variables = self.look()
        for name, array in values:
            variable = variables.find(name)
            if variable is None and self._is_to_come(name):
                continue
            if variable is None and self.optimizer is not None and not self.optimizer.built:
                optimizers.build(self.optimizer, self._model)
                variables = self.look()
                variable = variables.find(name)
            if variable is None:
                raise no_such_tensor(name, variables.by_name)
            write(name, variable.live, array)

    def optimized(self) -> Collection[str]:
        if self.optimizer is None:
            return ()
        names = self.look().names()
        inner = optimizers.innermost(self.optimizer)
        trained = inner._trainable_variables if inner.built else self._model.trainable_variables
        return [names[id(live)] for live in trained if id(live) in names]

    def first_value(self, name: str) -> np.ndarray | None:
        """Return what the optimizer begins with under *name*; of a variable nothing is known."""
        owner = self.look().find(parent(name))
        if self.optimizer is None or owner is None:
            return None
        twin = optimizers.like(self.optimizer)
        optimizers.innermost(twin).build([owner.live])
        slots = {
            v.name: v.live for v in optimizers.of_optimizer(twin, {id(owner.live): owner.name})
        }
        return array_of(name, slots[name]) if name in slots else None

    def draw(
        self, initializer: Callable[..., Any], shape: tuple[int, ...], dtype: str
    ) -> np.ndarray:
        value = initializer(shape, numpy_dtype(dtype))
        return value if isinstance(value, np.ndarray) else keras.ops.convert_to_numpy(value)

    def names_of(self, variables: Iterable[Any]) -> list[str | None]:
        names = self.look().names()
        return [names.get(id(variable)) for variable in variables]

    def initialize(self, names: Collection[str]) -> list[str]:
        """Give those of *names* that were built without memory their initial values."""
        variables = self.look()
        found = [each for name in names if (each := variables.find(name)) is not None]
        without = [each for each in found if not has_value(each.live)]
        for each in without:
            initialize(each.live)
        return [each.name for each in without]

    def state(self) -> dict[str, Any]:
        return run_state.state(self.optimizer, self.noted)

    def misfits(self, state: Mapping[str, Any]) -> Mapping[str, str]:
        return run_state.what_changes(self.optimizer, state)[1]

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.load_fitting(state, refusing)

    def load_fitting(self, state: Mapping[str, Any], accepts: Callable[[str], bool]) -> None:
        run_state.load_state(self.optimizer, state, accepts)

    def unresumable(self) -> Mapping[str, str]:
        return {
            **run_state.unresumable(self._model, self.optimizer, self.look()),
            **self.noted,
        }

    def layers(self) -> Iterable[Layer]:
        return layers_of(self._model, self.look())

    def freeze(
        self,
        names: Collection[str],
        *,
        train_statistics: bool = False,
        regions: Mapping[str, Index] | None = None,
    ) -> KerasFreezing:
        return freeze(
            self._model,
            self.look(),
            names,
            train_statistics=train_statistics,
            regions=regions or {},
        )

    def predictor(
        self, input_names: Sequence[str] | None, output_names: Sequence[str] | None
    ) -> Callable[..., list[np.ndarray]]:
        return predictor(self._model, input_names, output_names)

    def look(self) -> Variables:
        """Return the variables as they are now, and let none of their values be a trainer's."""
        if self._reading:
            return self._seen
        sync(self._model)
        state = (
            id(self.optimizer),
            len(self.optimizer.variables) if self.optimizer is not None else 0,
            len(self._model.metrics_variables),
            len(self._model.variables),
        )
        if state != self._state_seen:
            own = variables_of(self._model)
            slots = optimizers.of_optimizer(self.optimizer, own.names())
            self._seen, self._state_seen = variables_of(self._model, slots), state
        return self._seen

    def _find(self, name: str) -> Variable:
        variables = self.look()
        variable = variables.find(name)
        if variable is None:
            raise no_such_tensor(name, variables.by_name)
        return variable

    def _of_optimizer(self, specs: Mapping[str, TensorSpec]) -> dict[str, Variable]:
        """Return the variables of the optimizer by the names in *specs* that the model lacks."""
        optimizer, known = self.optimizer, self.look()
        if not optimizer.built:
            optimizer = optimizers.twin_of(optimizer, self._model)
            slots = list(optimizers.of_optimizer(optimizer, known.names()))
        else:
            slots = list(known.by_name.values())
        named = {each.name: each for each in slots if each.name not in known.by_name}
        return {**named, **optimizers.by_number(optimizer, slots, specs)}

    def _is_to_come(self, name: str) -> bool:
        """Return whether *name* is that of a metric that Keras makes with the first batch."""
        metrics = getattr(self._model, "_compile_metrics", None)
        return first(name) == METRICS and metrics is not None and not metrics.built


def role_of(variable: Variable, held: Collection[int]) -> str:
    """Return what *variable* is for at this moment; *held* are ids of what is held still."""
    if variable.role is not None:
        return variable.role
    return "trainable" if variable.live.trainable and id(variable.live) not in held else "model"


def sync(model: Any) -> None:
    """Let the variables have the values with which JAX is training, should it be."""
    if getattr(model, "_jax_state", None) and not model._jax_state_synced:
        model.jax_state_sync()
