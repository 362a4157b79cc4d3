"""Every kind of layer: what its leaves are called, and how those of one convention are made of
those of another.
"""

from collections.abc import Mapping
from typing import Any

from . import attention, plain, recurrent
from .side import Recipes, Side
from .tidy import tidy


def leaves(kind: str, convention: str, options: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the leaves of a layer, each with the names it may have, dots between scopes."""
    if kind in plain.NAMES:
        return plain.leaves(kind, convention)
    if kind in recurrent.GATES:
        return recurrent.leaves(kind, convention, options)
    if kind == "multi_head_attention":
        return attention.leaves(convention)
    return {}


def convert(kind: str, have: Side, want: Side) -> Recipes:
    """Return how each leaf of *want* is made of those of *have*, where there is enough for it.

    Raise CannotCarryError where no values would make the two layers equal.
    """
    if kind in plain.NAMES:
        found = plain.convert(kind, have, want)
    elif kind in recurrent.GATES:
        found = recurrent.convert(kind, have, want)
    else:
        found = attention.convert(have, want)
    return {leaf: tidy(recipe, have.leaves) for leaf, recipe in found.items()}
