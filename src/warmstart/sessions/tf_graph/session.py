"""A `tf.compat.v1.Session` as a session: the global variables of its graph, live."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from ...errors import noting
from ...source import Index, no_such_tensor
from ...spec import TensorSpec
from ..base import Session
from . import freezing, values
from .metagraph import save_metagraph
from .predict import predictor
from .roles import roles_of
from .unresumable import unresumable
from .variables import Variable, place, variables_of

if TYPE_CHECKING:
    import numpy as np

KEYS = tf.compat.v1.GraphKeys


class GraphSession(Session):
    """The global variables of a graph with their values in one `tf.compat.v1.Session`.

    A graph may still grow, so what it holds is looked up again whenever it has.
    """

    engine = "tf"

    def __init__(self, session: Any, *, optimizer: Any = None, inputs: Sequence[Any] = ()) -> None:
        """Look at *session*; *inputs* are fed in prediction unless others are named."""
        self.tf_session = session
        self.graph = session.graph
        self.inputs = tuple(inputs)
        self._optimizer = optimizer
        self._seen: tuple[int, ...] = ()
        self._variables: dict[str, Variable] = {}
        self._specs: dict[str, TensorSpec] = {}
        self._ahead: values.ReadAhead | None = None

    @property
    def anchor(self) -> Any:
        return self.tf_session

    @property
    def variables(self) -> Mapping[str, Variable]:
        """Every global variable of the graph by full name."""
        self._look()
        return self._variables

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        self._look()
        return self._specs

    def _look(self) -> None:
        """Read variables and roles off the graph, unless it is as it was the last time."""
        collections = (KEYS.GLOBAL_VARIABLES, KEYS.TRAINABLE_VARIABLES)
        sizes = (len(self.graph.get_collection_ref(key)) for key in collections)
        now = (self.graph.version, *sizes, freezing.changes(self.graph))
        if now == self._seen:
            return
        variables = variables_of(self.graph.get_collection(KEYS.GLOBAL_VARIABLES))
        roles = roles_of(self.graph, variables, self._optimizer)
        shapes = {name: self._shape(variable) for name, variable in variables.items()}
        self._specs = {n: TensorSpec(n, v.dtype, shapes[n], roles[n]) for n, v in variables.items()}
        self._variables = variables
        self._seen = () if any(v.shape is None for v in variables.values()) else now

    def _shape(self, variable: Variable) -> tuple[int, ...]:
        """Return the shape of *variable*, of its value where the graph leaves it open."""
        if variable.shape is not None:
            return variable.shape
        with noting(
            f"while looking for the shape of {variable.name!r}, which the graph leaves open"
        ):
            return tuple(values.read(self.tf_session, variable).shape)

    def _finder(self) -> Callable[[str], Variable]:
        """Return the function from a name to its variable, for the graph as it is now."""
        variables, specs = self.variables, self.specs

        def find(name: str) -> Variable:
            if name not in variables:
                raise no_such_tensor(name, specs)
            return variables[name]

        return find

    def read(self, name: str) -> "np.ndarray":
        variable = self._finder()(name)
        if self._ahead is not None:
            return self._ahead.read(variable)
        return values.read(self.tf_session, variable)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read values in groups in the block, in which nothing trains or assigns."""
        before = self._ahead
        self._ahead = before or values.ReadAhead(self.tf_session, self.variables.values())
        try:
            yield
        finally:
            self._ahead = before

    def read_all(self) -> "dict[str, np.ndarray]":
        found: dict[str, np.ndarray] = {}
        for group in values.by_size(self.variables.values()):
            found |= values.read_group(self.tf_session, group)
        return found

    def _assign(self, pairs: "Iterable[tuple[str, np.ndarray]]") -> None:
        find = self._finder()
        values.assign(self.tf_session, ((find(name), value) for name, value in pairs))

    def initialize(self, names: Collection[str]) -> list[str]:
        return values.initialize(self.tf_session, list(map(self._finder(), names)))

    def first_value(self, name: str) -> "np.ndarray":
        return values.first_value(self.tf_session, self._finder()(name))

    def draw(
        self, initializer: Callable[..., Any], shape: tuple[int, ...], dtype: str
    ) -> "np.ndarray":
        return values.drawn(initializer, shape, dtype, self.graph.seed)

    def names_of(self, variables: Iterable[Any]) -> list[str | None]:
        """Return the names of *variables*; a part of a partitioned one stands for the whole."""
        variables = list(variables)
        return [
            place(variable)[0] if hasattr(variable, "_get_save_slice_info") else name
            for variable, name in zip(variables, super().names_of(variables), strict=True)
        ]

    def freeze(
        self,
        names: Collection[str],
        *,
        train_statistics: bool = False,
        regions: Mapping[str, Index] | None = None,
    ) -> freezing.GraphFreezing:
        return freezing.freeze(
            self.graph,
            self.variables,
            self.specs,
            names,
            train_statistics=train_statistics,
            regions=regions or {},
        )

    def unresumable(self) -> Mapping[str, str]:
        return unresumable(self.graph.get_collection(KEYS.TRAIN_OP))

    def predictor(
        self, input_names: Sequence[str] | None, output_names: Sequence[str] | None
    ) -> "Callable[..., list[np.ndarray]]":
        """Return inference as a function of arrays; tensors are named with or without `:0`.

        A graph has one mode, the one it was built in: evaluation is a tower of its own, or a
        placeholder with a default that says so.
        """
        return predictor(self.tf_session, input_names, output_names, self.inputs)

    def save_graph(self, folder: Path) -> Path:
        return save_metagraph(self.graph, folder)
