"""How much the variables of one model resemble those of another, name by name.

What the names say by themselves, and the shapes, is only the beginning:

    words     in the words of one framework; those that are everywhere count for little
    numbers   `layer_3` and `layers.3`; those that are the same everywhere do not count
    order     where both sides are in the order of the layers

Then each pair votes for the scopes that it stands in, and for the pattern of its names: pairs whose
scopes and patterns go together with those of many others win over those whose do not.  So
`conv2_block1_3_bn/gamma` finds `layer1.0.bn3.weight`, though no word is the same.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

from .reaching import way_between
from .what_names_say import Numbers, Part, Side, Words

#: What each finding counts for, at most.
SHAPE, KIND, WORDS, NUMBERS, ORDER = 0.6, 0.9, 0.8, 0.25, 0.3
SCOPES, PATTERNS = 1.5, 0.7

#: How often the votes are counted, and how sharply the better of two pairs is preferred each time.
SHARPNESS = (6, 10, 14)

#: Of equal size and unequal number, so many names of each side are paired with each of the other.
MAX_CROSSED = 1024

#: Share of a vote under which it is not counted.
MIN_VOTE = 0.01

#: Pairs that are looked at in all: each takes some 50 microseconds.
MAX_PAIRS = 20_000

#: Where names alike but for their numbers are very many, each is compared with those that share
#: one of its rarest words, so many words and so many of each.
RAREST, MAX_ALIKE = 2, 20

Group = list[int]  # places of names that are alike but for their numbers


class Pair(NamedTuple):
    """A variable and a tensor that could be its, by their places in their lists."""

    target: int
    source: int


class Scopes:
    """The scopes that names stand in, cut between words: a scope in a scope alone counts once."""

    def __init__(self, side: Side, places: Iterable[int]) -> None:
        count = Counter(
            own[:end]
            for own, spec in zip(side.words, side.specs, strict=True)
            if spec.size > 1
            for end in range(len(own))
        )
        self.of: dict[int, list[int]] = {}
        self.sizes: list[int] = []
        known: dict[Words, int] = {}
        for place in places:
            own, before = side.words[place], 1
            self.of[place] = found = []
            for end in reversed(range(len(own))):
                size = count[own[:end]]
                if size > before:
                    scope = known.setdefault(own[:end], len(known))
                    self.sizes += [size] * (scope == len(self.sizes))
                    found.append(scope)
                    before = size


def pairs_between(target: Side, source: Side) -> dict[Pair, float]:
    """Return the pairs whose shapes and kinds let them be one, with what these count for."""
    found: dict[Pair, float] = {}
    theirs = in_groups(source)
    for size, groups in in_groups(target).items():
        for own, other in groups_to_compare(target, groups, source, theirs.get(size, [])):
            likely = likely_by_shape_and_kind(target, own[0], source, other[0])
            if likely is not None and len(found) < MAX_PAIRS:
                found |= dict.fromkeys(paired(target, own, source, other), likely)
    return found


def groups_to_compare(
    target: Side, own: Sequence[Group], source: Side, other: Sequence[Group]
) -> Iterator[tuple[Group, Group]]:
    """Yield each two groups of one size; of very many only those that share their rarest words."""
    if len(own) * len(other) <= MAX_CROSSED:
        yield from product(own, other)
        return
    by_word: dict[str, list[Group]] = defaultdict(list)
    for group in other:
        for word in source.plain[group[0]]:
            by_word[word].append(group)
    for group in own:
        known = sorted(target.plain[group[0]] & by_word.keys(), key=lambda w: len(by_word[w]))
        alike = {id(found): found for word in known[:RAREST] for found in by_word[word][:MAX_ALIKE]}
        for found in alike.values():
            yield group, found


def in_groups(side: Side) -> dict[int, list[Group]]:
    """Return by size the places of *side* whose names and shapes are alike, ordered by number."""
    groups: dict[tuple[int, Words, tuple[int, ...]], list[int]] = {}
    for place, (pattern, spec) in enumerate(zip(side.patterns, side.specs, strict=True)):
        groups.setdefault((spec.size, pattern, spec.shape), []).append(place)
    by_size: dict[int, list[Group]] = {}
    for (size, _, _), places in groups.items():
        by_size.setdefault(size, []).append(
            sorted(places, key=lambda place: side.numbers[place].layer)
        )
    return by_size


def likely_by_shape_and_kind(target: Side, own: int, source: Side, other: int) -> float | None:
    """Return what the shapes and kinds of two names count for, None where they rule it out."""
    way = way_between(source.specs[other].shape, target.specs[own].shape)
    if way is None:
        return None
    kinds = {target.kinds[own], source.kinds[other]}
    if "count" in kinds and (len(kinds) > 1 or target.words[own][-1] != source.words[other][-1]):
        return None
    if None in kinds:
        return SHAPE * way.likely
    if len(kinds) == 1:
        return SHAPE * way.likely + KIND
    flat = max(len(target.specs[own].shape), len(source.specs[other].shape)) < 2
    return None if flat else SHAPE * way.likely - KIND


def paired(target: Side, own: Group, source: Side, other: Group) -> Iterable[Pair]:
    """Return the pairs of two groups: in their order where they are equally many."""
    if len(own) == len(other):
        return map(Pair, own, other)
    if len(own) * len(other) <= MAX_CROSSED:
        return [Pair(t, s) for t in own for s in other]
    by_layer = {source.numbers[s].layer: s for s in other}
    same = [(t, by_layer.get(target.numbers[t].layer)) for t in own]
    return [Pair(t, s) for t, s in same if s is not None]


def scores(target: Side, source: Side) -> dict[Pair, float]:
    """Return how much each pair that can be one speaks for itself."""
    pairs = pairs_between(target, source)
    own, other = {p.target for p in pairs}, {p.source for p in pairs}
    in_order = target.in_order and source.in_order
    places = target.ranks(own), source.ranks(other)
    alone = {
        pair: likely
        + WORDS * words_in_common(target, source, pair)
        + NUMBERS * numbers_in_common(target.numbers[pair.target], source.numbers[pair.source])
        + (ORDER * nearness(places[0][pair.target], places[1][pair.source]) if in_order else 0)
        for pair, likely in pairs.items()
    }
    scopes = Scopes(target, own), Scopes(source, other)
    found, before = alone, dict[Pair, float]()
    for sharpness in SHARPNESS:
        votes = votes_of(found, sharpness)
        if votes == before:
            break
        before = votes
        by_scope = agreement_of_scopes(votes, *scopes)
        by_pattern = agreement_of_patterns(votes, target, source)
        found = {
            pair: score
            + SCOPES * agreement(by_scope, scopes[0].of[pair[0]], scopes[1].of[pair[1]])
            + PATTERNS * by_pattern.get((target.patterns[pair[0]], source.patterns[pair[1]]), 0)
            for pair, score in alone.items()
        }
    return found


def words_in_common(target: Side, source: Side, pair: Pair) -> float:
    """Return what share of what two names tell in words is the same."""
    common = target.plain[pair.target] & source.plain[pair.source]
    if not common:
        return 0
    told = sum(min(target.weights[word], source.weights[word]) for word in common)
    return 2 * told / (target.weight_of_all[pair.target] + source.weight_of_all[pair.source])


def numbers_in_common(own: Numbers, other: Numbers) -> float:
    """Return from 0 to 1 how well the numbers of two names agree, those of layers and of parts."""
    if own.of == other.of:
        layers = float(own.rank == other.rank)
    else:
        layers = in_common(own.layer, other.layer)
    return (layers + parts_in_common(own.part, other.part)) / 2


def parts_in_common(own: Part | None, other: Part | None) -> float:
    """Return whether two names are of the same part: the first and the first, where as many."""
    if own is None or other is None:
        return float(own is other)
    if own.of == other.of:
        return float(own.rank == other.rank)
    return float(own.number == other.number)


def in_common(own: Sequence[int], other: Sequence[int]) -> float:
    """Return what share of two names' numbers is the same, from the front or from the end.

    >>> in_common((3, 1), (4, 1)), in_common((2,), (2, 0)), in_common((), ())
    (0.5, 0.5, 1)
    """
    if not (own or other):
        return 1
    ahead = sum(a == b for a, b in zip(own, other, strict=False))
    behind = sum(a == b for a, b in zip(reversed(own), reversed(other), strict=False))
    return max(ahead, behind) / max(len(own), len(other))


def nearness(own: tuple[int, int], other: tuple[int, int]) -> float:
    """Return from 1 down to 0 how near two ranks are, each the rank and among how many.

    >>> nearness((3, 10), (3, 10)), nearness((0, 2), (1, 2)) < 0.4, nearness((9, 10), (19, 20))
    (1.0, True, 1.0)
    """
    places = [rank / max(1, count - 1) for rank, count in (own, other)]
    return math.exp(-abs(places[0] - places[1]) * max(own[1] - 1, other[1] - 1))


def votes_of(found: Mapping[Pair, float], sharpness: float) -> dict[Pair, float]:
    """Return for each pair how sure both of its names are of it; little is left out."""
    best: tuple[dict[int, float], dict[int, float]] = ({}, {})
    for pair, score in found.items():
        for side in (0, 1):
            best[side][pair[side]] = max(score, best[side].get(pair[side], score))
    powers = {
        pair: tuple(math.exp(sharpness * (score - best[side][pair[side]])) for side in (0, 1))
        for pair, score in found.items()
    }
    sums: tuple[dict[int, float], dict[int, float]] = (defaultdict(float), defaultdict(float))
    for pair, power in powers.items():
        sums[0][pair.target] += power[0]
        sums[1][pair.source] += power[1]
    votes = {p: x / sums[0][p.target] * y / sums[1][p.source] for p, (x, y) in powers.items()}
    return {pair: vote for pair, vote in votes.items() if vote > MIN_VOTE}


def agreement_of_scopes(
    votes: Mapping[Pair, float], own: Scopes, other: Scopes
) -> dict[tuple[int, int], float]:
    """Return of which share of two scopes' names the pairs are with each other."""
    total: dict[tuple[int, int], float] = defaultdict(float)
    for pair, vote in votes.items():
        for x in own.of[pair.target]:
            for y in other.of[pair.source]:
                total[x, y] += vote
    return {(x, y): 2 * vote / (own.sizes[x] + other.sizes[y]) for (x, y), vote in total.items()}


def agreement_of_patterns(
    votes: Mapping[Pair, float], target: Side, source: Side
) -> dict[tuple[Words, Words], float]:
    """Return of which share of two patterns' names the pairs are with each other."""
    both: dict[tuple[Words, Words], float] = defaultdict(float)
    own: dict[Words, float] = defaultdict(float)
    other: dict[Words, float] = defaultdict(float)
    for pair, vote in votes.items():
        x, y = target.patterns[pair.target], source.patterns[pair.source]
        both[x, y] += vote
        own[x] += vote
        other[y] += vote
    return {(x, y): 2 * vote / (own[x] + other[y]) for (x, y), vote in both.items()}


def agreement(
    by_scope: Mapping[tuple[int, int], float], own: Sequence[int], other: Sequence[int]
) -> float:
    """Return how well the scopes of two names go together, each with its best, on average."""
    if not own or not other:
        return 0
    table = [[by_scope.get((x, y), 0) for y in other] for x in own]
    best: list[float] = [*map(max, table), *map(max, zip(*table, strict=True))]
    return sum(best) / len(best)
