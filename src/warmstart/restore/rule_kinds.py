"""The rules about names: each is one step from a source's names to those that are asked for."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..errors import RuleError
from ..names import joined, parent, rescoped, without_output
from .globs import NewName
from .patterns import Probe
from .rows import Outcome, Rows

#: What a mapping or a function may say of a name: its new name, several of them, or none.
NewNames = str | Iterable[str] | None

#: Lines of a rule file: rules as strings, and mappings.
Lines = Sequence[str | Mapping[str, Any]]


class Rule(ABC):
    """One step from a source's tensors to what is asked for."""

    #: Whether a name is left out since it was named, and not since another was.
    drops = False

    @property
    def single(self) -> bool:
        """Whether the rule has one part, which surely matches if the rule does something."""
        return False

    @abstractmethod
    def on(self, rows: Rows, names: Sequence[str]) -> Outcome:
        """Return what this rule does to *rows*, whose names so far are *names*."""

    @abstractmethod
    def idle(self, names: Sequence[str]) -> list[tuple[str, str]]:
        """Return the parts of this rule that match none of *names*: as written, and the pattern."""

    @abstractmethod
    def written(self) -> Lines:
        """Return the lines of a rule file that say the same.  Raise RuleError where none can."""

    def back(self) -> Lines:
        """Return the lines that take this rule back, in order.  Raise RuleError if none can."""
        raise RuleError(f"{self}: what it leaves out is lost")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"


@dataclass(frozen=True, slots=True)
class Written:
    """How a rule is written, and what takes it back."""

    text: str
    reverse: str = ""
    lost: str = ""  # what one must know to take it back, where there is no line that does


class OneLine(Rule):
    """A rule that is one line of text."""

    line: Written

    @property
    def single(self) -> bool:
        return True

    def written(self) -> Lines:
        return [self.line.text]

    def back(self) -> Lines:
        if not self.line.reverse:
            raise RuleError(f"{self}: {self.line.lost}")
        return [self.line.reverse]

    def __str__(self) -> str:
        return self.line.text


class Naming(Rule):
    """A rule that looks at each name by itself."""

    @abstractmethod
    def new_names(self, name: str) -> tuple[str, ...] | None:
        """Return what *name* becomes, `()` to drop it, None when this rule leaves it alone."""

    def on(self, rows: Rows, names: Sequence[str]) -> Outcome:
        done = Outcome()
        gone = []
        for place, (name, slot) in enumerate(zip(names, rows.slot, strict=True)):
            new = self.new_slot_names(name) if slot else self.new_names(name)
            if new is None:
                continue
            if len(new) == 1:
                done.names[place] = new[0]
            elif new:
                done.rows[place] = tuple(map(rows[place].called, new))
            else:
                gone.append(place)
        done.dropped = gone
        return done

    def new_slot_names(self, slot: str) -> tuple[str, ...] | None:
        """Return what *slot* becomes: where its variable goes, unless named itself."""
        own = self.new_names(slot)
        if own is not None:
            return own
        owner = parent(slot)
        new_owners = self.new_names(owner)
        if new_owners is None:
            return None
        return tuple(new + slot[len(owner) :] for new in new_owners)


class Moving(OneLine):
    """A rule that gives each name that one pattern matches one other name."""

    probe: Probe

    @abstractmethod
    def moved(self, name: str) -> str | None:
        """Return what *name* becomes, None if this rule leaves it alone."""

    def moved_slot(self, slot: str) -> str | None:
        """Return what *slot* becomes: its own new name, or else under its variable's."""
        own = self.moved(slot)
        return own if own is not None else self.under_owner(slot)

    def under_owner(self, slot: str) -> str | None:
        """Return what *slot* becomes under the new name of its variable."""
        owner = parent(slot)
        new = self.moved(owner)
        return None if new is None else new + slot[len(owner) :]

    def on(self, rows: Rows, names: Sequence[str]) -> Outcome:
        changed, moved, slot = dict[int, str](), self.moved, rows.slot
        for place in self.probe.places(names):
            name = names[place]
            new = self.moved_slot(name) if slot[place] else moved(name)
            if new is not None:
                changed[place] = new
        return Outcome(changed)

    def idle(self, names: Sequence[str]) -> list[tuple[str, str]]:
        """Return the rule if it matches none of *names*, groups and all."""
        used = any(self.probe.match(names[place]) for place in self.probe.places(names))
        return [] if used else [(self.line.text, self.probe.pattern)]


@dataclass(frozen=True, slots=True, repr=False)
class Rename(Moving):
    """Give the names that a pattern matches in full the name that *new* makes of the match."""

    probe: Probe
    new: Callable[[Any], str]
    line: Written

    def moved(self, name: str) -> str | None:
        match = self.probe.match(name)
        return None if match is None else name_of(self.new(match), name)


class Choosing(Rule):
    """A rule that leaves names out by patterns, one of which alone may match nothing."""

    verb: ClassVar[str]
    patterns: tuple[Probe, ...]

    def meant(self, rows: Rows, names: Sequence[str]) -> set[int]:
        """Return the places of what any of the patterns matches, and of the slots of that."""
        slot = rows.slot
        return {
            place
            for probe in self.patterns
            for place in probe.places(names)
            if probe(names[place]) or (slot[place] and self.matches(parent(names[place])))
        }

    def matches(self, name: str) -> bool:
        """Return whether any of the patterns matches *name*, with or without `:0`."""
        return any(probe(name) for probe in self.patterns)

    def idle(self, names: Sequence[str]) -> list[tuple[str, str]]:
        return [(f"{self.verb} {p.pattern}", p.pattern) for p in self.patterns if p.idle(names)]

    def written(self) -> Lines:
        return [f"{self.verb} {probe.pattern}" for probe in self.patterns]

    def __str__(self) -> str:
        return ", ".join(map(str, self.written()))


@dataclass(frozen=True, slots=True, repr=False)
class Drop(Choosing):
    """Leave out what any of the patterns matches."""

    verb = "drop"
    drops = True
    patterns: tuple[Probe, ...]

    @property
    def single(self) -> bool:
        return len(self.patterns) == 1

    def on(self, rows: Rows, names: Sequence[str]) -> Outcome:
        return Outcome(dropped=self.meant(rows, names))


@dataclass(frozen=True, slots=True, repr=False)
class Keep(Choosing):
    """Leave out what none of the patterns matches."""

    verb = "keep"
    patterns: tuple[Probe, ...]

    def on(self, rows: Rows, names: Sequence[str]) -> Outcome:
        meant = self.meant(rows, names)
        return Outcome(dropped=[place for place in range(len(rows)) if place not in meant])


@dataclass(frozen=True, slots=True, repr=False)
class Table(Naming):
    """Give each of the listed names the names it stands beside."""

    drops = True
    table: Mapping[str, tuple[str, ...]]

    def new_names(self, name: str) -> tuple[str, ...] | None:
        return self.table.get(name)

    def idle(self, names: Sequence[str]) -> list[tuple[str, str]]:
        there = set(names)
        return [(f"the mapping's {old!r}", old) for old in self.table if old not in there]

    def written(self) -> Lines:
        return [{old: n[0] if len(n) == 1 else list(n) for old, n in self.table.items()}]

    def back(self) -> Lines:
        lost = [old for old, new in self.table.items() if not new]
        if lost:
            raise RuleError(f"the mapping drops {', '.join(map(repr, lost))}")
        copies: dict[str, Any] = {n: [] for new in self.table.values() for n in new[1:]}
        return [copies | {new[0]: old for old, new in self.table.items()}]

    def __str__(self) -> str:
        return f"the mapping of {', '.join(map(repr, list(self.table)[:3]))}"


@dataclass(frozen=True, slots=True, repr=False)
class Function(Naming):
    """Ask a function for the new name.  It has no pattern to mistype, so it is never idle."""

    function: Callable[[str], NewNames]

    def new_names(self, name: str) -> tuple[str, ...] | None:
        new_names = as_names(self.function(name), name)
        return None if new_names == (name,) else new_names

    def idle(self, names: Sequence[str]) -> list[tuple[str, str]]:
        return []

    def written(self) -> Lines:
        raise RuleError(f"{self} cannot be written in a rule file")

    def back(self) -> Lines:
        raise RuleError(f"{self}: only it knows what it does")

    def __str__(self) -> str:
        return f"the function {getattr(self.function, '__qualname__', self.function)}"


@dataclass(frozen=True, slots=True, repr=False)
class Prefix(Naming):
    """Put every name under a scope."""

    prefix: str
    separator: str

    def new_names(self, name: str) -> tuple[str, ...] | None:
        return (joined(self.prefix, name, self.separator),)

    def idle(self, names: Sequence[str]) -> list[tuple[str, str]]:
        return []

    def written(self) -> Lines:
        return [f"rename * -> {joined(self.prefix, '*', self.separator)}"]

    def __str__(self) -> str:
        return str(self.written()[0])


@dataclass(frozen=True, slots=True, repr=False)
class Scope(Moving):
    """Put what stands under one scope under another, with the separators of the new one below."""

    probe: Probe  # its last two groups are the separator after the old scope, and what is below
    new: NewName  # the new scope, without a separator at its end
    separators: tuple[str, str]  # the old one, "" if any will do; the new one, "" if it stays
    line: Written

    def moved(self, name: str) -> str | None:
        match = self.probe.match(name)
        if match is None:
            return None
        *key, between, below = match.groups()
        old, new = self.separators
        old = between or old
        return rescoped(below, self.new(tuple(key)), old, new or old)

    def moved_slot(self, slot: str) -> str | None:
        return self.under_owner(slot)  # what tells a slot from its variable separates no scopes


def name_of(new: str, old: str) -> str:
    """Return *new*, which a rule makes of *old*, as a name.  Raise RuleError if it is none."""
    if not new:
        raise RuleError(f"a rule gives {old!r} the name {new!r}, which is not a name")
    return without_output(new)


def as_names(new: NewNames, old: str) -> tuple[str, ...]:
    """Return what a mapping or a function says of *old* as a tuple of names."""
    one = isinstance(new, str | Mapping) or not isinstance(new, Iterable | None)
    names: tuple[Any, ...] = (new,) if one else tuple(new or ())
    if not all(isinstance(name, str) and name for name in names):
        raise RuleError(f"a rule gives {old!r} the name {new!r}, which is not a name")
    return tuple(without_output(name) for name in names)
