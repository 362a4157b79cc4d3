"""What the names of one model say by themselves: words, numbers, kinds, places in the order.

layer4.2.conv1.weight      words     layer, conv, weight    in the words of one framework too
                           numbers   the layer 4.2, the part 1 of it
                           kind      a kernel
"""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from ..names import words
from ..spec import TensorSpec
from .vocabulary import kind_of, owner_of, plain_word

#: Parts of a layer that are told apart by a number: `conv1`, `conv2`, `conv3`.
MAX_PARTS = 4

Words = tuple[str, ...]


class Part(NamedTuple):
    """The number of a part of a layer: `2` in `conv2`."""

    number: int
    rank: int  # among the numbers there
    of: int  # so many


class Numbers(NamedTuple):
    """The numbers in a name."""

    layer: tuple[int, ...]
    rank: int  # of the layer, among those with names that are alike
    of: int  # so many
    part: Part | None


class Side:
    """The names of one side, and what they say."""

    def __init__(self, specs: Mapping[str, TensorSpec]) -> None:
        self.specs = list(specs.values())
        self.words = [words(spec.name) for spec in self.specs]
        self.plain = [
            frozenset(plain_word(w) for w in own if not w.isdigit()) for own in self.words
        ]

    @cached_property
    def kinds(self) -> list[str | None]:
        """What kind of variable each is; the bias of a normalisation is told from others."""
        kinds = [kind_of(w, len(s.shape)) for w, s in zip(self.words, self.specs, strict=True)]
        owners = [owner_of(own) for own in self.words]
        norms = {
            owner
            for owner, kind in zip(owners, kinds, strict=True)
            if kind in ("scale", "mean", "variance")
        }
        return [
            "shift" if kind == "bias" and owner in norms else kind
            for owner, kind in zip(owners, kinds, strict=True)
        ]

    @cached_property
    def columns(self) -> dict[Words, list[set[str]]]:
        """The numbers at each place of the names that are alike but for their numbers."""
        columns: dict[Words, list[set[str]]] = {}
        for own in self.words:
            seen = columns.setdefault(without_numbers(own), [set() for _ in own])
            for column, word in zip(seen, own, strict=True):
                column.add(word)
        return columns

    @cached_property
    def part_places(self) -> dict[Words, int | None]:
        """Where in names that are alike the number of a part of a layer stands."""
        return {alike: part_told_apart(columns) for alike, columns in self.columns.items()}

    @cached_property
    def patterns(self) -> list[Words]:
        """Each name's words, with `#` for the numbers of layers, not for that of a part."""
        return [
            tuple(
                word if place == part else mark
                for place, (word, mark) in enumerate(zip(own, alike, strict=True))
            )
            for own, alike in zip(self.words, map(without_numbers, self.words), strict=True)
            for part in [self.part_places[alike]]
        ]

    @cached_property
    def numbers(self) -> list[Numbers]:
        """The numbers in each name: its layer's, its place among those alike, its part's."""
        layers = [
            tuple(int(own[place]) for place, mark in enumerate(pattern) if mark == "#")
            for own, pattern in zip(self.words, self.patterns, strict=True)
        ]
        alike: dict[Words, list[tuple[int, ...]]] = {}
        for pattern, layer in zip(self.patterns, layers, strict=True):
            alike.setdefault(pattern, []).append(layer)
        ranks = {
            pattern: {layer: rank for rank, layer in enumerate(sorted(set(found)))}
            for pattern, found in alike.items()
        }
        return [
            Numbers(layer, ranks[pattern][layer], len(ranks[pattern]), self.part_of(own))
            for own, pattern, layer in zip(self.words, self.patterns, layers, strict=True)
        ]

    def part_of(self, own: Words) -> Part | None:
        """Return the number of the part that the name of words *own* stands for."""
        alike = without_numbers(own)
        place = self.part_places[alike]
        if place is None:
            return None
        number, known = int(own[place]), self.columns[alike][place]
        return Part(number, sum(int(other) < number for other in known), len(known))

    @cached_property
    def weights(self) -> dict[str, float]:
        """How much each word tells: the rarer, the more."""
        count = Counter(word for own in self.plain for word in own)
        total = len(self.specs)
        return {word: math.log((1 + total / n) / 2) + 0.05 for word, n in count.items()}

    @cached_property
    def weight_of_all(self) -> list[float]:
        """How much the words of each name tell together."""
        return [sum(self.weights[word] for word in own) for own in self.plain]

    @cached_property
    def in_order(self) -> bool:
        """Whether the names seem to be in the order of the layers, not in the alphabet's."""
        names = [spec.name for spec in self.specs]
        return names != sorted(names)

    def ranks(self, places: Iterable[int]) -> dict[int, tuple[int, int]]:
        """Return which of how many among those of its kind each of *places* is."""
        by_kind: dict[str | None, list[int]] = defaultdict(list)
        for place in sorted(places):
            by_kind[self.kinds[place]].append(place)
        return {
            place: (rank, len(alike))
            for alike in by_kind.values()
            for rank, place in enumerate(alike)
        }


def without_numbers(own: Words) -> Words:
    """Return the words of a name with `#` for each number.

    >>> without_numbers(("layer", "3", "conv", "1"))
    ('layer', '#', 'conv', '#')
    """
    return tuple("#" if word.isdigit() else word for word in own)


def part_told_apart(columns: Sequence[Collection[str]]) -> int | None:
    """Return the place of the number that stands for a part of a layer: the last, of few values.

    >>> part_told_apart([{"layer"}, {"0", "1", "2", "3", "4"}, {"conv"}, {"0", "1"}])
    3
    """
    varying = [place for place, column in enumerate(columns) if len(column) > 1]
    if len(varying) > 1 and len(columns[varying[-1]]) <= MAX_PARTS:
        return varying[-1]
    return None
