"""What is done to gradients before the optimizer sees them, said without a framework.

    processor.check(names)                                once, when the step or train op is built
    gradients = processor.process(gradients, ops)         in the step, or where its graph is built

*gradients* are the engine's own tensors by the names of their variables; None is no gradient, and
the optimizer then leaves the variable alone.  *ops* does what needs the framework.

A model shows its processors as `gradprocs`.  They are applied in the order given.
"""

import inspect
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import RuleError, described
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
        """Return *gradient*, shown to *watcher* as an array in every step; it may raise.

        *watcher* has returned when the step has, and what it raises the step raises, before any
        variable has moved.  Of a sparse gradient it sees the values alone.
        """

    def variable(self, name: str) -> Any:
        """Return the engine's own variable called *name*, for functions of who wrote the model."""


class GradientProcessor(ABC):
    """A change to gradients by the names of their variables."""

    def check(self, names: Sequence[str]) -> None:  # noqa: B027  (most have nothing to mistype)
        """Raise RuleError for what means none of the variables *names* that have a gradient."""

    @abstractmethod
    def process(self, gradients: Gradients, ops: GradientOps) -> dict[str, Any]:
        """Return the gradients that the optimizer is to see, by the same names."""

    def measured(self) -> dict[str, float]:
        """Return what was measured of the gradients of the last step, as metrics of that step."""
        return {}

    def arrays(self) -> "dict[str, np.ndarray]":
        """Return gradients of the last step, by name, to be drawn as histograms."""
        return {}


class FilterNoneGrad(GradientProcessor):
    """Tell, once, which variables have no gradient.  Every engine leaves them as they are.

    With *verbose* False nothing is told.
    """

    def __init__(self, verbose: bool = True) -> None:
        self.verbose = verbose
        self._told: set[str] = set()

    def process(self, gradients: Gradients, ops: GradientOps) -> dict[str, Any]:
        new = [name for name, g in gradients.items() if g is None and name not in self._told]
        self._told.update(new)
        if new and self.verbose:
            log.warning("no gradient for %d variables: %s", len(new), ", ".join(map(str, new)))
        return dict(gradients)


class GlobalNormClip(GradientProcessor):
    """Scale all gradients down together so that the norm of all of them is at most *global_norm*.

    That norm is the square root of the sum of the squares of everything in every gradient.
    """

    def __init__(self, global_norm: float) -> None:
        if not hasattr(global_norm, "__float__") or not global_norm > 0:
            raise ValueError(f"global_norm is {global_norm!r}; expected a number above 0")
        self.global_norm = float(global_norm)

    def process(self, gradients: Gradients, ops: GradientOps) -> dict[str, Any]:
        there = {name: gradient for name, gradient in gradients.items() if gradient is not None}
        if not there:
            return dict(gradients)
        clipped = ops.clipped(list(there.values()), self.global_norm)
        return {**gradients, **dict(zip(there, clipped, strict=True))}


class SelectedGradients(GradientProcessor):
    """A change to those gradients whose variables' names a regex matches in full."""

    def __init__(self, regex: str | re.Pattern[str] = ".*") -> None:
        self.regex = compiled(regex)

    def check(self, names: Sequence[str]) -> None:
        refuse_idle([self.regex], names)

    def process(self, gradients: Gradients, ops: GradientOps) -> dict[str, Any]:
        return {
            name: gradient
            if gradient is None or not self.regex.fullmatch(name)
            else self.changed(name, gradient, ops)
            for name, gradient in gradients.items()
        }

    @abstractmethod
    def changed(self, name: str, gradient: Any, ops: GradientOps) -> Any:
        """Return what the optimizer is to see in place of *gradient*; None for nothing."""


class MapGradient(SelectedGradients):
    """Apply *func* to the gradients of the variables that *regex* matches.

    *func* takes a gradient, or a gradient and its variable, as the framework's own objects, and
    returns a gradient; None takes it away, and the variable is left as it is.  Where steps are
    compiled, so is *func*.
    """

    def __init__(self, func: Callable[..., Any], regex: str | re.Pattern[str] = ".*") -> None:
        super().__init__(regex)
        if not callable(func):
            raise TypeError(f"MapGradient takes a function, not {described(func)}")
        self.func = func
        self._takes_variable = positional(func) == 2

    def changed(self, name: str, gradient: Any, ops: GradientOps) -> Any:
        if self._takes_variable:
            return self.func(gradient, ops.variable(name))
        return self.func(gradient)


def positional(func: Callable[..., Any]) -> int:
    """Return whether *func* is to be given 1 argument or 2; TypeError when it can take neither."""
    try:
        parameters = inspect.signature(func).parameters.values()
    except ValueError:  # built in, and not saying
        return 1
    needed = [p for p in parameters if p.default is p.empty and p.kind in POSITIONAL]
    if len(needed) in (1, 2):
        return len(needed)
    if len(needed) == 0 and any(p.kind in (*POSITIONAL, VARIADIC) for p in parameters):
        return 1
    raise TypeError(
        f"{func!r} takes {len(needed)} arguments; MapGradient gives it a gradient, "
        "or a gradient and its variable"
    )


POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
VARIADIC = inspect.Parameter.VAR_POSITIONAL


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
        self._scales: dict[str, float | None] = {}  # matched once: an eager engine asks each step

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
        if name not in self._scales:
            matched = (factor for regex, factor in self.multipliers if regex.fullmatch(name))
            self._scales[name] = next(matched, None)
        return self._scales[name]


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
