"""The session on a Flax NNX module, which is assigned in place."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx

from ...layer import Layer
from ...source import Index
from .arrays import is_abstract
from .freezing import NnxFreezing, freeze
from .held import is_held
from .layers import layers_in_module
from .module import hanging, optimizer_variables, paths_of, variables_of
from .predict import predictor
from .session import JaxSession
from .tree_session import as_transformation, checked_state
from .trees import Tree
from .variables import Variables


class NnxSession(JaxSession):
    """A module and, if one is given, its optimizer."""

    convention = "flax"

    def __init__(self, module: nnx.Module, optimizer: Any = None) -> None:
        """*optimizer* is an `nnx.Optimizer`, an optax state, or a transformation to make one of."""
        super().__init__()
        self.module = module
        made = as_transformation(optimizer)
        self.optimizer = optimizer
        if made is not None:
            self.optimizer = optimizer_of(module, made)
        self._state: Tree | None = None
        if optimizer is not None and not isinstance(self.optimizer, nnx.Optimizer):
            self._state = Tree(checked_state(optimizer))

    @property
    def anchor(self) -> Any:
        return self.module

    @property
    def tree(self) -> Any:
        return self.module

    @property
    def opt_state(self) -> Any:
        if isinstance(self.optimizer, nnx.Optimizer):
            return self.optimizer.opt_state
        return None if self._state is None else self._state.whole()

    def layers(self) -> Iterable[Layer]:
        return layers_in_module(self.module, self.look())

    def freeze(
        self,
        names: Collection[str],
        *,
        train_statistics: bool = False,
        regions: Mapping[str, Index] | None = None,
    ) -> NnxFreezing:
        asked = self.variables_called(names)
        return freeze(
            self.module,
            self._seen,
            asked,
            train_statistics=train_statistics,
            regions=regions or {},
        )

    def predictor(
        self, input_names: Sequence[str] | None, output_names: Sequence[str] | None
    ) -> Callable[..., list[np.ndarray]]:
        """Return the inference of the module as it is then, whatever mode it is in."""

        @nnx.jit
        def run(module: Any, args: Any, kwargs: Any) -> Any:
            return evaluating(module)(*args, **kwargs)

        return predictor(
            lambda *args, **kwargs: run(self.module, args, kwargs), input_names, output_names
        )

    def _find_all(self) -> Variables:
        optimizer = self.optimizer if self._state is None else self._state
        return variables_of(self.module, optimizer, held=is_held)

    def _begins(self) -> bool:
        return isinstance(self.optimizer, nnx.Optimizer)

    def _first_state(self) -> Mapping[str, Any]:
        optimizer = self.optimizer
        if not isinstance(optimizer, nnx.Optimizer):
            return {}
        fresh = nnx.Optimizer(self.module, optimizer.tx, wrt=optimizer.wrt)
        found = optimizer_variables(fresh, paths_of(hanging(self.module)))
        return {v.name: v.leaf for v in found if not is_abstract(v.leaf)}


def optimizer_of(module: Any, transformation: optax.GradientTransformation) -> nnx.Optimizer[Any]:
    """Return the optimizer of all parameters of *module*; of an abstract one, an abstract one."""
    leaves = jax.tree.leaves(nnx.state(module, nnx.Param))
    if not any(map(is_abstract, leaves)):
        return nnx.Optimizer(module, transformation, wrt=nnx.Param)
    return nnx.eval_shape(lambda m: nnx.Optimizer(m, transformation, wrt=nnx.Param), module)


def evaluating(module: Any) -> Any:
    """Return a view of *module* in inference mode, on the same variables."""
    modes = {"deterministic": True, "use_running_average": True}
    return nnx.view(module, raise_if_not_found=False, **modes)
