"""Plain Python values as a run state carries them: text keys, and arrays in place of tensors.

    3, 0.5, True, None, "text", lists, tuples      themselves
    a tensor                                       an array
    Counter({30: 1})                               {"$counter": [(30, 1)]}
    {30: 1}, deque([1], 8)                         {"$dict": [(30, 1)]}, {"$deque": ([1], 8)}

`unpack(pack(value))` is *value* again, types included.  Optimizers and schedulers keep such values.
"""

from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from ...errors import CannotHold, ResumeError
from .arrays import array_of, tensor_of


def pack(value: Any, place: str) -> Any:
    """Return *value*, which stands at *place*, as a run state carries it; raise CannotHold."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case np.generic():
            return value.item()
        case Tensor():
            return np.array(array_of(place, value))
        case list() | tuple() | deque():
            items = [pack(item, f"{place}[{i}]") for i, item in enumerate(value)]
            if isinstance(value, deque):
                return {"$deque": (items, value.maxlen)}
            return items if isinstance(value, list) else tuple(items)
        case Mapping():
            return packed_mapping(value, place)
    raise CannotHold(f"{place} is a {type(value).__qualname__}, which a checkpoint cannot hold")


def packed_mapping(value: Mapping[Any, Any], place: str) -> dict[str, Any]:
    """Return *value* as `pack` does."""
    items = [(key, pack(item, f"{place}[{key!r}]")) for key, item in value.items()]
    if isinstance(value, Counter):
        return {"$counter": items}
    if all(isinstance(key, str) and not key.startswith("$") for key, _ in items):
        return dict(items)
    return {"$dict": [(pack(key, place), item) for key, item in items]}


def unpack(value: Any) -> Any:
    """Return the value that `pack` was given."""
    match value:
        case np.ndarray():
            return tensor_of(value)
        case {"$deque": _} | {"$counter": _} | {"$dict": _}:
            return unpacked_container(value)
        case Mapping():
            return {key: unpack(item) for key, item in value.items()}
        case list() | tuple():
            return type(value)(unpack(item) for item in value)
    return value


def unpacked_container(value: Mapping[str, Any]) -> Any:
    """Return the container that stands under its only key in *value*."""
    [(kind, content)] = value.items()
    if kind == "$deque":
        items, size = content
        return deque([unpack(item) for item in items], size)
    pairs = {unpack(key): unpack(item) for key, item in content}
    return Counter(pairs) if kind == "$counter" else pairs


def part(state: Mapping[str, Any], key: str, kind: type, whose: str) -> Any:
    """Return `state[key]`, refusing a state without it or with something else there."""
    found = state.get(key)
    if not isinstance(found, kind):
        raise ResumeError(
            f"the checkpoint's state of {whose} has a {type(found).__name__} for {key!r}; "
            f"expected a {kind.__name__}"
        )
    return found
