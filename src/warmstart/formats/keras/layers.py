"""The layers of a model as its configuration describes them, each under its path in the file.

Keras saves a model's layers by the attributes that lead to them, and the members of a list by their
class: the second Dense of a Sequential is layers/dense_1, whatever its name.  So the path of each
follows from the configuration alone.
Source: Keras 3.15, keras/src/saving/saving_lib.py, `_save_state` and `_save_container_state`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import CorruptCheckpoint
from .kinds import PARTS, snake_case

MAX_DEPTH = 100

#: Where a configuration calls a part otherwise than the attribute that holds it.
ATTRIBUTES = {("bidirectional", "layer"): "forward_layer"}


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer, or a part of one."""

    kind: str
    name: str
    config: Mapping[str, Any]
    trainable: bool
    functional: bool  # a model whose layers were built before it was


def layers_in(model: Mapping[str, Any]) -> dict[str, Layer]:
    """Return the layers of a serialized *model* by path, the model itself first, under ""."""
    return dict(described("", model, True, MAX_DEPTH))


def described(
    path: str, item: Mapping[str, Any], trainable: bool, depth: int
) -> Iterator[tuple[str, Layer]]:
    """Yield the layer that *item* describes, which stands at *path*, and then all below it."""
    if depth == 0:
        raise CorruptCheckpoint(f"the configuration has layers more than {MAX_DEPTH} deep")
    config = item["config"]
    kind = snake_case(item["class_name"])
    trainable = trainable and config.get("trainable", True) is not False
    name = str(config.get("name") or kind)
    if path.endswith("/forward_layer") and not name.startswith("forward_"):  # Keras 2
        name = f"forward_{name}"
    yield path, Layer(kind, name, config, trainable, "input_layers" in config)
    for attribute, (own_name, own_kind) in PARTS.get(kind, {}).items():
        yield below(path, attribute), Layer(own_kind, own_name, config, trainable, False)
    for key, value in parts_of(kind, config):
        attribute = ATTRIBUTES.get((kind, key), key)
        if is_layer(value):
            yield from described(below(path, attribute), value, trainable, depth - 1)
        elif isinstance(value, list):
            members = [each for each in value if is_layer(each) and is_saved(each, config)]
            for group, each in zip(grouped(members), members, strict=True):
                place = below(below(path, attribute), group)
                yield from described(place, each, trainable, depth - 1)


def parts_of(kind: str, config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield what may hold layers; Keras 2 describes only one direction of a Bidirectional."""
    yield from config.items()
    inner = config.get("layer")
    if not isinstance(inner, dict) or not is_layer(inner):
        return
    if kind == "bidirectional" and "backward_layer" not in config:
        name = f"backward_{inner['config'].get('name')}"
        yield "backward_layer", {**inner, "config": {**inner["config"], "name": name}}


def is_layer(item: object) -> bool:
    """Return whether *item* is something serialized that may have variables."""
    return (
        isinstance(item, dict)
        and isinstance(item.get("class_name"), str)
        and isinstance(item.get("config"), dict)
    )


def is_saved(item: Mapping[str, Any], parent: Mapping[str, Any]) -> bool:
    """Return whether a member of a list counts as a layer: a Sequential's input does not."""
    if item["class_name"] == "InputLayer":
        return "input_layers" in parent
    return not str(item.get("module")).startswith("keras.src.ops")


def grouped(items: list[Any]) -> list[str]:
    """Return the name of each item's group: its class, numbered from the second on."""
    seen: Counter[str] = Counter()
    names = []
    for item in items:
        name = snake_case(item["class_name"])
        names.append(f"{name}_{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return names


def below(path: str, part: str) -> str:
    """Return the path of *part* in the group at *path*.

    >>> below("", "layers"), below("layers", "dense")
    ('layers', 'layers/dense')
    """
    return f"{path}/{part}" if path else part
