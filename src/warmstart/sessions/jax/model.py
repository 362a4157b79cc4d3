"""A JAX model with all that a training step needs, compiled.

    model = JaxModel(module, loss=loss, optimizer=optax.adamw(1e-3))         Flax NNX
    model = JaxModel(params, loss=loss, optimizer=tx, key=jax.random.key(0))  any pytree
    metrics = model.train_step((images, labels))        {"loss": 0.53}

It refuses to know the loop, its callbacks and its checkpoints.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx

from ...errors import ResumeError, described
from ..arguments import check_function, check_model, checked_processors
from ..processing import Processor
from . import is_model
from .arrays import is_key
from .nnx_session import NnxSession
from .nnx_step import NnxStep
from .session import JaxSession
from .tree_session import TreeSession, as_transformation
from .tree_step import TreeStep


class JaxModel:
    """A module or a tree of parameters, how its loss is computed, and what moves it."""

    session: JaxSession

    def __init__(
        self,
        model: Any,
        *,
        loss: Callable[..., Any],
        optimizer: Any = None,
        key: jax.Array | None = None,
        predict: Callable[..., Any] | None = None,
        gradprocs: Iterable[Processor] = (),
        batch_sharding: jax.sharding.Sharding | None = None,
    ) -> None:
        """Train *model* with *optimizer*, an optax transformation, on what *loss* computes.

        `loss(module, batch)` of an NNX module, or `loss(tree, batch)` of a pytree, returns the
        loss, or the loss and a dict: metrics, and new values of collections of the tree
        (`{"batch_stats": ...}`).  With *key*, a tree's loss is given a key of its own for each step
        as a third argument.  A module may come with its `nnx.Optimizer`, a TrainState has its own.
        *predict* is a function of a tree and inputs; *gradprocs* change the gradients, in the
        order given, before the optimizer sees them.  With *batch_sharding*, such as
        `NamedSharding(mesh, PartitionSpec("data"))`, each array of a batch is put on the devices
        in that way; of several processes each gives its own part of the batch.
        """
        fits = is_model(model)
        check_model(model, "JaxModel", "an NNX module, or a tree with jax.Array leaves", fits=fits)
        check_function("loss", loss, "a function of (model, batch)")
        if predict is not None:
            check_function("predict", predict, "a function of a tree and inputs")
        if key is not None and not is_key(key):
            raise TypeError(
                f"key is {described(key)} of {getattr(key, 'dtype', 'no dtype')}; expected "
                "a typed one, as jax.random.key(seed) returns"
            )
        self.gradprocs = checked_processors(gradprocs)
        self.key = key
        self._batch_sharding = batch_sharding
        self._take = self._of_module(model, loss, optimizer, predict) or self._of_tree(
            model, loss, optimizer, predict
        )

    def train_step(self, batch: Any) -> dict[str, float]:
        """Take one step on *batch*; return "loss" and whatever else *loss* computed."""
        if self._batch_sharding is not None:
            batch = jax.tree.map(self._placed, batch)
        return {name: float(value) for name, value in self._take(batch).items()}

    def _placed(self, part: Any) -> jax.Array:
        """Return the array of all processes of which *part* is this one's."""
        make: Any = jax.make_array_from_process_local_data
        placed: jax.Array = make(self._batch_sharding, np.asarray(part))
        return placed

    def state(self) -> dict[str, Any]:
        """Return the key of the next step."""
        if self.key is None:
            return {}
        return {
            "key": np.array(jax.random.key_data(self.key)),
            "implementation": jax.random.key_impl(self.key),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        here = None if self.key is None else str(jax.random.key_impl(self.key))
        if state.get("implementation") != here:
            raise ResumeError(
                f"the checkpoint's run had a random key of {state.get('implementation')}, this "
                f"model has one of {here}; give JaxModel the key= it had"
            )
        if self.key is not None:
            self.key = jax.random.wrap_key_data(jax.numpy.array(state["key"]), impl=here)

    def _of_module(self, model: Any, loss: Any, optimizer: Any, predict: Any) -> Any:
        """Return what takes a step on a module, None for a tree."""
        if not isinstance(model, nnx.Module):
            return None
        if self.key is not None or predict is not None:
            raise TypeError(
                "an NNX module has its own rngs and predicts by itself: no key=, predict="
            )
        if as_transformation(optimizer) is None and not isinstance(optimizer, nnx.Optimizer):
            raise TypeError(
                "the optimizer of a module is an optax transformation, such as optax.adam(1e-3), "
                f"or an nnx.Optimizer, not {described(optimizer)}"
            )
        self.session = session = NnxSession(model, optimizer)
        return NnxStep(session, session.optimizer, loss, self.gradprocs).take

    def _of_tree(self, model: Any, loss: Any, optimizer: Any, predict: Any) -> Any:
        """Return what takes a step on a tree."""
        transformation = as_transformation(
            getattr(model, "tx", None) if optimizer is None else optimizer
        )
        if not isinstance(transformation, optax.GradientTransformation):
            raise TypeError(
                "the optimizer of a tree is an optax transformation, such as optax.adam(1e-3), not "
                f"{described(optimizer)}; its state is made here, and restored by name"
            )
        self.session = session = TreeSession(model, transformation, predict=predict)
        step = TreeStep(session, transformation, loss, self.gradprocs)

        def take(batch: Any) -> Mapping[str, Any]:
            losses, self.key = step.take(batch, self.key)
            return losses

        return take
