"""What to do about a tensor whose shape is not the variable's: what `fit` rules say.

    fit emb: pad                      the checkpoint's rows first, behind them the model's own
    fit head.*: slice                 the first of the checkpoint's rows
    fit pos_embed: interpolate cubic grid 1

Of several rules on a variable the last one counts.  Optimizer slots follow where they have their
variable's shape: cut alike, or with zeros behind; those of an interpolated variable begin anew.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import RuleError
from ..names import parent
from ..spec import TensorSpec
from .patterns import probe_of
from .plan import Match, Part, Tie
from .recipe import Made, Step, made
from .resize import Resize
from .rule_kinds import Written
from .rules import meant_text, refuse_idle
from .steps import Pad, Slice
from .value_rules import Fit

#: Why the slots of an interpolated variable are not restored.
BEGIN_ANEW = "begins anew, since its variable is interpolated"

#: Why the slots of another variable that was made to fit are not.
CANNOT_FOLLOW = "begins anew, since not all slots of its variable can be made to fit"

#: A pattern for a rule that is applied to what is known already.
ANY = probe_of("*")


def refuse_idle_fits(parts: Iterable[Part], names: Collection[str]) -> None:
    """Raise naming every rule on shapes that matches none of the model's *names*."""
    fits = dict.fromkeys(fit for part in parts for fit in part.fits)
    every = list(names)
    idle = [fit for fit in fits if fit.probe.idle(every)]
    refuse_idle([f"  {fit}{meant_text(fit.probe.pattern, every)}" for fit in idle])


def policy_of(target: TensorSpec, part: Part) -> Fit | None:
    """Return the rule that says what to do about a shape that is not that of *target*."""
    owner = parent(target.name) if target.role == "slot" else target.name
    rules = (fit for fit in reversed(part.fits) if fit.probe(target.name) or fit.probe(owner))
    return next(rules, None)


@dataclass(frozen=True, slots=True)
class Fitted:
    """Matches under the rules on shapes, and what became of slots."""

    matches: list[Match]
    ties: list[Tie]
    left: tuple[Mapping[str, str], ...]  # for each part: slot that cannot follow -> why


def fitted(matches: Sequence[Match], ties: Sequence[Tie], parts: Sequence[Part]) -> Fitted:
    """Return *matches* and *ties*, those whose shapes differ made to fit where a rule says how."""
    left = [dict(part.left) for part in parts]
    if not any(part.fits for part in parts):
        return Fitted(list(matches), list(ties), tuple(left))
    fits = {id(match): one for match in matches if (one := made_to_fit(match, parts)) is not None}
    changed = {(m.part, m.target.name): (m, fits[id(m)]) for m in matches if id(m) in fits}
    slots: dict[tuple[int, str], list[Match]] = {}
    for match in matches:
        owner = (match.part, parent(match.target.name))
        if match.target.role == "slot" and owner in changed:
            slots.setdefault(owner, []).append(match)
    for owner, of_one in slots.items():
        followed, why = following(of_one, *changed[owner])
        fits |= {id(slot): one for slot, one in zip(of_one, followed, strict=False)}
        left[owner[0]] |= {name: why for slot in of_one for name in slot.tensors if not followed}
    gone = {id(s) for of_one in slots.values() for s in of_one if s.tensors[0] in left[s.part]}
    result = [fits.get(id(match), match) for match in matches if id(match) not in gone]
    both = [(fits.get(id(t.match), t.match), made_to_fit(t.other, parts) or t.other) for t in ties]
    return Fitted(result, [Tie(*pair) for pair in both], tuple(left))


def made_to_fit(match: Match, parts: Sequence[Part]) -> Match | None:
    """Return *match* as a rule makes it fit, None where its shape fits or no rule can help."""
    if match.source.shape == match.target.shape:
        return None
    fit = policy_of(match.target, parts[match.part])
    return None if fit is None else as_asked(match, fit)


def as_asked(match: Match, fit: Fit) -> Match | None:
    """Return *match* as the rule *fit* makes it fit, None if it does not."""
    have, wanted = match.source.shape, match.target.shape
    if len(have) != len(wanted):
        return None
    sides = list(zip(have, wanted, strict=True))
    if fit.policy == "slice" and all(n >= size for n, size in sides):
        return with_steps(match, [Slice(a, 0, t) for a, (n, t) in enumerate(sides) if n != t])
    if fit.policy == "pad" and all(n <= size for n, size in sides):
        if match.target.role != "slot":
            return match._replace(source=match.source._replace(shape=wanted), onto=True)
        return with_steps(match, [Pad(a, 0, t - n) for a, (n, t) in enumerate(sides) if n != t])
    if fit.policy == "interpolate":
        return with_steps(match, [Resize(wanted, fit.cubic, fit.grid)])
    return None


def with_steps(match: Match, steps: Iterable[Step]) -> Match | None:
    """Return *match* with *steps* done to its values, None where one cannot be done."""
    recipe, spec = match.recipe, match.source
    try:
        for step in steps:
            recipe, spec = made(step, recipe), step.spec([spec])
    except RuleError:
        return None
    return match._replace(recipe=recipe, source=spec)


def following(slots: Sequence[Match], before: Match, after: Match) -> tuple[list[Match], str]:
    """Return *slots* as they follow their variable, all of them or none, and else why not.

    Half of a variable's slots is a state that no optimizer can go on from.
    """
    if isinstance(after.recipe, Made) and isinstance(after.recipe.step, Resize):
        return [], BEGIN_ANEW
    found = [follow(slot, before, after) for slot in slots]
    kept = [slot for slot in found if slot is not None]
    return (kept, "") if len(kept) == len(found) else ([], CANNOT_FOLLOW)


def follow(slot: Match, before: Match, after: Match) -> Match | None:
    """Return *slot* as it follows its variable, None if it cannot."""
    if slot.source.shape != before.source.shape:
        return slot if slot.source.shape == slot.target.shape else None
    wanted = slot._replace(target=slot.target._replace(shape=after.target.shape))
    policy = "pad" if after.onto else "slice"
    return as_asked(wanted, Fit(ANY, policy, Written(policy)))
