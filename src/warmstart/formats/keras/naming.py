"""The variables of a `.weights.h5` by their place in the model: from paths to names.

    layers/dense_1/vars/0      ->      head/kernel      as a live model's session says (structure)
                                       sequential/head/kernel         as Keras says, an alias

The layers' own names are from the groups' attribute "name" (of newer Keras 3), or from the
configuration; a variable's from the kind of its layer.  In Keras' names, what stands in a
functional model is not named after it: those layers were built before it was.  What is not certain
keeps its number, and names that would not be unique are paths.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...keras_names import LISTS, Member, names_of_members, numbered, own_scope
from ...names import last as last_part
from ...names import parent as scope_of
from ...names import parts as parts_of
from .kinds import PARTS, UNTRAINED, kind_in, variables_of
from .layers import Layer, below, layers_in
from .names import Naming, unique
from .optimizers import OPTIMIZER, optimizer_names

VARS = "vars"


@dataclass(frozen=True, slots=True)
class Model:
    """What a file says of its model beside the values."""

    groups: Mapping[str, str] = field(default_factory=dict)  # path -> the name it states, or ""
    config: Mapping[str, Any] | None = None
    old: bool = False  # of Keras 2, where a model gave its name to no variable


def named(shapes: Mapping[str, tuple[int, ...]], model: Model) -> Naming:
    """Return the names of the variables at the paths in *shapes*."""
    layers = layers_in(model.config) if model.config else {}
    tree = Tree(model, layers)
    members = by_group(shapes)
    order = {path: i for i, path in enumerate(layers)}
    groups = sorted(members, key=lambda g: (g.startswith(OPTIMIZER), order.get(g, len(order))))
    shown, own, roles = dict[str, str](), dict[str, str](), dict[str, str]()
    for group in groups:
        if parts_of(group)[0] == OPTIMIZER:
            continue
        last = tree.last_parts(group, members[group])
        for path, leaf in zip(members[group], last, strict=True):
            shown[path] = "/".join([*tree.scope(group), leaf])
            own[path] = below(tree.own_scope(group), leaf)
            if role := tree.role(group, leaf):
                roles[path] = role
    for group in groups:
        if parts_of(group)[0] == OPTIMIZER:
            of_optimizer = optimizer_names(
                group, members[group], shapes=shapes, names=shown, own=own, roles=roles, model=model
            )
            for path, each in of_optimizer.items():
                shown[path], own[path], roles[path] = each.shown, each.own, each.role
    own |= {path: path for path in shapes if path not in own}
    names = unique(own)
    return Naming(names, roles, aliases_of(names, shown, tree.root))


def by_group(paths: Iterable[str]) -> dict[str, list[str]]:
    """Return the paths of variables by the group of their layer, each in the order of saving."""
    members: dict[str, list[str]] = {}
    for path in paths:
        folder = scope_of(path)
        if last_part(folder) == VARS:
            members.setdefault(scope_of(folder), []).append(path)
    return {group: sorted(found, key=natural) for group, found in members.items()}


def natural(path: str) -> tuple[int, str]:
    """Return what sorts vars/10 behind vars/9."""
    last = last_part(path)
    return (int(last), "") if last.isascii() and last.isdigit() else (2**63, last)


class Tree:
    """The groups of a file, each with what is known of its layer."""

    def __init__(self, model: Model, layers: Mapping[str, Layer]) -> None:
        self._groups = model.groups
        self._layers = layers
        self._old = model.old
        self._knows_names = bool(layers) or any(model.groups.values())
        self._names_in = {
            path: names_of_members(
                Member(last_part(inner), self._stated(inner))
                for inner in sorted(members, key=in_order)
            )
            for path, members in members_of_lists((*self._groups, *layers)).items()
        }
        root = self._name("") if "" in model.groups or "" in layers else ""
        self.root = "" if self._is_functional("") or model.old else root

    def last_parts(self, group: str, paths: list[str]) -> Sequence[str]:
        """Return the last parts of the names of the variables at *paths*, all of *group*."""
        layer = self._layers.get(group)
        config = None if layer is None else layer.config
        known = variables_of(self._kind(group), config, len(paths))
        return known or [last_part(path) for path in paths]

    def role(self, group: str, leaf: str) -> str | None:
        """Return the role of a variable, None where the file does not tell."""
        if group.startswith("metrics") or self._kind(group) == "seed_generator":
            return "run"
        if leaf in UNTRAINED:
            return "model"
        if group not in self._layers:
            return None
        return "trainable" if self._layers[group].trainable else "model"

    def own_scope(self, group: str) -> str:
        """Return where the layer at *group* stands in the model, as a session names it."""
        return own_scope(group, self._names_in)

    def scope(self, group: str) -> list[str]:
        """Return the names that lead to the layer at *group* as Keras shows them."""
        scope = [self.root] if self.root else []
        path = ""
        for part in parts_of(group) if group else ():
            path = below(path, part)
            if self._is_nameless(path):
                continue
            if path in self._groups or path in self._layers:
                inner = self._is_functional(path) or self._is_old_model(path)
                scope = [] if inner else [*scope, self._name(path)]
            elif not self._knows_names and part not in LISTS:
                scope.append(part)
        return scope

    def _is_nameless(self, path: str) -> bool:
        """Return whether the layer at *path* is in no name: in Keras 2, one applied over time."""
        parent, attribute = scope_of(path), last_part(path)
        return self._old and attribute == "layer" and self._kind(parent) == "time_distributed"

    def _is_old_model(self, path: str) -> bool:
        return self._old and path in self._layers and "layers" in self._layers[path].config

    def _is_functional(self, path: str) -> bool:
        """Return whether a functional model stands at *path*: it alone saves its inputs."""
        layer = self._layers.get(path)
        return bool(layer and layer.functional) or below(path, "layers/input_layer") in self._groups

    def _name(self, path: str) -> str:
        """Return the name of the layer at *path*."""
        own, _ = self._part(path)
        return self._stated(path) or own or last_part(path)

    def _stated(self, path: str) -> str:
        """Return the name that the file states of the layer at *path*, "" where it states none."""
        stated = self._groups.get(path)
        if not stated and path in self._layers:
            return self._layers[path].name
        return stated or ""

    def _kind(self, path: str) -> str | None:
        """Return the kind of layer at *path*, None if it is not known."""
        if path in self._layers:
            return self._layers[path].kind
        return self._part(path)[1] or kind_in(last_part(path)) or kind_in(self._name(path))

    def _part(self, path: str) -> tuple[str | None, str | None]:
        """Return name and kind of a part that every layer of its parent's kind has."""
        parent, attribute = scope_of(path), last_part(path)
        kind = self._kind(parent) if parent else None
        return PARTS.get(kind or "", {}).get(attribute, (None, None))


def aliases_of(names: Mapping[str, str], shown: Mapping[str, str], root: str) -> dict[str, str]:
    """Return the other names of what has *names*: its path, and what Keras shows.

    Of the latter also without the model's own name, which often is a number's.
    """
    aliases = {path: name for path, name in names.items() if path != name}
    taken = {*names.values(), *aliases}
    counts = Counter(shown.values())
    short = {path: name.removeprefix(root + "/") if root else name for path, name in shown.items()}
    for others in (shown, {path: name for path, name in short.items() if "/" in name}):
        for path, other in others.items():
            if counts[shown[path]] == 1 and other not in taken:
                aliases[other] = names[path]
                taken.add(other)
    return aliases


def members_of_lists(paths: Iterable[str]) -> dict[str, set[str]]:
    """Return the paths of the layers in each list of a model's layers, by the path of the list.

    >>> members_of_lists(["layers/dense/vars"])
    {'layers': {'layers/dense'}}
    """
    members: dict[str, set[str]] = {}
    for path in paths:
        inner = ""
        for step in parts_of(path):
            above, inner = inner, below(inner, step)
            if last_part(above) in LISTS:
                members.setdefault(above, set()).add(inner)
    return members


def in_order(path: str) -> tuple[str, int]:
    """Return what sorts the members of a list as they stand in it, class by class.

    >>> sorted(["layers/dense_10", "layers/dense_2", "layers/dense"], key=in_order)
    ['layers/dense', 'layers/dense_2', 'layers/dense_10']
    """
    return numbered(last_part(path))
