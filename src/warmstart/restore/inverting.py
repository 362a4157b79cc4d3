"""Taking rules back: what a conversion did, undone.

    back = inverted(rules)                    from how they are written, where that says enough
    back = inverted(rules, original)          from the names and shapes there were: nearly all
    way = way_back(rules, original.specs)     the same, with the tensors of which nothing is left

A rule that loses something (`slice`, a cast to fewer bits) cannot be taken back.  What is dropped
whole can be taken from the original, by whoever has its values.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import RuleError
from ..names import without_output
from ..source import Source
from ..spec import RUN_PREFIX, TensorSpec
from .grammar import parse, parse_line
from .recipe import (
    Made,
    Recipe,
    Step,
    Taken,
    distinct_names,
    first_name,
    names_in,
    spec_from,
    tensors_in,
    with_inputs,
)
from .rows import Outcome, Row, Rows
from .rule_kinds import Lines, Rule
from .steps import Concatenate, Slice, Stack, Take
from .value_rules import Fit

#: How many names an error on lost tensors gives.
MAX_NAMES = 3


def inverted(
    rules: Any, original: "Source | Mapping[str, TensorSpec] | None" = None
) -> tuple[Rule, ...]:
    """Return the rules that take *rules* back, in any of the forms they may be written in.

    With the *original*, a source or its specs, also those are taken back that do not say all that
    they change: regexes, functions, `reshape`, `concatenate`, casts to more bits.
    Raise RuleError naming every rule that cannot be taken back, and what is lost.
    """
    parsed = parse(rules)
    if original is None:
        return from_writing(parsed)
    way = way_back(parsed, original.specs if isinstance(original, Source) else original)
    if way.dropped:
        advice = "ws.convert(..., inverse=True, original=...) takes these from the original."
        raise cannot(losing((rule, name) for name, rule in way.dropped.items()), advice)
    return way.rules


@dataclass(frozen=True, slots=True)
class WayBack:
    """What takes rules back, but for the tensors that they drop."""

    rules: tuple[Rule, ...]
    dropped: Mapping[str, str]  # tensor of the original of which nothing is left -> by which rule


def cannot(faults: Iterable[str], advice: str = "") -> RuleError:
    """Return one error on all *faults*, and what to do about them."""
    lines = ["these rules cannot be taken back:", *(f"  {fault}" for fault in faults)]
    return RuleError("\n".join([*lines, advice] if advice else lines))


def from_writing(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """Return the inverse of *rules* from how they are written."""
    back: list[Rule] = []
    faults = []
    for rule in rules:
        try:
            back = [*map(parse_line, rule.back()), *back]
        except RuleError as error:
            faults.append(str(error))
    if faults:
        advice = "More can be with a checkpoint from before them: original=, or --original."
        raise cannot(faults, advice)
    return tuple(back)


def way_back(rules: Sequence[Rule], specs: Mapping[str, TensorSpec]) -> WayBack:
    """Return what takes *rules* on tensors of *specs* back.

    Raise RuleError naming every rule that cannot be taken back, and what is lost: a part of a
    tensor, the rest of which is there.
    """
    bare = {name: without_output(name) for name in specs if not name.startswith(RUN_PREFIX)}
    rows = [Row(new, Taken(new), specs[n], specs[n].role == "slot") for n, new in bare.items()]
    roots = {new: frozenset({name}) for name, new in bare.items()}  # of each name now, the tensors
    back: list[Rule] = []
    faults: list[str] = []
    losses: list[tuple[str, str, frozenset[str]]] = []
    for rule in rules:
        after = Rows.of(rows)
        done = rule.on(after, after.names)
        after.change(done)
        undo, lost = undone(rows, after, str(rule))
        faults += [text for _, text in done.faults]
        faults += [f"{rule} is about variables of a model"] if isinstance(rule, Fit) else []
        losses += [(str(rule), name, roots[name]) for name in lost]
        back = [undo, *back] if undo.origin or undo.gone else back
        roots = {
            row.name: frozenset().union(*(roots[name] for name in names_in(row.recipe)))
            for row in after
            if row.kept
        }
        rows = [Row(r.name, Taken(r.name), r.spec, r.slot) for r in after if r.kept]
    left = frozenset().union(*roots.values())
    faults += losing((by, name) for by, name, own in losses if not own.isdisjoint(left))
    if faults:
        raise cannot(faults)
    return WayBack(tuple(back), {name: by for by, _, own in losses for name in sorted(own)})


@dataclass(frozen=True, slots=True, repr=False)
class Undo(Rule):
    """Make again, of what one rule left, what it was given; found out for each tensor by name."""

    origin: Mapping[str, Recipe]  # name -> recipe of what is there now
    gone: frozenset[str]  # copies, which nothing needs
    text: str

    def on(self, rows: Rows, names: Sequence[str]) -> Outcome:
        done = Outcome()
        places = {name: place for place, name in enumerate(names)}
        there = {name: rows[place] for name, place in places.items() if rows[place].kept}
        for name, recipe in self.origin.items():
            needed = distinct_names(recipe)
            lacking = [part for part in needed if part not in there]
            if lacking and len(lacking) < len(needed):
                listed = ", ".join(map(repr, lacking))
                done.faults.append(
                    (there_first(needed, there).old, f"{self}: there is no {listed}")
                )
            if lacking:
                continue
            done.rows |= {places[part]: done.rows.get(places[part], ()) for part in needed}
            done.rows[places[first_name(recipe)]] += (remade(name, recipe, there),)
        done.rows |= {places[name]: () for name in self.gone if name in there}
        return done

    def idle(self, names: Sequence[str]) -> list[tuple[str, str]]:
        there = set(names)
        unused = there.isdisjoint(tensors_in(self.origin.values()))
        return [(self.text, next(iter(self.origin), ""))] if unused else []

    def written(self) -> Lines:
        raise RuleError(f"{self} cannot be written in a rule file")

    def __str__(self) -> str:
        return self.text


def there_first(names: Iterable[str], there: Mapping[str, Row]) -> Row:
    """Return the row of the first of *names* that is *there*."""
    return next(there[name] for name in names if name in there)


def remade(name: str, recipe: Recipe, there: Mapping[str, Row]) -> Row:
    """Return the row of what *recipe* makes of the rows *there*, by their names, as *name*."""
    first = there[first_name(recipe)]
    spec = spec_from(recipe, {part: there[part].spec for part in names_in(recipe)})
    own = with_inputs(recipe, {part: there[part].recipe for part in names_in(recipe)})
    return Row(name, own, spec._replace(name=first.spec.name), first.slot, renamed=True)


def undone(before: Iterable[Row], after: Rows, text: str) -> tuple[Undo, list[str]]:
    """Return what makes *before* of *after*, whose recipes take it by name, and what is lost."""
    specs = {row.name: row.spec for row in before}
    ways = Ways(specs)
    for row in after:
        if row.kept:
            ways.follow(row.recipe, Taken(row.name))
    for whole, pieces in ways.pieces.items():
        again = put_together(pieces, spec_from(whole, specs))
        if again is not None:
            ways.follow(whole, again)
    used = tensors_in(ways.back.values())
    gone = frozenset(row.name for row in after if row.kept) - used
    lost = [name for name in specs if name not in ways.back]
    return Undo(ways.back, gone, f"the inverse of {text}"), lost


@dataclass(slots=True)
class Ways:
    """How tensors can be made again of what was made of them."""

    specs: Mapping[str, TensorSpec]
    back: dict[str, Recipe] = field(default_factory=dict)  # the first way found for each name
    pieces: dict[Recipe, list[tuple[Step, Recipe]]] = field(default_factory=dict)  # what was cut

    def follow(self, recipe: Recipe, there: Recipe) -> None:
        """Note what *there*, which is what *recipe* made, says of the tensors it was made of."""
        if isinstance(recipe, Taken):
            self.back.setdefault(recipe.name, there)
            return
        specs = [spec_from(part, self.specs) for part in recipe.inputs]
        ways = recipe.step.inverse(specs)
        if ways is None:
            self.pieces.setdefault(recipe.inputs[0], []).append((recipe.step, there))
        for part, way in zip(recipe.inputs, ways or (), strict=False):
            self.follow(part, with_inputs(way, {"": there}))


def put_together(pieces: Sequence[tuple[Step, Recipe]], spec: TensorSpec) -> Recipe | None:
    """Return what makes a tensor of *spec* of the *pieces* it was cut into, None if some lack."""
    cuts = [(step, there) for step, there in pieces if isinstance(step, Slice | Take)]
    if not cuts or len({(type(step), step.axis) for step, _ in cuts}) != 1:
        return None
    first = cuts[0][0]
    size = spec.shape[first.axis]
    sides = sorted((*sides_of(step, size), rank) for rank, (step, _) in enumerate(cuts))
    ends = [0, *(end for _, end, _ in sides)]
    if [begin for begin, _, _ in sides] != ends[:-1] or ends[-1] != size:
        return None
    step = Concatenate(first.axis) if isinstance(first, Slice) else Stack(first.axis)
    return Made(step, tuple(cuts[rank][1] for _, _, rank in sides))


def sides_of(step: Slice | Take, size: int) -> tuple[int, int]:
    """Return where what *step* takes of an axis of *size* begins and ends."""
    if isinstance(step, Take):
        return step.place, step.place + 1
    begin, end, _ = slice(step.begin, step.end).indices(size)
    return begin, end


def losing(losses: Iterable[tuple[str, str]]) -> list[str]:
    """Return a line for each rule of *losses*, (rule, name), that says what it loses."""
    by_rule: dict[str, list[str]] = {}
    for rule, name in losses:
        by_rule.setdefault(rule, []).append(name)
    return [f"{rule} loses {some(names)}" for rule, names in by_rule.items()]


def some(names: Sequence[str]) -> str:
    """Return the first of *names*, and how many more there are."""
    listed = ", ".join(map(repr, names[:MAX_NAMES]))
    return f"{listed} and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else listed
