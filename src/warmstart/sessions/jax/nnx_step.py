"""One training step on an NNX module, compiled anew when what is frozen changes.

What is frozen is held by the classes of its variables (held.py), which the function is traced by.
The step is a function of the values; they are put into the module once it has ended well.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from ...names import parent
from ..processing import Processor, processed
from .gradients import JaxOps, Watcher, check_trained, show
from .held import is_held
from .losses import loss_and_rest, refuse_arrays
from .module import variables_of
from .nnx_session import NnxSession
from .trees import BoxCell, name_of
from .variables import Variables, refuse_empty


class NnxStep:
    """The step of one session."""

    def __init__(
        self,
        session: NnxSession,
        optimizer: nnx.Optimizer[Any],
        loss: Callable[..., Any],
        processors: Sequence[Processor],
    ) -> None:
        self._model = (session.module, optimizer)
        self._loss = loss
        self._processors = processors
        self._watchers: dict[Any, list[Watcher]] = {}  # by what was traced
        self._run = jax.jit(self._traced, static_argnums=0)

    def take(self, batch: Any) -> Mapping[str, Any]:
        """Take one step on *batch*; return the losses."""
        definition, state = nnx.split(self._model)
        if definition not in self._watchers:
            self._check()
        state, losses, watched = self._run(definition, state, batch)
        show(self._watchers[definition], watched)
        nnx.update(self._model, state)
        return losses  # type: ignore[no-any-return]

    def _check(self) -> None:
        """Raise for what cannot be trained, and for rules that mean nothing."""
        variables = variables_of(*self._model, held=is_held)
        refuse_empty(variables.by_name.values())
        check_trained([v.name for v in variables.of_role("trainable")], self._processors)

    def _traced(self, definition: Any, state: Any, batch: Any) -> Any:
        module, optimizer = nnx.merge(definition, state)
        diff = nnx.DiffState(0, optimizer.wrt)
        (loss, metrics), gradients = nnx.value_and_grad(
            partial(losses_of, self._loss), argnums=diff, has_aux=True
        )(module, batch)
        variables = variables_of(module, optimizer, held=is_held)
        ops = JaxOps({v.name: v.leaf for v in variables.of_role("trainable")})
        gradients, without = self._processed(gradients, variables, ops)
        still = slots_and_all(variables, without)
        before = [(cell, cell.get()) for cell in still]
        takes_value = isinstance(optimizer.tx, optax.GradientTransformationExtraArgs)
        optimizer.update(module, gradients, **({"value": loss} if takes_value else {}))
        for cell, leaf in before:
            cell.put(leaf)
        self._watchers[definition] = ops.watchers
        new = nnx.state((module, optimizer))
        return new, {"loss": loss, **metrics}, ops.watched_gradients

    def _processed(
        self, gradients: Any, variables: Variables, ops: JaxOps
    ) -> tuple[Any, list[str]]:
        """Return the gradients that the optimizer is to see, and the names that have none.

        What is held whole is shown to no processor; its gradient is zero.
        """
        flat = {name_of(tuple(map(str, path))): (path, leaf)
                for path, leaf in nnx.to_flat_state(gradients)}  # fmt: skip
        names = {name for name in flat if variables.by_name[name].role == "trainable"}
        by_name = {name: bare(leaf) for name, (_, leaf) in flat.items() if name in names}
        seen = processed(self._processors, by_name, ops)
        without = [name for name, gradient in seen.items() if gradient is None]
        found = {
            path: zeros(leaf) if seen.get(name) is None else with_value(leaf, seen[name])
            for name, (path, leaf) in flat.items()
        }
        return nnx.from_flat_state(found), without


def losses_of(loss: Callable[..., Any], module: Any, batch: Any) -> tuple[Any, dict[str, Any]]:
    """Return the loss, and the metrics beside it."""
    value, metrics = loss_and_rest(loss(module, batch))
    refuse_arrays(metrics)
    return value, metrics


def slots_and_all(variables: Variables, names: Iterable[str]) -> list[BoxCell]:
    """Return the cells of the variables *names* and of their slots."""
    names = set(names)
    return [
        v.cell
        for v in variables.by_name.values()
        if isinstance(v.cell, BoxCell)
        and (v.name in names or (v.role == "slot" and parent(v.name) in names))
    ]


def bare(leaf: Any) -> Any:
    """Return the array of a gradient, which may be in a variable."""
    return leaf.get_raw_value() if isinstance(leaf, nnx.Variable) else leaf


def with_value(leaf: Any, value: Any) -> Any:
    """Return a gradient like *leaf* with another *value*."""
    return leaf.replace(value) if isinstance(leaf, nnx.Variable) else value


def zeros(leaf: Any) -> Any:
    """Return a gradient of zero like *leaf*."""
    return with_value(leaf, jnp.zeros_like(bare(leaf)))
