"""Layers of one framework carried into a model of another: other names, other axis orders."""

from collections.abc import Sequence

from ..sessions.base import Session
from .plan import Part


def carried(parts: Sequence[Part], session: Session) -> list[Part]:
    """Return *parts* with what they are asked for as the layers of *session* lie."""
    return list(parts)
