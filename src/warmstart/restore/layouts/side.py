"""A layer as one convention writes it, and what of it has no counterpart.

A leaf is a name inside the layer.  Every kind of layer knows the leaves of each convention, and how
each is made of the parts all conventions share, and the parts of the leaves:

    leaves of torch --unpack--> parts --pack--> leaves of keras

The parts are Keras' variables, in Keras' order of axes, where a kind's own module says no other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...spec import TensorSpec
from ..recipe import Recipe

#: What leaves or parts are made of.
Recipes = dict[str, Recipe]


class CannotCarryError(Exception):
    """A layer has no equal in the other convention; the message says why.  It never leaves here."""


@dataclass(frozen=True, slots=True)
class Side:
    """A layer as one convention writes it: what it has under the names that its kind gives."""

    convention: str
    leaves: Mapping[str, TensorSpec]
    options: Mapping[str, Any] = field(default_factory=dict)
