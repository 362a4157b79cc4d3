"""What rules see and leave: a row for each name on its way from a source to the model.

    rows = [Row("fc/w", Taken("fc/w"), spec), ...]
    done = rule.on(rows, [row.name for row in rows])      what comes in place of which row
    rows, names = spliced(rows, names, done.rows)

A row says what a tensor is called so far and what it is made of; values are far away.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..errors import RuleError
from ..names import parent
from ..spec import TensorSpec
from .patterns import Probe
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
        return Row(name, self.recipe, self.spec, self.slot, self.kept, renamed=True)

    def dropped(self) -> "Row":
        """Return the row as one that is not asked for."""
        return Row(self.name, self.recipe, self.spec, self.slot, False, self.renamed)


Rows = Sequence[Row]


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


def spliced(
    rows: Rows, names: Sequence[str], changes: Mapping[int, tuple[Row, ...]]
) -> tuple[Rows, Sequence[str]]:
    """Return *rows* with others in place of those at the keys of *changes*, and their names."""
    if not changes:
        return rows, names
    if any(len(new) != 1 for new in changes.values()):
        every = [new for place, row in enumerate(rows) for new in changes.get(place, (row,))]
        return every, [row.name for row in every]
    result, called = list(rows), list(names)
    for place, (new,) in changes.items():
        result[place], called[place] = new, new.name
    return result, called


def made_row(step: Step, inputs: Rows, name: str) -> Row:
    """Return the row of what *step* makes of *inputs*, under *name*.  Raise RuleError."""
    first = inputs[0]
    spec = step.spec([row.spec for row in inputs])
    recipe = Made(step, tuple(row.recipe for row in inputs))
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
    for place in probe.places(names):
        row = rows[place]
        if not row.kept:
            continue
        if row.slot and probe(owner := parent(row.name)):
            yield place, owner
        elif probe(row.name):
            yield place, row.name


def is_one(spec: TensorSpec) -> bool:
    """Return whether a slot is one number for its whole variable, such as a count of steps."""
    return spec.size <= 1
