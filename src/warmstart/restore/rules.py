"""What rules make of the tensors of a source: which are asked for, called what, and made how.

Rules are applied in order, and each sees the names that the one before it left; grammar.py says
how they are written.  Optimizer slots follow their variable, names of run state (`_RUN/...`) are
neither seen nor touched, and a rule that matches nothing is an error: it is nearly always a typing
mistake.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..binary.garbage import collection_paused
from ..errors import NameConflict, RuleError
from ..names import meant, near
from ..source import Source
from ..spec import RUN_PREFIX, TensorSpec
from .grammar import parse
from .recipe import Recipe, first_name, taken, tensors_in, without_aliases
from .rows import Outcome, Rows
from .rule_kinds import Rule
from .value_rules import Fit

#: How many idle parts of a rule get a suggestion: finding one compares thousands of names.
MAX_HINTS = 20

#: Lines of one error on what cannot be done; beyond it the rest is counted.
MAX_FAULTS = 30


@dataclass(frozen=True, slots=True)
class Seen:
    """What rules see of a source: its tensors, each by every name it is asked for."""

    specs: Mapping[str, TensorSpec]
    ties: Mapping[str, str] = field(default_factory=dict)  # a name -> the one that stands for it
    slots: Collection[str] = ()  # names that stand under their variable's and follow it
    fellows: Collection[str] = ()  # names of which those of one tensor are dropped together
    recipes: Mapping[str, Recipe] | None = None  # `taken` of all, if someone has made them before


@dataclass(frozen=True, slots=True)
class Ruled:
    """What rules make of a list of names."""

    origin: dict[str, Recipe]  # new name -> what it is made of; a tensor may be in several
    dropped: tuple[str, ...]  # names that nothing is made of
    withheld: frozenset[str]  # the names that what was dropped would have ended on
    left: dict[str, str] = field(default_factory=dict)  # slot that cannot follow -> why
    fits: tuple[Fit, ...] = ()  # what to do about other shapes, in order


@dataclass(frozen=True, slots=True)
class Trace:
    """What rules make of names, and what is wrong with them: lines for an error each."""

    ruled: Ruled
    idle: list[str]
    faults: list[str]


def apply(rules: Any, seen: Seen) -> Ruled:
    """Return what *rules* make of what is *seen* of a source.

    Raise RuleError naming every rule that matches nothing or cannot be done to a tensor, and
    NameConflict naming every two tensors that end on one name.
    """
    done = trace(parse(rules), seen)
    refuse_idle(done.idle)
    refuse_faults(done.faults)
    refuse_fits(done.ruled.fits)
    return done.ruled


def trace(rules: Iterable[Rule], seen: Seen) -> Trace:
    """Return what *rules* make of what is *seen*, and a line for each thing wrong with them.

    Raise NameConflict.
    """
    rules = tuple(rules)
    with collection_paused():
        return traced(rules, seen)


def traced(rules: Sequence[Rule], seen: Seen) -> Trace:
    """Return `trace`, while no garbage is looked for: all that is made is kept."""
    ties = seen.ties
    recipes = taken(seen.specs) if seen.recipes is None else seen.recipes
    run = [name for name in recipes if name.startswith(RUN_PREFIX)]
    ruled = {n: r for n, r in recipes.items() if not n.startswith(RUN_PREFIX)} if run else recipes
    rows = Rows.taken(ruled, seen.specs, seen.slots)
    notes = Notes(first=rows.names.copy())
    for rule in rules:
        apply_one(rule, rows, seen, notes)
    origin = origin_of(rows, ties)
    origin |= {name: recipes[name] for name in run}
    gone = unused(rows, seen)
    result = Ruled(
        origin=origin,
        dropped=tuple([name for name in seen.specs if name in gone and name not in ties]),
        withheld=frozenset(rows.names[place] for place in rows.those_dropped()),
        left=notes.left,
        fits=tuple(rule for rule in rules if isinstance(rule, Fit)),
    )
    faults = [text for old, text in notes.faults if ties.get(old, old) not in gone]
    return Trace(result, notes.idle, list(dict.fromkeys(faults)))


def unused(rows: Rows, seen: Seen) -> set[str]:
    """Return the names in *seen* that nothing is made of, for tied ones by the one that stands."""
    lost = tensors_in(rows.recipes[place] for place in rows.those_dropped())
    if rows.are_first and not seen.ties:  # each tensor is in one row
        return lost
    kept = tensors_in(rows.recipes[place] for place in rows.those_kept())
    there = {seen.ties.get(name, name) for name in kept}
    ruled = (name for name in seen.specs if not name.startswith(RUN_PREFIX))
    return {name for name in ruled if name not in there}


@dataclass(slots=True)
class Notes:
    """What is found out rule by rule."""

    first: Sequence[str]  # the names before any rule
    left_over: list[str] | None = None  # those there are now, once they have been asked for
    idle: list[str] = field(default_factory=list)
    faults: list[tuple[str, str]] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)


def apply_one(rule: Rule, rows: Rows, seen: Seen, notes: Notes) -> None:
    """Change *rows* by one *rule*; what is wrong with it goes into *notes*."""
    done = rule.on(rows, rows.names)
    if not used(rule, done, rows):
        notes.idle += idle_parts(rule, rows, notes)
    changes = any(True for _ in done.places())
    if changes:
        notes.left_over = None
    notes.faults += done.faults
    notes.left |= done.left
    rows.change(done)
    if seen.fellows and rule.drops and changes:
        rows.change(Outcome(dropped=together(rows, seen)))


def used(rule: Rule, done: Outcome, rows: Rows) -> bool:
    """Return whether *rule* surely matches a name, by what it did: looking again takes as long."""
    return rule.single and any(rows.kept[p] and not rows.slot[p] for p in done.places())


def fellows_of(source: Source) -> set[str]:
    """Return the names that share their tensor's fate: the derived ones, and what they stand for.

    Who drops the momentum of a file by its place means it under its parameter's name as well; tied
    tensors, each a tensor in the model, are dropped one by one.
    """
    return set(source.derived).union(source.aliases[alias] for alias in source.derived)


def refuse_idle(idle: Collection[str]) -> None:
    """Raise if there is a part of a rule that matches nothing."""
    if idle:
        raise RuleError("\n".join(["these rules match nothing:", *idle]))


def refuse_faults(faults: Collection[str]) -> None:
    """Raise if there is a rule that cannot be done to a tensor that it matches."""
    if faults:
        lines = [f"  {fault}" for fault in [*faults][:MAX_FAULTS]]
        more = [f"  ... and {len(faults) - MAX_FAULTS} more"] if len(faults) > MAX_FAULTS else []
        raise RuleError("\n".join(["these rules cannot be done:", *lines, *more]))


def refuse_fits(fits: Collection[Fit]) -> None:
    """Raise if there is a rule on shapes where no model is."""
    if fits:
        lines = [f"  {fit}" for fit in fits]
        head = "these rules are about variables of a model; for a file there are slice and pad:"
        raise RuleError("\n".join([head, *lines]))


def together(rows: Rows, seen: Seen) -> list[int]:
    """Return the places of what goes, under any of its names, as one of its fellows has gone."""
    olds = enumerate(map(first_name, rows.recipes))
    tied = [(place, seen.ties.get(old, old)) for place, old in olds if old in seen.fellows]
    gone = {tensor for place, tensor in tied if not rows.kept[place]}
    return [place for place, tensor in tied if tensor in gone]


def origin_of(rows: Rows, ties: Mapping[str, str]) -> dict[str, Recipe]:
    """Return new name -> recipe, or raise naming every two tensors that end on one name."""
    names, recipes = rows.asked_for()
    origin = dict(zip(names, recipes, strict=True))
    if len(origin) == len(names):
        return origin
    asked = list(zip(names, recipes, strict=True))
    origin = dict(reversed(asked))  # the first of each
    conflicts = [
        f"  {first_name(origin[name])!r} and {first_name(recipe)!r} are both {name!r}"
        for name, recipe in asked
        if origin[name] is not recipe
        and without_aliases(origin[name], ties) != without_aliases(recipe, ties)
    ]
    if conflicts:
        raise NameConflict(
            "\n".join(["two tensors end on one name; drop or rename one of them:", *conflicts])
        )
    return {name: origin[name] for name, _ in asked}


def idle_parts(rule: Rule, rows: Rows, notes: Notes) -> list[str]:
    """Return a line for each part of *rule* that matches no name; the first ones with a hint."""
    if notes.left_over is None:  # the next idle rule is looked for among the same names
        notes.left_over = list(dict.fromkeys(rows.names[place] for place in rows.those_kept()))
    parts = rule.idle(notes.left_over)
    before = rule.idle(notes.first) if parts else []
    return [
        f"  {text}{hint(pattern, notes.left_over, used=(text, pattern) not in before, rank=rank)}"
        for rank, (text, pattern) in enumerate(parts, len(notes.idle))
    ]


def hint(pattern: str, names: Collection[str], *, used: bool, rank: int) -> str:
    """Return the end of a message on the idle *pattern*: it is *used* up, or near what it is."""
    if used:
        return "    matches only names that the rules before it have changed or dropped"
    return meant_text(pattern, names) if rank < MAX_HINTS else ""


def meant_text(pattern: str, names: Collection[str]) -> str:
    """Return the end of a message that says what the idle *pattern* may have been, or nothing."""
    if pattern.startswith(RUN_PREFIX):
        return "    rules leave run state alone; ws.open reads it"
    found = meant(pattern, names)
    if not found and ", " in pattern:
        return "    a rule takes one pattern"
    return f"    near it: {', '.join(found)}" if found else ""


def near_text(wanted: str, names: Collection[str]) -> str:
    """Return the end of a message that names what is near *wanted*, or nothing."""
    found = near(wanted, names)
    return f"    near it: {', '.join(found)}" if found else ""
