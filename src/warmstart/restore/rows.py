"""What rules see and leave: a row for each name on its way from a source to the model.

    rows = Rows.of([Row("fc/w", Taken("fc/w"), spec), ...])
    done = rule.on(rows, rows.names)       what changes in which row
    rows.change(done)

A row says what a tensor is called so far and what it is made of; values are far away.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, compress, count
from operator import not_
from typing import Any, NamedTuple, TypeVar

from ..errors import RuleError
from ..names import parent, without_outputs
from ..spec import TensorSpec
from .patterns import Names, Probe
from .recipe import Recipe, Step, first_name


class Row(NamedTuple):
    """A tensor on its way; one that was dropped goes on, to say what it would be called."""

    name: str  # so far, without TensorFlow's `:0`
    recipe: Recipe
    spec: TensorSpec  # of what the recipe makes
    slot: bool = False
    kept: bool = True
    renamed: bool = False

    @property
    def old(self) -> str:
        """The name it began with."""
        return first_name(self.recipe)

    def called(self, name: str) -> "Row":
        """Return the row under another name."""
        _, recipe, spec, slot, kept, _ = self
        return row_of((name, recipe, spec, slot, kept, True))

    def dropped(self) -> "Row":
        """Return the row as one that is not asked for."""
        return Row(self.name, self.recipe, self.spec, self.slot, False, self.renamed)


#: Makes a row of its fields, in half the time.
row_of: Callable[[tuple[str, Recipe, TensorSpec, bool, bool, bool]], Row]
row_of = partial(tuple.__new__, Row)


@dataclass(slots=True)
class Outcome:
    """What a rule does to rows, each by its place; whatever it does not name stays as it is."""

    names: dict[int, str] = field(default_factory=dict)  # new names
    made: dict[int, tuple[Recipe, TensorSpec]] = field(default_factory=dict)  # other values
    dropped: Collection[int] = ()
    rows: dict[int, tuple[Row, ...]] = field(default_factory=dict)  # what stands in place of which
    faults: list[tuple[str, str]] = field(default_factory=list)  # old name, what cannot be done
    left: dict[str, str] = field(default_factory=dict)  # old name of a slot -> why it is dropped

    def places(self) -> Iterator[int]:
        """Yield the places of all rows that are changed."""
        return chain(self.names, self.made, self.dropped, self.rows)

    def leave(self, place: int, slot: Row, why: str) -> None:
        """Drop the *slot* at *place*, which cannot follow its variable."""
        self.rows[place] = (slot.dropped(),)
        self.left[slot.old] = why


@dataclass(slots=True)
class Rows:
    """Rows, kept column by column: most rules change one column of some of them.

    They are changed in place, since to copy a hundred thousand takes longer than most rules do.
    """

    names: Names
    recipes: list[Recipe]
    specs: list[TensorSpec]
    slot: bytearray  # of 0 and 1, as are those below
    kept: bytearray
    renamed: bytearray
    are_first: bool = True  # none of them has come in the place of others

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "Rows":
        """Return *rows*, column by column."""
        columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in Row._fields]
        names, recipes, specs, *flags = columns
        slot, kept, renamed = map(bytearray, flags)
        return cls(Names(names), recipes, specs, slot, kept, renamed)

    @classmethod
    def taken(
        cls, recipes: Mapping[str, Recipe], specs: Mapping[str, TensorSpec], slots: Collection[str]
    ) -> "Rows":
        """Return the rows of *recipes*, by name, that take tensors of *specs* as they are."""
        n = len(recipes)
        return cls(
            names=Names(without_outputs(recipes)),
            recipes=list(recipes.values()),
            specs=[specs[name] for name in recipes],
            slot=bytearray(map(slots.__contains__, recipes) if slots else n),
            kept=bytearray(b"\1" * n),
            renamed=bytearray(n),
        )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, place: int) -> Row:
        flags = self.slot[place] == 1, self.kept[place] == 1, self.renamed[place] == 1
        return row_of((self.names[place], self.recipes[place], self.specs[place], *flags))

    def __iter__(self) -> Iterator[Row]:
        return map(self.__getitem__, range(len(self)))

    def those_kept(self) -> Iterator[int]:
        """Yield the places of what no rule has dropped."""
        return compress(count(), self.kept)

    def those_dropped(self) -> Iterator[int]:
        """Yield the places of what a rule has dropped."""
        return compress(count(), map(not_, self.kept))

    def asked_for(self) -> tuple[list[str], list[Recipe]]:
        """Return the names that what is kept is asked for by, and beside them the recipes.

        What no rule has renamed keeps the `:0` that it may have.
        """
        names = list(self.names)
        for place in compress(count(), map(not_, self.renamed)):
            names[place] = first_name(self.recipes[place])
        return list(compress(names, self.kept)), list(compress(self.recipes, self.kept))

    def change(self, done: Outcome) -> None:
        """Make the changes that are *done* by a rule."""
        for place, (recipe, spec) in done.made.items():
            self.recipes[place], self.specs[place] = recipe, spec
        for place in done.dropped:
            self.kept[place] = 0
        for place in done.names:
            self.renamed[place] = 1
        self.names.change(done.names)
        if done.rows:
            self.replace(done.rows)

    def replace(self, rows: Mapping[int, tuple[Row, ...]]) -> None:
        """Put others in place of the rows at the keys of *rows*."""
        places, self.are_first = sorted(rows), False
        self.names = Names(spliced(self.names, rows, places, 0))
        self.recipes = spliced(self.recipes, rows, places, 1)
        self.specs = spliced(self.specs, rows, places, 2)
        self.slot = spliced(self.slot, rows, places, 3)
        self.kept = spliced(self.kept, rows, places, 4)
        self.renamed = spliced(self.renamed, rows, places, 5)


Column = TypeVar("Column", list[Any], bytearray)


def spliced(
    column: Column,
    rows: Mapping[int, Sequence[tuple[Any, ...]]],
    places: Sequence[int],
    number: int,
) -> Column:
    """Return *column* with the field *number* of others in place of the *rows* at *places*."""
    result, begin = column[:0], 0
    for place in places:
        result += column[begin:place]
        result.extend([row[number] for row in rows[place]])
        begin = place + 1
    return result + column[begin:]


def made_row(step: Step, inputs: Sequence[Row], name: str) -> Row:
    """Return the row of what *step* makes of *inputs*, under *name*.  Raise RuleError."""
    first = inputs[0]
    spec = step.spec([row.spec for row in inputs])
    recipe = step.of(tuple([row.recipe for row in inputs]))
    return Row(name, recipe, spec, first.slot, renamed=first.renamed or name != first.name)


def tried(step: Step, inputs: Sequence[Row], name: str) -> Row | str:
    """Return `made_row`, or why it cannot be done."""
    try:
        return made_row(step, inputs, name)
    except RuleError as error:
        return str(error)


def matching(probe: Probe, rows: Rows, names: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield the places of rows to change, each with the name that matched: its own or its owner's.

    A slot whose variable matches follows that, whether or not it matches too.
    """
    fullmatch, slot, kept = probe.regex.fullmatch, rows.slot, rows.kept
    for place in probe.places(names):
        name = names[place]
        if not kept[place]:
            continue
        if slot[place] and probe(owner := parent(name)):
            yield place, owner
        elif fullmatch(name) or probe(name):
            yield place, name


def is_one(spec: TensorSpec) -> bool:
    """Return whether a slot is one number for its whole variable, such as a count of steps."""
    return spec.size <= 1
