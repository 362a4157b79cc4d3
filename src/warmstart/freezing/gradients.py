"""What is done to gradients before the optimizer sees them, said without a framework.

    processor.check(names)                                once, when the step or train op is built
    gradients = processor.process(gradients, ops)         in the step, or where its graph is built

*gradients* are the engine's own tensors by the names of their variables; None is no gradient, and
the optimizer then leaves the variable alone.  *ops* does what needs the framework.
"""

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import RuleError
from ..names import compiled
from ..restore.rules import near_text

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger("warmstart")


#: Gradients by the names of their variables; None: no gradient at all.
Gradients = Mapping[str, Any]


class GradientOps(Protocol):
    """What an engine does with gradients, its own tensors, dense or sparse."""

    def scaled(self, gradient: Any, factor: float) -> Any:
        """Return *factor* times *gradient*."""

    def clipped(self, gradients: Sequence[Any], norm: float) -> Sequence[Any]:
        """Return *gradients* scaled down together so that their global norm is at most *norm*."""

    def watched(self, gradient: Any, watcher: "Callable[[np.ndarray], None]") -> Any:
        """Return *gradient*, shown to *watcher* as an array in every step; it may raise."""


class GradientProcessor(ABC):
    """A change to gradients by the names of their variables."""

    def check(self, names: Sequence[str]) -> None:  # noqa: B027  (most have nothing to mistype)
        """Raise RuleError for what means none of the variables *names* that have a gradient."""

    @abstractmethod
    def process(self, gradients: Gradients, ops: GradientOps) -> dict[str, Any]:
        """Return the gradients that the optimizer is to see, by the same names."""


class ScaleGradient(GradientProcessor):
    """Multiply gradients by factors, chosen by regexes on whole names; the first match counts.

        ScaleGradient([("conv0/.*", 0.1), (".*/b", 2.0)])
        ScaleGradient(("encoder/.*", 0))

    With *verbose* each variable with a factor is logged at level INFO.
    """

    def __init__(
        self, multipliers: tuple[str, float] | Sequence[tuple[str, float]], verbose: bool = True
    ) -> None:
        pairs = [multipliers] if isinstance(multipliers, tuple | str) else list(multipliers)
        self.multipliers = tuple(checked_pair(pair) for pair in pairs)
        self.verbose = verbose

    def factors(self, names: Iterable[str]) -> dict[str, float]:
        """Return the factor of each of *names* that a regex matches in full.

        Raise RuleError naming every regex that matches none.
        """
        names = list(names)
        refuse_idle([regex for regex, _ in self.multipliers], names)
        found = {name: f for name in names if (f := self.scale_for(name)) is not None}
        for name, factor in found.items() if self.verbose else ():
            log.info("the gradient of %s is multiplied by %g", name, factor)
        return found

    def check(self, names: Sequence[str]) -> None:
        self.factors(names)

    def process(self, gradients: Gradients, ops: GradientOps) -> dict[str, Any]:
        """Return *gradients* times their factors; a factor of 0 takes the gradient away.

        That is more than a gradient of zero, which still moves a variable under momentum or Adam.
        """
        factors = {name: self.scale_for(name) for name in gradients}
        return {
            name: gradient if factors[name] is None else scaled(gradient, factors[name], ops)
            for name, gradient in gradients.items()
        }

    def scale_for(self, name: str) -> float | None:
        """Return the factor of the first regex that matches *name*, None if there is none."""
        matched = (factor for regex, factor in self.multipliers if regex.fullmatch(name))
        return next(matched, None)


def scaled(gradient: Any, factor: float | None, ops: GradientOps) -> Any:
    """Return *factor* times *gradient*, None where there is none or the factor is 0."""
    return None if gradient is None or not factor else ops.scaled(gradient, factor)


def checked_pair(pair: tuple[str, float]) -> tuple[re.Pattern[str], float]:
    """Return a regex, compiled, and its factor."""
    match pair:
        case (str() | re.Pattern() as regex, factor):
            pass
        case _:
            raise TypeError(f"ScaleGradient takes pairs (regex, factor), not {pair!r}")
    if not isinstance(factor, int | float):
        raise TypeError(f"the factor of {regex!r} is a number, not {factor!r}")
    return compiled(regex), float(factor)


def refuse_idle(regexes: Iterable[re.Pattern[str]], names: Sequence[str]) -> None:
    """Raise naming every one of *regexes* that matches none of *names*."""
    idle = [r.pattern for r in regexes if not any(map(r.fullmatch, names))]
    if idle:
        rows = [f"  {text}{near_text(text, names)}" for text in idle]
        raise RuleError(
            "\n".join(
                [f"these regexes match none of {len(names)} variables with a gradient:", *rows]
            )
        )
