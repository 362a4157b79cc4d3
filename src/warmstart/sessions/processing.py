"""Gradient processors as an engine sees them, which refuses to know what they do.

    for processor in processors: processor.check(names)          # once
    gradients = processed(processors, gradients, ops)            # in the step, or in its graph

What they are and what *ops* does for them is in `freezing/gradients.py`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np


class Processor(Protocol):
    """A change to gradients by the names of their variables."""

    def check(self, names: Sequence[str]) -> None:
        """Raise RuleError for what means none of the variables *names*."""

    def process(self, gradients: Mapping[str, Any], ops: Any) -> dict[str, Any]:
        """Return the gradients that the optimizer is to see, by the same names."""


class PartName(str):
    """The name of a variable that several tensors are, for one of them.

    A rule reads the name of the variable, and so means all of them; what is shown, and what makes
    one key differ from another, is the name of the tensor.
    """

    shown: str

    def __new__(cls, name: str, shown: str) -> "PartName":
        """Take the *name* of the variable, and the tensor's own as *shown*."""
        self = super().__new__(cls, name)
        self.shown = shown
        return self

    def __str__(self) -> str:
        return self.shown

    def __repr__(self) -> str:
        return repr(self.shown)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PartName) and self.shown == other.shown

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.shown)


def processed(
    processors: Iterable[Processor], gradients: Mapping[str, Any], ops: Any
) -> dict[str, Any]:
    """Return what becomes of *gradients* once every processor has had its turn."""
    found = dict(gradients)
    for processor in processors:
        found = processor.process(found, ops)
    return found


class Looking:
    """What went wrong when gradients were looked at: a runtime makes other errors of it."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []

    def function(self, watcher: "Callable[[np.ndarray], None]") -> "Callable[[np.ndarray], None]":
        """Return *watcher*, whose errors are kept besides."""

        def look(gradient: "np.ndarray") -> None:
            try:
                watcher(gradient)
            except BaseException as error:
                self.errors.append(error)
                raise

        return look

    def raise_kept(self, cause: BaseException | None) -> None:
        """Raise the first error that was kept, if there is one, with *cause* as its cause."""
        if self.errors:
            first, self.errors = self.errors[0], []
            raise first from cause
