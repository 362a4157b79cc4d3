"""The rules about layouts, for files and graphs that do not say what their layers are.

    layout keras                                           whose the checkpoint's layers are
    carry bert/encoder/* as dense: keras -> torch          what these layers become in a file
    carry *.attn as multi_head_attention: torch -> keras heads 8

The pattern of `carry` means the path of a layer, to whose end a separator and a leaf belong.  Slots
that have the shape of their variable follow it where it becomes one variable.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...errors import RuleError
from ...layer import CONVENTIONS
from ...names import dotted, leaf_of, parent
from ..arguments import are_texts
from ..patterns import Probe, probe_of
from ..recipe import Recipe, first_name, names_in, spec_from, with_inputs
from ..rows import Outcome, Row, Rows, is_one
from ..rule_kinds import Lines, Rule
from ..slips import nearest
from . import alone, recurrent
from .side import CannotCarryError, Recipes, Side

#: What people say for a convention.
FRAMEWORKS = {"tensorflow": "keras", "tf": "keras", "jax": "flax", "nnx": "flax", "linen": "flax"}


@dataclass(frozen=True, slots=True, repr=False)
class Layout(Rule):
    """Whose names and axis orders the checkpoint's layers have."""

    convention: str

    def on(self, rows: Rows, names: Sequence[str]) -> Outcome:
        return Outcome()

    def idle(self, names: Sequence[str]) -> list[tuple[str, str]]:
        return []

    def written(self) -> Lines:
        return [str(self)]

    def back(self) -> Lines:
        raise RuleError(f"{self}: whose layout the other side has is not known")

    def __str__(self) -> str:
        return f"layout {self.convention}"


@dataclass(frozen=True, slots=True)
class Found:
    """A layer among the rows: its leaves, each with the place of its row."""

    path: str
    separator: str
    places: Mapping[str, int]

    def under(self, leaf: str) -> str:
        """Return the name of *leaf*, dots between its scopes, in the layer."""
        spelled = leaf.replace(".", self.separator)
        return f"{self.path}{self.separator}{spelled}" if self.path else spelled


@dataclass(frozen=True, slots=True)
class Way:
    """What becomes of one variable, by which its slots follow it."""

    leaf: str
    name: str
    recipe: Recipe  # of the leaf

    def of(self, slot: Row, owner: str) -> Row | None:
        """Return *slot* of the variable *owner* behind it, None where its shape does not fit."""
        name = self.name + slot.name[len(owner) :]
        if is_one(slot.spec):
            return slot.called(name)
        try:
            spec = spec_from(self.recipe, {self.leaf: slot.spec})
        except RuleError:
            return None
        recipe = with_inputs(self.recipe, {self.leaf: slot.recipe})
        return Row(name, recipe, spec, slot=True, renamed=True)


@dataclass(frozen=True, slots=True, repr=False)
class Carry(Rule):
    """Write layers of one convention as another has them."""

    probe: Probe
    kind: str
    source: str
    target: str
    options: tuple[tuple[str, int], ...]

    def on(self, rows: Rows, names: Sequence[str]) -> Outcome:
        done = Outcome()
        ways: dict[str, Way | None] = {}
        for layer in self.layers(rows, names):
            specs = {leaf: rows[place].spec for leaf, place in layer.places.items()}
            if not alone.is_of_kind(self.kind, specs):
                continue
            have = Side(self.source, specs, self.said)
            try:
                found = alone.in_convention(self.kind, have, self.target)
            except (CannotCarryError, RuleError) as reason:
                first = rows[min(layer.places.values())]
                done.faults.append((first.old, f"{self}: {layer.path or 'the model'}: {reason}"))
                continue
            made_of = {layer.under(leaf): recipe for leaf, recipe in found.items()}
            done.rows |= replaced(layer, made_of, rows, have)
            ways |= {rows[p].name: way(leaf, made_of) for leaf, p in layer.places.items()}
        self.follow(rows, ways, done)
        return done

    @property
    def said(self) -> dict[str, int]:
        """The options by their names."""
        return dict(self.options)

    def layers(self, rows: Rows, names: Sequence[str]) -> list[Found]:
        """Return the layers that the pattern means, in the order of their first rows."""
        found: dict[tuple[str, str], dict[str, int]] = {}
        for place, path, separator, leaf in self.leaves(names):
            if rows[place].kept and not rows[place].slot:
                found.setdefault((path, separator), {})[leaf] = place
        return [Found(path, separator, leaves) for (path, separator), leaves in found.items()]

    def leaves(self, names: Sequence[str]) -> Iterator[tuple[int, str, str, str]]:
        """Yield the place of each of *names* in a layer that the pattern means.

        With it come the path of the layer, the separator behind that, and the leaf.
        """
        spellings = {
            spelling: leaf
            for leaf, every in alone.leaves(self.kind, self.source, self.said).items()
            for spelling in reversed(every)
        }
        ends: dict[str, list[str]] = {}
        for spelling in spellings:
            ends.setdefault(leaf_of(spelling), []).append(spelling)
        for place, name in enumerate(names):
            for spelling in ends.get(leaf_of(name), ()):
                for path, separator in scope_above(name, spelling):
                    if self.probe(path):
                        yield place, path, separator, spellings[spelling]

    def follow(self, rows: Rows, ways: Mapping[str, Way | None], done: Outcome) -> None:
        """Note in *done* what becomes of the slots of variables: variable -> its way."""
        for place, slot in enumerate(rows):
            owner = parent(slot.name)
            if not slot.slot or owner not in ways:
                continue
            found = ways[owner]
            after = None if found is None else found.of(slot, owner)
            if after is None:
                done.leave(place, slot, f"cannot follow {self}")
            else:
                done.rows[place] = (after,)

    def idle(self, names: Sequence[str]) -> list[tuple[str, str]]:
        matched = any(True for _ in self.leaves(names))
        return [] if matched else [(str(self), self.probe.pattern)]

    def written(self) -> Lines:
        return [str(self)]

    def back(self) -> Lines:
        if self.kind in recurrent.GATES:
            raise RuleError(f"{self}: of two biases only the sum may be left")
        return [str(carry(self.probe.pattern, self.kind, self.target, self.source, **self.said))]

    def __str__(self) -> str:
        said = "".join(f" {name} {number}" for name, number in self.options)
        return f"carry {self.probe.pattern} as {self.kind}: {self.source} -> {self.target}{said}"


def scope_above(name: str, leaf: str) -> Iterator[tuple[str, str]]:
    """Yield the path of the layer of which *name* is *leaf* (dots within), and what follows it."""
    if dotted(name) == leaf:
        yield "", "." if "." in name else "/"
    elif dotted(name).endswith("." + leaf):
        above = len(name) - len(leaf) - 1
        yield name[:above], name[above]


def replaced(layer: Found, made_of: Recipes, rows: Rows, have: Side) -> dict[int, tuple[Row, ...]]:
    """Return the new rows of *layer*, each in the place of the first it is made of."""
    inputs = {leaf: rows[place].recipe for leaf, place in layer.places.items()}
    needed = {leaf: None for recipe in made_of.values() for leaf in names_in(recipe)}
    result: dict[int, tuple[Row, ...]] = {layer.places[leaf]: () for leaf in needed}
    for name, recipe in made_of.items():
        spec = spec_from(recipe, have.leaves)
        result[layer.places[first_name(recipe)]] += (
            Row(name, with_inputs(recipe, inputs), spec, renamed=True),
        )
    return result


def way(leaf: str, made_of: Recipes) -> Way | None:
    """Return where *leaf* goes if it becomes one variable, and nothing else goes there."""
    goes = [(name, recipe) for name, recipe in made_of.items() if leaf in names_in(recipe)]
    if len(goes) != 1 or set(names_in(goes[0][1])) != {leaf}:
        return None
    return Way(leaf, *goes[0])


def carry(pattern: str, kind: str, source: str, target: str, **options: int) -> Rule:
    """Return the rule that writes the layers at *pattern* as *target* has them, not *source*.

    *kind* is one of `warmstart.layer.KINDS`; the conventions are "torch", "keras", "flax".  Options
    say what no shape tells: `heads` of attention, `layers` and `bidirectional` of an LSTM or GRU,
    `multiplier` of a depthwise convolution.
    """
    are_texts("carry", pattern=pattern, kind=kind, source=source, target=target)
    text = f"carry {pattern} as {kind}: {source} -> {target}"
    if kind not in alone.OPTIONS:
        known = ", ".join(alone.OPTIONS)
        hint = nearest(kind.lower(), alone.OPTIONS)
        raise RuleError(f"{text!r}: no kind is called {kind!r}{hint}; known: {known}")
    for convention in (source, target):
        checked_layout(convention, text)
    if source == target:
        raise RuleError(f"{text!r}: both sides are the same")
    wrong = [name for name in options if name not in alone.OPTIONS[kind]]
    if wrong:
        known = ", ".join(alone.OPTIONS[kind]) or "none"
        raise RuleError(f"{text!r} does not take {', '.join(wrong)}; known: {known}")
    return Carry(probe_of(pattern), kind, source, target, tuple(sorted(options.items())))


def layout(convention: str) -> Rule:
    """Return the rule that says whose names and axis orders the checkpoint's layers have."""
    return Layout(checked_layout(convention, f"layout {convention}"))


def said_layout(convention: str | None) -> str | None:
    """Return what was said as `layout=`, refusing what is no convention."""
    if convention is None:
        return None
    return checked_layout(convention, f"layout={convention!r}")


def checked_layout(convention: str, text: str) -> str:
    """Return *convention*, refusing what is none; an error names the rule, *text*."""
    if convention not in CONVENTIONS:
        known = ", ".join(CONVENTIONS)
        said = str(convention).lower()
        hint = nearest(FRAMEWORKS.get(said, said), CONVENTIONS)
        raise RuleError(f"{text}: no layout is called {convention!r}{hint}; known: {known}")
    return convention
