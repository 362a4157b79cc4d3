"""The session on a pytree: parameters of Flax linen, Haiku or Equinox, a TrainState, plain dicts.

Trees are not changed: `session.tree` and `session.opt_state` are new ones after an assignment, and
whoever trains in a loop of his own sets them to what the loop has made.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ...errors import described
from ...layer import Layer
from ...source import Index
from ..base import Freezing
from .arrays import is_abstract
from .layers import layers_in_tree
from .optimizer import state_variables
from .parts import Parts, owners_in, parts_of, subtree, trained_tree
from .predict import predictor
from .session import JaxSession
from .tree_freezing import TreeFreezing, frozen_in
from .trees import Path, Tree, name_of
from .variables import Variable, Variables, gathered

#: What a TrainState calls the number of its steps.
COUNTER = "step"

STILL_THE_TREE = (
    "session.tree is still the tree that was frozen, so nothing is proved of what training made of "
    "it: train with ws.frozen_transform(optimizer, frozen), set session.tree to the new tree, and "
    "then verify"
)


class TreeSession(JaxSession):
    """A pytree and, if one is given, the state of its optimizer."""

    immutable = True
    movers = (
        "session.tree was trained by an optimizer that is not ws.frozen_transform(optimizer, "
        "frozen), or something else set them"
    )

    def __init__(
        self, tree: Any, optimizer: Any = None, *, predict: Callable[..., Any] | None = None
    ) -> None:
        """*optimizer* is an optax state, or the transformation that makes one.

        *predict* is called with the tree and the inputs, for `predictor`.
        """
        super().__init__()
        self.freezings: list[TreeFreezing] = []  # that hold something now
        self.stepped = False  # by a JaxModel, which puts new leaves into the tree that is here
        self.predict = predict
        self._tx = as_transformation(optimizer)
        self._set_tree(tree)
        inside = self.parts.opt_state is not None
        if inside and optimizer is not None and self._tx is None:
            raise TypeError("the tree has an opt_state of its own; give no other as optimizer=")
        self._state: Tree | None = None
        if optimizer is not None and not inside:
            made = self._made_state(self._tx) if self._tx else checked_state(optimizer)
            self._state = Tree(made)

    @property
    def convention(self) -> str | None:  # type: ignore[override]
        """Flax's, where the names of its layers tell so."""
        return "flax" if any(True for _ in self.layers()) else None

    @property
    def anchor(self) -> Any:
        return self

    @property
    def tree(self) -> Any:
        return self._tree.whole()

    @tree.setter
    def tree(self, new: Any) -> None:
        self._set_tree(new)

    @property
    def opt_state(self) -> Any:
        if self.parts.opt_state is not None:
            return subtree(self.tree, self.parts.opt_state)
        return None if self._state is None else self._state.whole()

    @opt_state.setter
    def opt_state(self, new: Any) -> None:
        if self.parts.opt_state is not None:
            raise AttributeError("the tree has the opt_state: set session.tree")
        self._state = None if new is None else Tree(new)
        self._seen = Variables()

    @property
    def taken_apart(self) -> tuple[Tree, Tree | None]:
        """The tree, and the optimizer's state where it is not in the tree, as they are kept."""
        return self._tree, self._state

    def layers(self) -> Iterable[Layer]:
        return layers_in_tree(self.look(), name_of(self.parts.params))

    def freeze(
        self,
        names: Collection[str],
        *,
        train_statistics: bool = False,
        regions: Mapping[str, Index] | None = None,
    ) -> TreeFreezing:
        variables = self.variables_called(names)
        held, parts = frozen_in(self.look(), variables, self.parts, train_statistics, regions or {})
        freezing = TreeFreezing(held, parts, self.freezings, self._tree)
        self.freezings.append(freezing)
        return freezing

    def unproved(self, freezing: Freezing) -> str | None:
        """Return that the tree of *freezing* is still there, where no JaxModel trains it."""
        if self.stepped or not isinstance(freezing, TreeFreezing):
            return None
        return STILL_THE_TREE if freezing.tree is self._tree else None

    def predictor(
        self, input_names: Sequence[str] | None, output_names: Sequence[str] | None
    ) -> Callable[..., list[np.ndarray]]:
        function = self.predict or getattr(self.tree, "apply_fn", None)
        if function is None:
            raise TypeError(
                "a tree does not say how it predicts: give predict=, a function of the tree and "
                "the inputs, to JaxModel or session_for"
            )
        apply = function if self.predict else applied(function)
        return predictor(
            lambda *args, **kw: apply(self.tree, *args, **kw), input_names, output_names
        )

    def _set_tree(self, tree: Any) -> None:
        self._tree = Tree(tree)
        self.parts: Parts = parts_of(tree)
        self._seen = Variables()

    def _made_state(self, tx: optax.GradientTransformation) -> Any:
        """Return the state that *tx* begins with; of an abstract model, its shapes."""
        params = trained_tree(self.tree, self.parts)
        if any(map(is_abstract, jax.tree.leaves(params))):
            return jax.eval_shape(tx.init, params)
        return tx.init(params)

    def _begins(self) -> bool:
        return self._own_tx() is not None

    def _first_state(self) -> Mapping[str, Any]:
        tx = self._own_tx()
        if tx is None:
            return {}
        made = Tree(self._made_state(tx))
        found = self._of_state(made.whole(), {leaf.path: leaf.cell for leaf in made.leaves})
        first = {v.name: v.leaf for v in found if not is_abstract(v.leaf)}
        step = self.look().find(COUNTER)
        if self.parts.opt_state is not None and step is not None and step.role == "run":
            first[step.name] = jnp.zeros_like(step.leaf)
        return first

    def _own_tx(self) -> optax.GradientTransformation | None:
        """Return the transformation that was given, or that a TrainState has."""
        return self._tx or as_transformation(getattr(self.tree, "tx", None))

    def _find_all(self) -> Variables:
        if self._seen.by_name:
            return self._seen
        whole, parts = self.tree, self.parts
        found = [
            Variable(leaf.name, role, leaf.cell)
            for leaf in self._tree.leaves
            if not parts.is_state(leaf) and (role := parts.role(leaf))
        ]
        if parts.opt_state is not None:
            inner = {leaf.path[1:]: leaf.cell for leaf in self._tree.leaves if parts.is_state(leaf)}
            found += self._of_state(subtree(whole, parts.opt_state), inner)
        elif self._state is not None:
            outer = {leaf.path: leaf.cell for leaf in self._state.leaves}
            found += self._of_state(self._state.whole(), outer)
        return gathered(found)

    def _of_state(self, state: Any, cells: Mapping[Path, Any]) -> list[Variable]:
        return list(state_variables(state, cells, owners_in(self.tree, self.parts)))


def as_transformation(optimizer: Any) -> optax.GradientTransformation | None:
    """Return *optimizer* as a transformation, None where it is a state or nothing."""
    if isinstance(optimizer, optax.MultiSteps):
        return optimizer.gradient_transformation()
    return optimizer if isinstance(optimizer, optax.GradientTransformation) else None


def checked_state(optimizer: Any) -> Any:
    """Return *optimizer*, the state of one; TypeError for what is no tree, as a state is."""
    if jax.tree_util.all_leaves([optimizer]):
        raise TypeError(
            f"the optimizer is {described(optimizer)}; expected an optax transformation, such as "
            "optax.adam(1e-3), or the state that it made"
        )
    return optimizer


def applied(apply_fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return the inference of a TrainState: its *apply_fn* on the collections it has."""

    def apply(state: Any, *args: Any, **kwargs: Any) -> Any:
        collections = {"params": state.params}
        if hasattr(state, "batch_stats"):
            collections["batch_stats"] = state.batch_stats
        return apply_fn(collections, *args, **kwargs)

    return apply
