"""What the sessions on trees and on modules have in common: variables by name, with their cells."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import CheckpointError
from .arrays import is_abstract
from .trees import Cell, refuse_ambiguous


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable: its name, what it is for, and where its value is kept."""

    name: str
    role: str
    cell: Cell
    synonyms: tuple[str, ...] = ()  # what files of the framework call it

    @property
    def leaf(self) -> Any:
        """The value as the model holds it."""
        return self.cell.get()


@dataclass(frozen=True, slots=True)
class Variables:
    """All variables of a model and its optimizer as they were when looked at."""

    by_name: Mapping[str, Variable] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    synonyms: Mapping[str, str] = field(default_factory=dict)
    unheld: Mapping[str, str] = field(default_factory=dict)  # values no checkpoint holds: name, why

    def find(self, name: str) -> Variable | None:
        """Return the variable of that name or alias, if there is one."""
        return self.by_name.get(self.aliases.get(name, name))

    def of_role(self, role: str) -> list[Variable]:
        """Return the variables of *role*."""
        return [v for v in self.by_name.values() if v.role == role]


def gathered(
    variables: Iterable[Variable],
    aliases: Mapping[str, str] | None = None,
    unheld: Mapping[str, str] | None = None,
) -> Variables:
    """Return *variables* by name; raise NameConflict for names that several have.

    Of the synonyms those count that mean one variable and are no name themselves.
    """
    variables, aliases = list(variables), dict(aliases or {})
    refuse_ambiguous([*(v.name for v in variables), *aliases])
    by_name = {v.name: v for v in variables}
    meant: dict[str, set[str]] = {}
    for variable in variables:
        for synonym in variable.synonyms:
            meant.setdefault(synonym, set()).add(variable.name)
    synonyms = {
        synonym: next(iter(names))
        for synonym, names in meant.items()
        if len(names) == 1 and synonym not in by_name and synonym not in aliases
    }
    return Variables(by_name, aliases, synonyms, dict(unheld or {}))


def refuse_empty(variables: Iterable[Variable]) -> None:
    """Raise naming all *variables* that have no value to be trained from."""
    empty = [v.name for v in variables if is_abstract(v.leaf)]
    if empty:
        raise CheckpointError(
            f"{', '.join(empty)}: no value yet, since the model is abstract; restore it before "
            "it is trained"
        )
