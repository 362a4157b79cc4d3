"""What a restore would do, decided from specs alone: nothing is read, assigned or logged.

    parts = [Part(source, origin, label), ...]     the sources of a chain, the later one wins;
                                                   origin is name asked for -> recipe of it
    plan  = make_plan(parts, session)              see matching.py
    for name, verdict in plan.targets.items(): ...

A plan knows names, shapes and dtypes; what a framework does with them it leaves to the session.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import NamedTuple

from ..names import without_output
from ..source import Source
from ..spec import TensorSpec
from .near_misses import Nearest
from .recipe import Made, Recipe, distinct_names, steps_of
from .value_rules import Fit


class Verdict(StrEnum):
    """What becomes of a name.  Each name of a side has exactly one of these."""

    LOADED = "loaded"  # both sides
    MISMATCHED = "mismatched"  # both sides
    DROPPED = "dropped"  # both sides: by a rule, or ignored
    MISSING = "missing"  # of the session, and in no source
    UNUSED = "unused"  # of a source, and not in the session
    OVERRIDDEN = "overridden"  # of a source, where a later one has the same
    KEPT = "kept"  # not asked for: slots and run state without a counterpart, unselected names


@dataclass(frozen=True, slots=True)
class Part:
    """One source of a chain, what is asked for of it, and how that is made of its tensors."""

    source: Source
    origin: Mapping[str, Recipe]  # name asked for -> what it is made of; aliases will do
    label: str  # what messages call the source: mostly its path
    withheld: frozenset[str] = frozenset()  # names that rules keep from being filled
    ignore_mismatch: bool = False
    explicit: bool = False  # every name was chosen one by one: the rest is nobody's loss
    layout: str | None = None  # whose names and axis orders the source has, where that was said
    fits: tuple[Fit, ...] = ()  # what to do about other shapes; of those that match the last counts
    left: Mapping[str, str] = field(default_factory=dict)  # slot that cannot follow -> why


class Match(NamedTuple):
    """What a source has for a variable: a tensor as it is, or what a recipe makes of several.

    (A tuple: there may be a million.)
    """

    target: TensorSpec
    source: TensorSpec  # of what the recipe makes, under the name of the first tensor it takes
    old: str  # the name it was found by: that of `source`, or an alias
    part: int  # index in the chain
    recipe: Recipe  # of the source's tensors, each under its own name
    onto: bool = False  # the values come first, and behind them the variable keeps its own

    @property
    def cast(self) -> bool:
        """Whether the values change their dtype on the way."""
        return self.source.dtype != self.target.dtype

    @property
    def renamed(self) -> bool:
        """Whether the variable bears another name than the tensor."""
        return without_output(self.old) != self.target.name

    @property
    def transformed(self) -> bool:
        """Whether the values are other than the tensor's, beside a cast."""
        return self.onto or isinstance(self.recipe, Made)

    @property
    def steps(self) -> str:
        """What is done to the tensors, in words: "transpose 1 0"."""
        own = ["behind them the model's own"] if self.onto else []
        return ", ".join([*steps_of(self.recipe), *own])

    @property
    def tensors(self) -> tuple[str, ...]:
        """The tensors of the source that feed the variable, the first one first."""
        return distinct_names(self.recipe)


#: Makes a match of its fields, in half the time.
match_of: Callable[[tuple[TensorSpec, TensorSpec, str, int, Recipe, bool]], Match]
match_of = partial(tuple.__new__, Match)


@dataclass(frozen=True, slots=True)
class Misfit:
    """A match of names that is none of shapes or dtypes."""

    match: Match
    reason: str  # "shape" or "dtype"
    fatal: bool  # neither ignored nor overridden
    rule: str = ""  # on its shape, as it is written


@dataclass(frozen=True, slots=True)
class Tie:
    """What one source has twice for one tied variable: the values must be equal."""

    match: Match
    other: Match


@dataclass(frozen=True, slots=True)
class Plan:
    """Which tensor fills which variable, and what becomes of all other names."""

    labels: tuple[str, ...]
    specs: Mapping[str, TensorSpec]  # the session's, and the slots that would be created
    targets: Mapping[str, Verdict]
    sources: tuple[Mapping[str, Verdict], ...]  # one for each part
    matches: Mapping[str, Match]  # target -> the tensor that wins
    overridden: Mapping[str, tuple[Match, ...]]  # target -> those that lost, in chain order
    misfits: tuple[Misfit, ...]
    ties: tuple[Tie, ...]
    near: Nearest  # missing variable -> what it may have been meant to get
    left: tuple[Mapping[str, str], ...] = ()  # for each part: slot that does not follow -> why

    def named(self, verdict: str) -> list[str]:
        """Return the session's names with *verdict*: "loaded".  Raise ValueError for no verdict."""
        if verdict not in [*Verdict]:
            raise ValueError(f"no verdict is {verdict!r}; the verdicts: {', '.join(Verdict)}")
        return [name for name, given in self.targets.items() if given == verdict]

    @property
    def loaded(self) -> tuple[str, ...]:
        """Variables that would be loaded."""
        return tuple(self.named(Verdict.LOADED))

    @property
    def missing(self) -> tuple[str, ...]:
        """Variables of the model that no source has; slots and counters are not counted."""
        return tuple(self.named(Verdict.MISSING))

    @property
    def unused(self) -> tuple[str, ...]:
        """Tensors of the sources that the model does not have; slots and counters do not count."""
        return self._of_sources(Verdict.UNUSED)

    @property
    def dropped(self) -> tuple[str, ...]:
        """Tensors of the sources left out by a rule or ignored."""
        return self._of_sources(Verdict.DROPPED)

    def _of_sources(self, verdict: Verdict) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for _, name in self.source_names(verdict)))

    def source_names(self, verdict: Verdict) -> list[tuple[int, str]]:
        """Return the sources' names with *verdict*, each with its part's index."""
        return [
            (part, name)
            for part, verdicts in enumerate(self.sources)
            for name, given in verdicts.items()
            if given == verdict
        ]

    def __str__(self) -> str:
        """Return the table of what would become of every name."""
        from .report import Report

        return str(Report(self, done=False))
