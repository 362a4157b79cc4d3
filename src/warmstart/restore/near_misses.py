"""Names that were nearly equal: which unused tensor a missing variable may have been meant to get.

All missing variables and all unused tensors are looked at together, since names speak for each
other (see `resemblance`).  A shape need not be equal: a transposed one will do, or one with other
axes of 1, and the suggestion says what is to be done.  One is made only where it is the best by a
margin.  What is left over is compared by spelling, for typing mistakes.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import cached_property
from itertools import islice

from ..names import words
from ..spec import TensorSpec
from .reaching import way_between
from .recipe import Recipe, Taken, after, first_name, steps_of
from .resemblance import Pair, scores
from .square import turned_like_others
from .what_names_say import Side

#: Names of each side that are looked at: some 20 microseconds each.
MAX_NAMES = 5_000

#: The score from which a pair is suggested, and by how much it must beat every other.
ENOUGH, MARGIN = 2.5, 0.1

#: The score from which a suggestion is as good as certain.
CERTAIN = 3.0

#: Why a suggestion is a guess.
SQUARE = "it is square, so that its shape does not tell which way it lies; others are turned around"
SPELLED = "it is only spelled nearly the same"

#: Words of layers whose variables are made of several parts, in an order of each framework's own.
GATED = frozenset(("lstm", "gru"))

#: Spelling is compared for this many names with this many others: each takes some 50 microseconds.
MAX_COMPARED = 40

#: How alike spellings must be, from 0 to 1.
LIKENESS = 0.75

Specs = Mapping[str, TensorSpec]

#: Missing variables, what is offered, and the names of what is needed elsewhere.
Sides = tuple[Specs, Specs, Iterable[str]]


@dataclass(frozen=True, slots=True)
class Near:
    """What a variable may have been meant to get."""

    recipe: Recipe
    doubt: str = ""  # why it is a guess

    @property
    def certain(self) -> bool:
        """Whether it is more than a guess."""
        return not self.doubt

    @property
    def old(self) -> str:
        """The tensor, the first of several."""
        return first_name(self.recipe)

    @property
    def steps(self) -> tuple[str, ...]:
        """What would be done to it, in words: "transpose 1 0"."""
        return tuple(steps_of(self.recipe))


def nearest(missing: Specs, unused: Specs, limit: int = MAX_NAMES) -> dict[str, Near]:
    """Return for those of *missing* that have one the nearest of *unused*.

    Of each side the first *limit* names are looked at.
    """
    if not missing or not unused:
        return {}
    target, source = Side(first(missing, limit)), Side(first(unused, limit))
    found = scores(target, source)
    chosen = Chosen(found)
    near = {
        target.specs[pair.target].name: (
            source.specs[pair.source],
            doubt_about(target, source, pair, found[pair]),
        )
        for pair in chosen.sure()
    }
    result = as_near({name: near[name] for name in missing if name in near}, missing)
    return by_spelling(missing, unused, result)


class Nearest(Mapping[str, Near]):
    """What `nearest` finds, looked for when it is first asked for: a plan alone needs it not."""

    def __init__(self, look: Callable[[], Sides]) -> None:
        self._look = look

    @cached_property
    def _sides(self) -> Sides:
        return self._look()

    @cached_property
    def _found(self) -> dict[str, Near]:
        missing, unused, _ = self._sides
        return nearest(missing, unused)

    @cached_property
    def names(self) -> Collection[str]:
        """What is offered, and what is needed elsewhere."""
        _, unused, taken = self._sides
        return [*taken, *unused]

    @property
    def missing(self) -> Set[str]:
        """The variables without a tensor."""
        return self._sides[0].keys()

    @property
    def offers(self) -> Specs:
        """What is not needed elsewhere."""
        return self._sides[1]

    def __getitem__(self, name: str) -> Near:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def doubt_about(target: Side, source: Side, pair: Pair, score: float) -> str:
    """Return why a suggestion is only a guess, "" where all names together, or its words, tell."""
    own, other = target.plain[pair.target], source.plain[pair.source]
    if not GATED.isdisjoint(own | other) and target.kinds[pair.target] is not None:
        return "the gates may lie in another order; layout= knows"
    if own == other or (score >= CERTAIN and own & other):
        return ""
    return "it is only the best of what is left"


def first(specs: Specs, limit: int) -> Specs:
    """Return the first *limit* of *specs*."""
    return dict(islice(specs.items(), limit))


@dataclass(slots=True)
class Chosen:
    """The pairs that go best together, each name in one at most."""

    scores: Mapping[Pair, float]
    of_target: dict[int, Pair] = field(default_factory=dict)
    of_source: dict[int, Pair] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for pair in sorted(self.scores, key=self.scores.__getitem__, reverse=True):
            if pair.target not in self.of_target and pair.source not in self.of_source:
                self.of_target[pair.target] = self.of_source[pair.source] = pair

    def sure(self) -> list[Pair]:
        """Return the pairs that no exchange comes near."""
        margins = {pair: self.scores[pair] - ENOUGH + MARGIN for pair in self.of_target.values()}
        for other, score in self.scores.items():
            own, theirs = self.of_target.get(other.target), self.of_source.get(other.source)
            if other == own:
                continue
            held = [pair for pair in (own, theirs) if pair is not None]
            loss = sum(self.scores[pair] for pair in held) - score
            if own and theirs:  # what the two that are left over would make together
                loss -= self.scores.get(Pair(theirs.target, own.source), 0)
            for pair in held:
                margins[pair] = min(margins[pair], loss)
        return [pair for pair, margin in margins.items() if margin >= MARGIN]


def as_near(found: Mapping[str, tuple[TensorSpec, str]], missing: Specs) -> dict[str, Near]:
    """Return what was *found*, with the steps that lead to the shapes of *missing*."""
    ways = {
        name: (spec, way.steps)
        for name, (spec, _) in found.items()
        if (way := way_between(spec.shape, missing[name].shape))
    }
    guessed = turned_like_others(ways, missing)
    return {
        name: Near(
            after(Taken(spec.name), guessed.get(name, steps)),
            SQUARE if name in guessed else found[name][1],
        )
        for name, (spec, steps) in ways.items()
    }


def by_spelling(missing: Specs, unused: Specs, found: dict[str, Near]) -> dict[str, Near]:
    """Return *found* and, for the first of *missing* without, what is spelled nearly the same."""
    taken = {near.old for near in found.values()}
    free = [spec for spec in unused.values() if spec.name not in taken]
    left = (name for name in missing if name not in found)
    for name in islice(left, MAX_COMPARED if free else 0):
        alike = [spec.name for spec in free if spec.shape == missing[name].shape]
        old = most_alike(name, alike[:MAX_COMPARED])
        if old is not None:
            found = {**found, name: Near(Taken(old), SPELLED)}
    return found


def most_alike(name: str, others: Iterable[str]) -> str | None:
    """Return the one of *others* whose spelling is most like that of *name*, if it is enough."""
    own = " ".join(words(name))
    likeness = {o: SequenceMatcher(None, own, " ".join(words(o))).ratio() for o in others}
    best = max(likeness.values(), default=0.0)
    winners = [other for other, ratio in likeness.items() if ratio == best]
    return winners[0] if best >= LIKENESS and len(winners) == 1 else None
