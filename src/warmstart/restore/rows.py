"""What rules see and leave: a row for each name on its way from a source to the model.

    flow = Flow.of([Row("fc/w", Taken("fc/w"), spec), ...])
    done = rule.on(flow.rows, flow.names)       what comes in place of which row
    flow.change(done.rows)

A row says what a tensor is called so far and what it is made of; values are far away.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from ..errors import RuleError
from ..names import parent
from ..spec import TensorSpec
from .patterns import Names, Probe
from .recipe import Made, Recipe, Step, first_name


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

    def made(self, step: Step, alike: TensorSpec) -> "Row":
        """Return the row after *step*, of which comes a tensor like *alike*."""
        spec = TensorSpec(self.spec.name, alike.dtype, alike.shape, self.spec.role)
        recipe = Made(step, (self.recipe,))
        return row_of((self.name, recipe, spec, self.slot, self.kept, self.renamed))

    def dropped(self) -> "Row":
        """Return the row as one that is not asked for."""
        return Row(self.name, self.recipe, self.spec, self.slot, False, self.renamed)


Rows = Sequence[Row]

#: Makes a row of its fields, in half the time.
row_of: Callable[[tuple[str, Recipe, TensorSpec, bool, bool, bool]], Row]
row_of = partial(tuple.__new__, Row)


@dataclass(slots=True)
class Outcome:
    """What a rule does to rows; whatever it does not name stays as it is."""

    rows: dict[int, tuple[Row, ...]] = field(default_factory=dict)  # what stands in place of which
    faults: list[tuple[str, str]] = field(default_factory=list)  # old name, what cannot be done
    left: dict[str, str] = field(default_factory=dict)  # old name of a slot -> why it is dropped

    def leave(self, place: int, slot: Row, why: str) -> None:
        """Drop the *slot* at *place*, which cannot follow its variable."""
        self.rows[place] = (slot.dropped(),)
        self.left[slot.old] = why


@dataclass(slots=True)
class Flow:
    """Rows and their names on the way through the rules.

    It is changed in place: to copy a hundred thousand takes longer than most rules do.
    """

    rows: list[Row]
    names: Names  # of the rows

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "Flow":
        """Return the flow of *rows*."""
        rows = list(rows)
        return cls(rows, Names(row.name for row in rows))

    def change(self, changes: Mapping[int, tuple[Row, ...]]) -> None:
        """Put others in place of the rows at the keys of *changes*."""
        if any(len(new) != 1 for new in changes.values()):
            every = (changes.get(place, (row,)) for place, row in enumerate(self.rows))
            self.rows = [row for new in every for row in new]
            self.names = Names(row.name for row in self.rows)
            return
        rows, names = self.rows, self.names
        moved: dict[int, str] = {}
        for place, (new,) in changes.items():
            rows[place] = new
            if new[0] is not names[place]:
                moved[place] = new[0]
        names.change(moved)


def made_row(step: Step, inputs: Rows, name: str) -> Row:
    """Return the row of what *step* makes of *inputs*, under *name*.  Raise RuleError."""
    first = inputs[0]
    spec = step.spec([row.spec for row in inputs])
    recipe = Made(step, tuple([row.recipe for row in inputs]))
    return Row(name, recipe, spec, first.slot, renamed=first.renamed or name != first.name)


def tried(step: Step, inputs: Rows, name: str) -> Row | str:
    """Return `made_row`, or why it cannot be done."""
    try:
        return made_row(step, inputs, name)
    except RuleError as error:
        return str(error)


def matching(probe: Probe, rows: Rows, names: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield the places of rows to change, each with the name that matched: its own or its owner's.

    A slot whose variable matches follows that, whether or not it matches too.
    """
    regex = probe.regex
    for place in probe.places(names):
        name, _, _, slot, kept, _ = rows[place]
        if not kept:
            continue
        if slot and probe(owner := parent(name)):
            yield place, owner
        elif regex.fullmatch(name) or probe(name):
            yield place, name


def is_one(spec: TensorSpec) -> bool:
    """Return whether a slot is one number for its whole variable, such as a count of steps."""
    return spec.size <= 1
