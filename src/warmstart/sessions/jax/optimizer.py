"""The state of an optax optimizer under the names of the variables it belongs to.

    (ScaleByAdamState(count=C, mu={"fc": {"kernel": M}}, nu=...), EmptyState())

    fc/kernel/mu                          role slot
    opt_state/ScaleByAdamState/count      role run

Wherever a part of the state has the structure of the parameters, or of some of them, its leaves
are slots of these: below chains, masks, partitions, MultiSteps and whatever else nests states.  All
else is run state, called by the class it stands in.  Places in a chain are in no name, so that a
state keeps its names when a transformation is put before another; the paths are synonyms.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jax.tree_util import DictKey, FlattenedIndexKey, GetAttrKey, tree_flatten_with_path

from ...names import joined
from .arrays import is_array, is_number
from .trees import Cell, Path, children, is_variable, key_text, name_of, path_of
from .variables import Variable

#: What the state is called in names, as in Flax's TrainState.
OPT_STATE = "opt_state"


@dataclass(frozen=True, slots=True)
class Owners:
    """The parameters that an optimizer may have state for."""

    paths: frozenset[Path]
    kinds: tuple[type, ...]  # types that the tree of them can have in the state
    prefix: Path = ()  # what stands before *paths* in the names of variables


@dataclass(frozen=True, slots=True)
class Place:
    """What a leaf of the state is: a slot of *owner*, or without one, run state."""

    path: Path
    owner: Path | None
    label: str


def state_variables(state: Any, cells: Mapping[Path, Cell], owners: Owners) -> Iterator[Variable]:
    """Yield the variables of the optimizer's *state*, whose leaves are kept in *cells*."""
    seen: Counter[str] = Counter()
    for place in places(state, (), (), owners):
        cell = cells[place.path]
        if not (is_array(cell.get()) or is_number(cell.get())):
            continue
        if place.owner is None:
            name, role = joined(OPT_STATE, place.label), "run"
        else:
            name, role = joined(name_of(owners.prefix + place.owner), place.label), "slot"
        seen[name] += 1
        numbered = name if seen[name] == 1 else f"{name}_{seen[name] - 1}"
        path = name_of((OPT_STATE, *place.path))
        yield Variable(numbered, role, cell, (path, joined(path, "value")))


def places(node: Any, path: Path, scope: tuple[Any, ...], owners: Owners) -> Iterator[Place]:
    """Yield what each leaf at or below *node* is.

    *scope* is what the names of run state are made of: keys, attributes, classes of states.
    """
    if type(node) in owners.kinds:
        below = [path_of(keys) for keys, _ in tree_flatten_with_path(node, is_leaf=is_variable)[0]]
        if below and owners.paths.issuperset(below):
            label = path[-1] if path else "state"
            yield from (Place(path + suffix, suffix, label) for suffix in below)
            return
    if hasattr(node, "_fields"):
        scope = (*(each for each in scope if isinstance(each, DictKey)), type(node).__name__)
    below_node = [] if is_variable(node) else list(children(node))
    for key, child in below_node:
        named = isinstance(key, DictKey | GetAttrKey | FlattenedIndexKey)
        further = (*scope, key) if named else scope
        yield from places(child, (*path, key_text(key)), further, owners)
    if not below_node and (is_variable(node) or is_array(node) or is_number(node)):
        parts = [each if isinstance(each, str) else key_text(each) for each in scope]
        yield Place(path, None, name_of(parts) or "state")
