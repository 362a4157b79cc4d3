"""The variables of a `.weights.h5` by the names that a model shows: from paths to names.

    layers/dense_1/vars/0      ->      sequential/head/kernel

The layers' own names are from the groups' attribute "name" (of newer Keras 3), or from the
configuration; a variable's from the kind of its layer.  As in Keras, what stands in a functional
model is not named after it: those layers were built before it was.  What is not certain keeps its
number, and names that would not be unique are paths.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...names import last as last_part
from ...names import parent as scope_of
from ...names import parts as parts_of
from .kinds import PARTS, UNTRAINED, kind_in, variables_of
from .layers import Layer, below, layers_in
from .names import Naming, unique
from .optimizers import OPTIMIZER, optimizer_names

VARS = "vars"
#: Attributes of a model that hold its layers; they are in no name.
LISTS = ("layers", "_layer_checkpoint_dependencies")


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
    found, roles = dict[str, str](), dict[str, str]()
    for group in groups:
        if parts_of(group)[0] == OPTIMIZER:
            continue
        for path, name in zip(members[group], tree.variables(group, members[group]), strict=True):
            found[path] = name
            if role := tree.role(group, name):
                roles[path] = role
    for group in groups:
        if parts_of(group)[0] == OPTIMIZER:
            named_slots = optimizer_names(
                group, members[group], shapes=shapes, names=found, roles=roles, model=model
            )
            for path, (name, role) in named_slots.items():
                found[path], roles[path] = name, role
    found |= {path: path for path in shapes if path not in found}
    names = unique(found)
    return Naming(names, roles, aliases_of(names, tree.root))


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
        root = self._name("") if "" in model.groups or "" in layers else ""
        self.root = "" if self._is_functional("") or model.old else root

    def variables(self, group: str, paths: list[str]) -> list[str]:
        """Return the names of the variables at *paths*, which are all of *group*."""
        layer = self._layers.get(group)
        config = None if layer is None else layer.config
        known = variables_of(self._kind(group), config, len(paths))
        last = known or [last_part(path) for path in paths]
        scope = self._scope(group)
        return ["/".join([*scope, name]) for name in last]

    def role(self, group: str, name: str) -> str | None:
        """Return the role of a variable, None where the file does not tell."""
        if group.startswith("metrics") or self._kind(group) == "seed_generator":
            return "run"
        if last_part(name) in UNTRAINED:
            return "model"
        if group not in self._layers:
            return None
        return "trainable" if self._layers[group].trainable else "model"

    def _scope(self, group: str) -> list[str]:
        """Return the names that lead to the layer at *group*."""
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
        stated = self._groups.get(path)
        if stated:
            return stated
        if path in self._layers:
            return self._layers[path].name
        own, _ = self._part(path)
        return own or last_part(path)

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


def aliases_of(names: Mapping[str, str], root: str) -> dict[str, str]:
    """Return the paths as other names, and the names without the model's own, often a number's."""
    aliases = {path: name for path, name in names.items() if path != name}
    taken = {*names.values(), *aliases}
    for name in list(names.values()):
        short = name.removeprefix(root + "/") if root else name
        if short not in taken and "/" in short:
            aliases[short] = name
            taken.add(short)
    return aliases
