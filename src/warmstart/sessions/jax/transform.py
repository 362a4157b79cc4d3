"""An optax transformation that lets what is frozen pass, for training loops of one's own.

frozen = ws.freeze(session, "encoder/*")
tx = ws.frozen_transform(tx, frozen)                  and then as ever:
updates, opt_state = tx.update(gradients, opt_state, params)
params = optax.apply_updates(params, updates)
session.tree = params;  frozen.verify()
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import jax.numpy as jnp
import optax

from ...errors import FreezeError, described
from ...names import joined
from ...source import Index
from .optimizer import Owners, places
from .parts import PARAMS
from .tree_step import put_back, without_rows
from .trees import Path, Tree


class HeldStill(Protocol):
    """What is frozen, as `ws.freeze` returns it."""

    @property
    def names(self) -> tuple[str, ...]:
        """The variables."""

    @property
    def regions(self) -> Mapping[str, Index]:
        """Those of them that are held in part, and where."""


def frozen_transform(
    transformation: optax.GradientTransformation, frozen: HeldStill
) -> optax.GradientTransformationExtraArgs:
    """Return *transformation* with no update for what is *frozen*, now, and none for its slots.

    Its gradient counts for nothing either: not for a global norm, say.  The update of a frozen
    parameter is minus zero, which added to any number leaves its bits, but for numbers below the
    normal ones, which JAX on a CPU flushes to zero; `JaxModel` leaves those too.  Statistics are
    the loss function's, which must run frozen normalisation layers in inference mode.
    """
    check_arguments(transformation, frozen)
    inner = optax.with_extra_args_support(transformation)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        held = held_leaves(updates, frozen)
        masked = changed(updates, held, zeroed)
        new, new_state = inner.update(masked, state, params, **extra)
        return changed(new, held, minus_zero), with_old_slots(new_state, state, updates, held)

    return optax.GradientTransformationExtraArgs(inner.init, update)


def check_arguments(transformation: Any, frozen: Any) -> None:
    """Raise TypeError for what is no transformation, or is not what `ws.freeze` returns."""
    wrong = []
    if not isinstance(transformation, optax.GradientTransformation):
        wrong.append(
            f"transformation is {described(transformation)}; expected one of optax, such as "
            "optax.adam(1e-3)"
        )
    if not (hasattr(frozen, "names") and hasattr(frozen, "regions")):
        wrong.append(f"frozen is {described(frozen)}; expected what ws.freeze returned")
    if wrong:
        raise TypeError("frozen_transform(transformation, frozen): " + "; ".join(wrong))


def held_leaves(updates: Any, frozen: HeldStill) -> dict[Path, Any]:
    """Return where each leaf of *updates* is held, by its path; `...` is everywhere."""
    found: dict[Path, Any] = {}
    for leaf in Tree(updates).leaves:
        for name in (leaf.name, joined(PARAMS, leaf.name)):
            if name in frozen.names:
                found[leaf.path] = frozen.regions.get(name, ...)
    if not found:
        raise FreezeError(
            f"none of the frozen variables {', '.join(frozen.names)} is among the updates; "
            "the transformation is for the parameters they were frozen in"
        )
    return found


def changed(updates: Any, held: Mapping[Path, Any], change: Any) -> Any:
    """Return *updates* with *change* made where they are *held*."""
    tree = Tree(updates)
    for leaf in tree.leaves:
        if leaf.path in held:
            leaf.cell.put(change(leaf.cell.get(), held[leaf.path]))
    return tree.whole()


def zeroed(gradient: Any, index: Index) -> Any:
    """Return *gradient* with zeros at *index*."""
    return without_rows(gradient, [index])


def minus_zero(update: Any, index: Index) -> Any:
    """Return *update* with minus zero at *index*."""
    nothing = complex(-0.0, -0.0) if jnp.iscomplexobj(update) else -0.0
    return update.at[index].set(nothing)


def with_old_slots(new: Any, old: Any, updates: Any, held: Mapping[Path, Any]) -> Any:
    """Return the state *new* with the slots of what is held as they were in *old*."""
    shapes = {leaf.path: jnp.shape(leaf.cell.get()) for leaf in Tree(updates).leaves}
    owners = {p.path: p.owner for p in places(old, (), (), owners_of(updates, shapes))}
    before = {leaf.path: leaf.cell.get() for leaf in Tree(old).leaves}
    tree = Tree(new)
    for leaf in tree.leaves:
        owner = owners.get(leaf.path)
        if owner is None or owner not in held:
            continue
        whole = held[owner] is ...
        if whole or jnp.shape(leaf.cell.get()) == shapes[owner]:
            index = ... if whole else held[owner]
            leaf.cell.put(put_back(leaf.cell.get(), before[leaf.path], [index]))
    return tree.whole()


def owners_of(updates: Any, paths: Iterable[Path]) -> Owners:
    """Return the parameters that there are *updates* of."""
    return Owners(frozenset(paths), (type(updates),))
