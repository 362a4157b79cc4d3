"""The layers of a model, each under the name of its place, in the order in which Keras saves them.

The walk is Keras' own (`saving_lib._walk_saveable`, Keras 3.15), so that a live model and its saved
file have the same names, but for one oddity, which has two.  A layer that stands in several places
has the first as its own.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from keras import Layer
from keras.src.saving.saving_lib import _walk_saveable
from keras.src.utils.naming import to_snake_case

from ...keras_names import LAYERS, Member, names_of_members, public
from ...names import joined


class Place(NamedTuple):
    """A layer, and what it is called at one of its places; the model itself is ""."""

    scope: str
    layer: Any


#: What a layer holds: (attribute, value) pairs in an order.
Children = Callable[[Any], Iterable[tuple[str, Any]]]


def places(model: Any) -> Iterator[Place]:
    """Yield every layer of *model* at its first place, the model first."""
    return walked(Place("", model), set(), attributes_first)


def places_in_file(model: Any) -> Iterator[Place]:
    """Yield every layer of *model* at the place where Keras saves it."""
    return walked(Place("", model), set(), _walk_saveable)


def attributes_first(layer: Any) -> list[tuple[str, Any]]:
    """Return what *layer* holds as Keras walks it, but a list of all layers after the attributes.

    Keras walks attributes by the alphabet, and `layers` of a model of one's own is one of them:
    what comes behind it, such as `self.norm`, is saved by its place in that list.
    """
    children = list(_walk_saveable(layer))
    if layer._obj_type() in ("Sequential", "Functional"):
        return children
    return sorted(children, key=lambda pair: pair[0] == LAYERS)


def walked(place: Place, seen: set[int], children: Children) -> Iterator[Place]:
    """Yield *place* and all below it, but for layers whose ids are in *seen*, which is added to."""
    if id(place.layer) in seen:
        return
    seen.add(id(place.layer))
    yield place
    for attribute, child in children(place.layer):
        if isinstance(child, Layer):
            yield from walked(Place(joined(place.scope, public(attribute)), child), seen, children)
        elif attribute == LAYERS and isinstance(child, list | tuple):
            for inner in members(place.scope, child):
                yield from walked(inner, seen, children)
        elif isinstance(child, dict | list | tuple):
            for inner in contained(joined(place.scope, public(attribute)), child, set()):
                yield from walked(inner, seen, children)


def members(scope: str, layers: Iterable[Any]) -> Iterator[Place]:
    """Yield the layers of a Sequential or functional model."""
    groups = dict(grouped(layers))
    names = names_of_members([Member(group, layer.name) for group, layer in groups.items()])
    for group, layer in groups.items():
        yield Place(joined(scope, names[group]), layer)


def contained(scope: str, container: Any, containers: set[int]) -> Iterator[Place]:
    """Yield the layers in a list or dict, however deep; *containers* are ids of those gone into."""
    if id(container) in containers:
        return
    containers.add(id(container))
    for group, each in grouped(container.values() if isinstance(container, dict) else container):
        if isinstance(each, Layer):
            yield Place(joined(scope, group), each)
        else:
            yield from contained(joined(scope, group), each, containers)


def grouped(items: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """Yield the layers and containers among *items*, each with the group Keras saves it under."""
    used: dict[str, int] = {}
    for each in items:
        if isinstance(each, dict | list | tuple):
            kind = "container"
        elif hasattr(each, "_obj_type"):  # whatever is saved, a layer or not, is counted
            kind = to_snake_case(type(each).__name__)
        else:
            continue
        used[kind] = used.get(kind, -1) + 1
        if kind == "container" or isinstance(each, Layer):
            yield (f"{kind}_{used[kind]}" if used[kind] else kind), each


def attributes_of(owner: Any, values: Iterable[Any]) -> Mapping[int, str]:
    """Return by id which attribute of *owner* holds each of *values*: `w`, or `ws/0` in a list."""
    wanted = {id(value) for value in values}
    found: dict[int, str] = {}
    for attribute, held in vars(owner).items():
        if attribute in KEPT_BY_KERAS:
            continue
        for name, value in contents(public(attribute), held):
            if id(value) in wanted:
                found.setdefault(id(value), name)
    return found


#: Where a layer keeps all its variables, whatever else they are called.
KEPT_BY_KERAS = frozenset(
    ("_trainable_variables", "_non_trainable_variables", "_seed_generators", "_tracker", "_layers",
     "_metrics", "_variables", "_torch_params", "_modules", "_parameters")
)  # fmt: skip


def contents(name: str, held: Any) -> Iterator[tuple[str, Any]]:
    """Yield *held* under *name*, and what is in it where it is a list or a dict."""
    if isinstance(held, dict):
        pairs: Iterable[tuple[Any, Any]] = held.items()
    elif isinstance(held, list | tuple):
        pairs = enumerate(held)
    else:
        yield name, held
        return
    for key, value in pairs:
        yield from contents(f"{name}/{key}", value)
