"""The rules about values: what is done to each tensor that a pattern matches.

Optimizer slots follow their variable where they have its shape; one number for a whole variable,
such as a count of steps, is kept as it is; what cannot follow is left out, and said.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ..spec import TensorSpec
from .fit import kind_of
from .patterns import Probe
from .recipe import Step, made_as_it_is
from .rows import Outcome, Row, Rows, is_one, matching, tried
from .rule_kinds import OneLine, Written
from .steps import Cast

#: What a `fit` rule may ask for, the default first.
POLICIES = ("error", "skip", "pad", "slice", "interpolate")


class OnPattern(OneLine):
    """A rule that one pattern sets off."""

    probe: Probe

    def idle(self, names: Sequence[str]) -> list[tuple[str, str]]:
        return [(self.line.text, self.probe.pattern)] if self.probe.idle(names) else []


@dataclass(frozen=True, slots=True, repr=False)
class Transform(OnPattern):
    """Do a step to each tensor that a pattern matches."""

    probe: Probe
    step: Step
    line: Written

    def on(self, rows: Rows, names: Sequence[str]) -> Outcome:
        done = Outcome()
        followers = []
        alike: dict[tuple[str, tuple[int, ...]], TensorSpec] = {}  # most have few shapes
        for place, name in matching(self.probe, rows, names):
            spec = rows.specs[place]
            if names[place] != name:
                followers.append((place, name))
            elif (made := alike.get((spec.dtype, spec.shape))) is not None:
                recipe = made_as_it_is((self.step, (rows.recipes[place],)))
                done.made[place] = recipe, spec.like(made)
            elif not self.spares(spec) and self.change(place, rows[place], done):
                alike[spec.dtype, spec.shape] = done.made[place][1]
        owners = {names[p]: rows.specs[p] for p in done.made} if followers else {}
        for place, owner in followers:
            if not self.spares(rows[place].spec):
                self.follow(place, rows[place], owners.get(owner), done)
        return done

    def spares(self, spec: TensorSpec) -> bool:
        """Return whether a tensor is left alone, though the pattern matches: it is of another kind.

        `cast *: bfloat16` is about floats, and not about the counters among them.
        """
        if not isinstance(self.step, Cast) or self.probe.plain:
            return False
        return kind_of(spec.dtype) != kind_of(self.step.dtype)

    def change(self, place: int, row: Row, done: Outcome) -> bool:
        """Note in *done* the row after the step, or why not; return whether it can be done."""
        made = tried(self.step, [row], row.name)
        if isinstance(made, str):
            done.faults.append((row.old, f"{self}: {made.removeprefix(f'{self.step}: ')}"))
        else:
            done.made[place] = made.recipe, made.spec
        return place in done.made

    def follow(self, place: int, slot: Row, owner: TensorSpec | None, done: Outcome) -> None:
        """Note in *done* what becomes of the slot of a variable that is changed."""
        each = isinstance(self.step, Cast)  # is done to each number, whatever the shape
        alike = each or owner is None or slot.spec.shape == owner.shape
        if not alike and is_one(slot.spec):
            return
        made = tried(self.step, [slot], slot.name) if alike else ""
        if isinstance(made, str):
            done.leave(place, slot, f"cannot follow {self}")
        else:
            done.made[place] = made.recipe, made.spec


@dataclass(frozen=True, slots=True, repr=False)
class Fit(OnPattern):
    """What to do where a variable of the model has another shape; the pattern means its name."""

    probe: Probe
    policy: str  # one of POLICIES
    line: Written
    cubic: bool = False
    grid: int | None = None  # tokens before a square grid of positions

    def on(self, rows: Rows, names: Sequence[str]) -> Outcome:
        return Outcome()

    def idle(self, names: Sequence[str]) -> list[tuple[str, str]]:
        return []  # a plan finds out, which knows the model
