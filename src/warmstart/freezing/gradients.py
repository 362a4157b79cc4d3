"""What is done to gradients before the optimizer sees them, said without a framework.

    factors = processor.factors(names)         once, when the train op or the step is built
    for name, factor in factors.items():       the engine multiplies; 0 means: no gradient at all
        ...

A processor refuses to know tensors: it maps names to numbers.
"""

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from ..errors import RuleError
from ..names import compiled
from ..restore.rules import near_text

log = logging.getLogger("warmstart")


class GradientProcessor(ABC):
    """A change to gradients by the names of their variables."""

    @abstractmethod
    def factors(self, names: Iterable[str]) -> dict[str, float]:
        """Return the factor for each of *names* whose gradient changes.

        0 takes the gradient away, which is more than a gradient of zero: under momentum or Adam
        that one still moves the variable.
        """


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

    def scale_for(self, name: str) -> float | None:
        """Return the factor of the first regex that matches *name*, None if there is none."""
        matched = (factor for regex, factor in self.multipliers if regex.fullmatch(name))
        return next(matched, None)


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
