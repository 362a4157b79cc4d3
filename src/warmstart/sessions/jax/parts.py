"""What the parts of a pytree are for: which is trained, which is kept, which is the optimizer's.

    {"Dense_0": {...}}, Mlp(...)                          all of it is parameters
    {"params": {...}, "batch_stats": {...}}               those under "params"; the rest is kept
    TrainState(step=0, params=..., opt_state=...)         and the optimizer's state inside

Of parameters those are trained that are floating or complex; random keys are run state.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from .arrays import is_array, is_inexact, is_key, is_number
from .optimizer import OPT_STATE, Owners
from .trees import BoxCell, Leaf, Path, Tree, children, key_text

PARAMS = "params"


@dataclass(frozen=True, slots=True)
class Parts:
    """Where in a tree its parameters and the optimizer's state stand; () is the whole."""

    params: Path
    opt_state: Path | None

    def role(self, leaf: Leaf) -> str | None:
        """Return what *leaf* is for, None where it is no variable.

        The optimizer's state is not asked about.
        """
        value = leaf.cell.get()
        if isinstance(leaf.cell, BoxCell):
            from .module import role_of

            return role_of(leaf.cell.variable) if is_array(value) else None
        if is_number(value):
            return "run" if self.opt_state and len(leaf.path) == 1 else None
        if not is_array(value):
            return None
        if is_key(value):
            return "run"
        if starts(leaf.path, self.params):
            return "trainable" if is_inexact(value) else "model"
        counts = self.opt_state and not value.shape and jnp.issubdtype(value.dtype, jnp.integer)
        return "run" if counts else "model"

    def is_state(self, leaf: Leaf) -> bool:
        """Return whether *leaf* is of the optimizer's state."""
        return self.opt_state is not None and starts(leaf.path, self.opt_state)


def parts_of(tree: Any) -> Parts:
    """Return the parts of *tree*, told by what stands in it one level deep."""
    top = {key_text(key) for key, _ in children(tree)}
    if PARAMS not in top:
        return Parts((), None)
    return Parts((PARAMS,), (OPT_STATE,) if OPT_STATE in top else None)


def subtree(tree: Any, path: Path) -> Any:
    """Return what stands at *path* in *tree*."""
    for part in path:
        tree = next(child for key, child in children(tree) if key_text(key) == part)
    return tree


def starts(path: Path, start: Path) -> bool:
    """Return whether *path* is *start* or stands below it."""
    return path[: len(start)] == start


def trained_tree(tree: Any, parts: Parts) -> Any:
    """Return the parameters with None in the place of what is not trained, as optax is given them.

    Equinox' `filter(model, is_inexact_array)` is the same.
    """
    params = subtree(tree, parts.params)
    return jax.tree.map(lambda value: value if is_inexact(value) else None, params)


def owners_in(tree: Any, parts: Parts) -> Owners:
    """Return the parameters that an optimizer of *tree* may have state for."""
    params = subtree(tree, parts.params)
    paths = frozenset(leaf.path for leaf in Tree(params).leaves if is_array(leaf.cell.get()))
    return Owners(paths, (type(params),), parts.params)
