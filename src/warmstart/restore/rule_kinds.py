"""The kinds of rule: each is one step from a source's names to the names that are asked for."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..errors import RuleError
from ..names import Pattern, joined, matcher, parent, without_output

#: What a mapping or a function may say of a name: its new name, several of them, or none.
NewNames = str | Iterable[str] | None


class Rule(ABC):
    """One step from a source's names to the names that are asked for."""

    #: Whether a name is left out since it was named, and not since another was.
    drops = False

    @abstractmethod
    def new_names(self, name: str) -> tuple[str, ...] | None:
        """Return what *name* becomes, `()` to drop it, None when this rule leaves it alone."""

    @abstractmethod
    def idle(self, names: Collection[str]) -> list[tuple[str, str]]:
        """Return the parts of this rule that match none of *names*: as written, and the pattern."""

    def new_slot_names(self, slot: str) -> tuple[str, ...] | None:
        """Return what *slot* becomes: where its variable goes, unless named itself."""
        own = self.new_names(slot)
        return own if own is not None else self.following(slot)

    def following(self, slot: str) -> tuple[str, ...] | None:
        """Return what *slot* becomes under the new names of its variable."""
        owner = parent(slot)
        new_owners = self.new_names(owner)
        if new_owners is None:
            return None
        return tuple(new + slot[len(owner) :] for new in new_owners)


@dataclass(frozen=True, slots=True)
class Rename(Rule):
    """Give the names that a regex matches in full the name that *replacement* expands to."""

    regex: re.Pattern[str]
    replacement: str
    pattern: str  # as written
    text: str

    def new_names(self, name: str) -> tuple[str, ...] | None:
        match = self.regex.fullmatch(name) or self.regex.fullmatch(name + ":0")
        return None if match is None else as_names(match.expand(self.replacement), name)

    def idle(self, names: Collection[str]) -> list[tuple[str, str]]:
        matched = any(self.new_names(name) is not None for name in names)
        return [] if matched else [(self.text, self.pattern)]


@dataclass(frozen=True, slots=True)
class Drop(Rule):
    """Leave out what any of the patterns matches."""

    drops = True
    patterns: tuple[Pattern, ...]

    def new_names(self, name: str) -> tuple[str, ...] | None:
        return () if matches(self.patterns, name) else None

    def idle(self, names: Collection[str]) -> list[tuple[str, str]]:
        return idle_patterns("drop", self.patterns, names)


@dataclass(frozen=True, slots=True)
class Keep(Rule):
    """Leave out what none of the patterns matches."""

    patterns: tuple[Pattern, ...]

    def new_names(self, name: str) -> tuple[str, ...] | None:
        return None if matches(self.patterns, name) else ()

    def new_slot_names(self, slot: str) -> tuple[str, ...] | None:
        return None if self.new_names(slot) is None else self.following(slot)

    def idle(self, names: Collection[str]) -> list[tuple[str, str]]:
        return idle_patterns("keep", self.patterns, names)


@dataclass(frozen=True, slots=True)
class Table(Rule):
    """Give each of the listed names the names it stands beside."""

    drops = True
    table: Mapping[str, tuple[str, ...]]

    def new_names(self, name: str) -> tuple[str, ...] | None:
        return self.table.get(name)

    def idle(self, names: Collection[str]) -> list[tuple[str, str]]:
        there = set(names)
        return [(f"the mapping's {old!r}", old) for old in self.table if old not in there]


@dataclass(frozen=True, slots=True)
class Function(Rule):
    """Ask a function for the new name.  It has no pattern to mistype, so it is never idle."""

    function: Callable[[str], NewNames]

    def new_names(self, name: str) -> tuple[str, ...] | None:
        new_names = as_names(self.function(name), name)
        return None if new_names == (name,) else new_names

    def idle(self, names: Collection[str]) -> list[tuple[str, str]]:
        return []


@dataclass(frozen=True, slots=True)
class Prefix(Rule):
    """Put every name under a scope."""

    prefix: str
    separator: str

    def new_names(self, name: str) -> tuple[str, ...] | None:
        return (joined(self.prefix, name, self.separator),)

    def idle(self, names: Collection[str]) -> list[tuple[str, str]]:
        return []


def as_names(new: NewNames, old: str) -> tuple[str, ...]:
    """Return what a mapping or a function says of *old* as a tuple of names."""
    one = isinstance(new, str) or not isinstance(new, Iterable | None)
    names: tuple[Any, ...] = (new,) if one else tuple(new or ())
    if not all(isinstance(name, str) and name for name in names):
        raise RuleError(f"a rule gives {old!r} the name {new!r}, which is not a name")
    return tuple(without_output(name) for name in names)


@lru_cache(maxsize=1024)
def test_of(pattern: Pattern) -> Callable[[str], bool]:
    """Return the compiled test of *pattern*, made once."""
    return matcher(pattern)


def matches(patterns: Iterable[Pattern], name: str) -> bool:
    """Return whether any of *patterns* matches *name*, with or without TensorFlow's `:0`."""
    return any(test_of(p)(name) or test_of(p)(name + ":0") for p in patterns)


def idle_patterns(
    verb: str, patterns: Iterable[Pattern], names: Collection[str]
) -> list[tuple[str, str]]:
    """Return those of *patterns* that match none of *names*, as written after *verb*."""
    idle = [p for p in patterns if not any(matches((p,), name) for name in names)]
    texts = [p if isinstance(p, str) else p.pattern for p in idle]
    return [(f"{verb} {text}", text) for text in texts]
