"""The variables of a model by their place in it: `encoder/dense_1/kernel`.

    its layers           <place of the layer>/<name of the variable>         trainable or model
    generators of seeds  <place of the layer>/<attribute>/seed_generator_state             run
    metrics              metrics/<metric>/<variable>                                       run

Keras' own names, `Variable.path`, are synonyms as far as they are unique: they depend on what else
the process has made.  Slots are in optimizer.py.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import NameConflict
from ...names import joined
from .walk import Place, attributes_of, places, places_in_file

METRICS = "metrics"


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of Keras under its name here."""

    name: str
    live: Any  # keras.Variable
    role: str | None = None  # None: trainable or not, as it says at the moment
    owner: Any = None  # the layer


@dataclass(frozen=True, slots=True)
class Variables:
    """All variables of a model as they were when looked at."""

    by_name: Mapping[str, Variable] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    synonyms: Mapping[str, str] = field(default_factory=dict)  # what Keras and its files say

    def find(self, name: str) -> Variable | None:
        """Return the variable of that name, alias or synonym, if there is one."""
        own = self.aliases.get(name) or self.synonyms.get(name, name)
        return self.by_name.get(own)

    def names(self) -> dict[int, str]:
        """Return the names by the ids of the live variables."""
        return {id(each.live): name for name, each in self.by_name.items()}


def variables_of(model: Any, more: Iterable[Variable] = ()) -> Variables:
    """Look at *model* and return its variables, and *more* with them.

    Raise NameConflict naming every two that would have one name.
    """
    found = [*of_layers(model), *of_metrics(model), *more]
    own: dict[int, Variable] = {}
    ties: dict[str, str] = {}
    for each in found:
        first = own.setdefault(id(each.live), each)
        if first is not each and first.name != each.name:
            ties[each.name] = first.name
    refuse_ambiguous(own.values())
    by_name = {each.name: each for each in own.values()}
    ties = {alias: name for alias, name in ties.items() if alias not in by_name}
    shown = shown_names(model, own.values(), {*by_name, *ties})
    return Variables(by_name, ties, shown)


def of_layers(model: Any) -> Iterator[Variable]:
    """Yield the variables of every layer, and the states of its generators of seeds."""
    for place in places(model):
        variables = own_variables(place.layer)
        for leaf, live in zip(leaves(place.layer, variables), variables, strict=True):
            yield Variable(joined(place.scope, leaf), live, owner=place.layer)
        yield from of_generators(place)


def own_variables(layer: Any) -> list[Any]:
    """Return the variables that *layer* itself keeps, as Keras saves them."""
    both = [*layer._trainable_variables, *layer._non_trainable_variables]
    return list({id(each): each for each in both}.values())


def leaves(layer: Any, variables: list[Any]) -> list[str]:
    """Return the last parts of the names of *variables*: those that two have are attributes."""
    counts = Counter(each.name for each in variables)
    if not any(count > 1 for count in counts.values()):
        return [each.name for each in variables]
    attributes = attributes_of(layer, variables)
    return [
        attributes.get(id(each), each.name) if counts[each.name] > 1 else each.name
        for each in variables
    ]


def of_generators(place: Place) -> Iterator[Variable]:
    """Yield the states of a layer's generators of seeds."""
    generators = place.layer._seed_generators
    attributes = attributes_of(place.layer, generators)
    for index, each in enumerate(generators):
        unnamed = f"seed_generator_{index}" if index else "seed_generator"
        scope = joined(place.scope, attributes.get(id(each), unnamed))
        yield Variable(joined(scope, each.state.name), each.state, "run")


def of_metrics(model: Any) -> Iterator[Variable]:
    """Yield the variables of the metrics, those of one name numbered."""
    seen: Counter[str] = Counter()
    for metric in model.metrics:
        for live in metric.variables:
            name = joined(METRICS, live.path or live.name)
            seen[name] += 1
            yield Variable(f"{name}_{seen[name] - 1}" if seen[name] > 1 else name, live, "run")


def refuse_ambiguous(variables: Iterable[Variable]) -> None:
    """Raise naming every two of *variables* that have one name."""
    by_name: dict[str, list[Any]] = {}
    for each in variables:
        by_name.setdefault(each.name, []).append(each.live)
    rows = [
        f"  {name}: {', '.join(f'{live.path} {tuple(live.shape)}' for live in several)}"
        for name, several in by_name.items()
        if len(several) > 1
    ]
    if rows:
        raise NameConflict(
            "\n".join(
                [
                    "the model has variables that no name tells apart; give their layers, or the "
                    "variables, names of their own (name=):",
                    *rows,
                ]
            )
        )


def shown_names(model: Any, variables: Iterable[Variable], taken: set[str]) -> dict[str, str]:
    """Return what else names the variables, as far as it is unique: synonym -> name.

    Keras' path, the same without the model's own name, and what a file may call it: by another
    place of its layer, or by its number there.
    """
    variables = list(variables)
    root = f"{model.name}/"
    paths = [(each.live.path, each.name) for each in variables]
    short = [(path.removeprefix(root), name) for path, name in paths]
    in_file = [*names_in_file(model, {id(each.live): each.name for each in variables})]
    aliases: dict[str, str] = {}
    for pairs in (paths, short, in_file):
        counts = Counter(alias for alias, _ in pairs)
        for alias, name in pairs:
            if counts[alias] == 1 and alias not in taken and alias not in aliases:
                aliases[alias] = name
    return aliases


def names_in_file(model: Any, names: Mapping[int, str]) -> Iterator[tuple[str, str]]:
    """Yield what a file may call each variable, by its name and by its number in its layer."""
    for place in places_in_file(model):
        variables = own_variables(place.layer)
        for index, each in enumerate(variables):
            yield joined(place.scope, str(index)), names[id(each)]
        for leaf, each in zip(leaves(place.layer, variables), variables, strict=True):
            name = joined(place.scope, leaf)
            if name != names[id(each)]:
                yield name, names[id(each)]
