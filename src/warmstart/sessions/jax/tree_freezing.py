"""Variables of a pytree that a training step is to give back as they were.

A tree cannot hold anything still by itself: whoever makes the next one does.  `JaxModel` asks for
`held_by` and leaves out what is frozen; for loops of one's own there is `transform.py`.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from ...errors import FreezeError
from ...names import first, inside, last, parent
from ...source import Index
from .arrays import is_number
from .parts import Parts
from .trees import Tree, name_of
from .variables import Variable, Variables


class TreeFreezing:
    """Variables held still until `thaw`."""

    def __init__(
        self,
        names: tuple[str, ...],
        regions: Mapping[str, Index],
        among: "list[TreeFreezing]",
        tree: Tree,
    ) -> None:
        """Hold *names* of *tree*, those in *regions* in part, while *among* those that hold."""
        self.names = names
        self.regions: Mapping[str, Index] = dict(regions)
        self.tree = tree
        self._among = among

    def thaw(self) -> None:
        """Let the variables be trained again, with the optimizer state they had."""
        if self in self._among:
            self._among.remove(self)


@dataclass(frozen=True, slots=True)
class Held:
    """What several freezings hold together."""

    whole: frozenset[str]
    parts: tuple[tuple[str, Index], ...]

    def indices(self, name: str) -> list[Index]:
        """Return where *name* is held, in part."""
        return [index for part, index in self.parts if part == name]


def held_by(freezings: Iterable[TreeFreezing]) -> Held:
    """Return what *freezings* hold together."""
    freezings = list(freezings)
    whole = frozenset(n for f in freezings for n in f.names if n not in f.regions)
    parts = tuple((n, i) for f in freezings for n, i in f.regions.items() if n not in whole)
    return Held(whole, parts)


def frozen_in(
    variables: Variables,
    asked: Iterable[Variable],
    parts: Parts,
    train_statistics: bool,
    regions: Mapping[str, Index],
) -> tuple[tuple[str, ...], dict[str, Index]]:
    """Return what is to be held for those *asked* for: they and the statistics of their layers."""
    names = {v.name for v in asked}
    partly = {variables.aliases.get(name, name): index for name, index in regions.items()}
    numbers = [v.name for v in asked if is_number(v.leaf)]
    if numbers:
        raise FreezeError(f"{', '.join(numbers)}: a step counter, which is not frozen by itself")
    statistics = statistics_of(variables, parts)
    all_statistics = {name for _, names_of in statistics.values() for name in names_of}
    asked_whole = names - partly.keys()
    held: set[str] = set()
    for weights, own in statistics.values():
        if own & asked_whole or (weights and weights <= asked_whole):
            held |= own
    still = names - all_statistics if train_statistics else names | held
    if not still:
        raise FreezeError(
            f"{', '.join(sorted(names))}: statistics, and train_statistics=True lets them move"
        )
    return tuple(name for name in variables.by_name if name in still), partly


def statistics_of(variables: Variables, parts: Parts) -> dict[str, tuple[set[str], set[str]]]:
    """Return by layer the weights and the statistics that belong to them.

    Linen keeps those of `params/bn/scale` in `batch_stats/bn/mean`, Haiku below the layer's own
    scope: what stands in another collection, in or below the scope of a layer, is the layer's.
    """
    if not parts.params:
        return {}
    prefix = name_of(parts.params)
    weights: dict[str, set[str]] = {}
    for variable in variables.of_role("trainable"):
        weights.setdefault(parent(below(variable.name, prefix)), set()).add(variable.name)
    found: dict[str, tuple[set[str], set[str]]] = {}
    for variable in variables.of_role("model"):
        scope = scope_among(variable.name, weights, prefix)
        if scope is not None:
            found.setdefault(scope, (scaled(weights[scope]), set()))[1].add(variable.name)
    return found


def scaled(weights: set[str]) -> set[str]:
    """Return the scale among the *weights* of a layer, or all where it has none."""
    scale = {name for name in weights if last(name) == "scale"}
    return scale or weights


def scope_among(name: str, scopes: Container[str], prefix: str) -> str | None:
    """Return which of *scopes* the statistic *name* of another collection belongs to."""
    collection = first(name)
    if collection == prefix:
        return None
    scope = parent(below(name, collection))
    while scope and scope not in scopes:
        scope = parent(scope)
    return scope if scope in scopes else None


def below(name: str, prefix: str) -> str:
    """Return *name* below *prefix*."""
    return inside(name, prefix) or name
