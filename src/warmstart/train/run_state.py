"""What a run needs beside variables, as text and arrays that any checkpoint can hold.

A state is a tree of dicts with string keys.  Its leaves are what JSON holds, tuples, bytes and
arrays.  `pack` turns it into one JSON text, kept as metadata, and tensors:

    {"step": 7, "random": {"numpy": {"key": <array>}}, "name": b"x"}

    {"step": 7, "random": {"numpy": {"key": {"#array": "_RUN/random/numpy/key"}}},
     "name": {"#bytes": "eA=="}}                          and the tensor _RUN/random/numpy/key

Python's JSON keeps floats to the last bit, and integers of any size.
"""

import base64
import json
import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import CorruptCheckpoint
from ..spec import RUN_PREFIX

ARRAY, TUPLE, BYTES = "#array", "#tuple", "#bytes"


def pack(state: Mapping[str, Any]) -> tuple[str, dict[str, np.ndarray]]:
    """Return *state* as JSON and its arrays by their reserved names; raise TypeError by path."""
    arrays: dict[str, np.ndarray] = {}
    text = json.dumps(_packed(state, (), arrays), ensure_ascii=False, separators=(",", ":"))
    return text, arrays


def _packed(value: Any, path: tuple[str, ...], arrays: dict[str, np.ndarray]) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case np.generic():
            return value.item()
        case bytes():
            return {BYTES: base64.b64encode(value).decode()}
        case np.ndarray():
            name = RUN_PREFIX + "/".join(map(_escaped, path))
            arrays[name] = np.array(value)  # a copy: the state goes on changing
            return {ARRAY: name}
    return _packed_container(value, path, arrays)


def _packed_container(value: Any, path: tuple[str, ...], arrays: dict[str, np.ndarray]) -> Any:
    match value:
        case tuple():
            return {TUPLE: _packed(list(value), path, arrays)}
        case list():
            return [_packed(item, (*path, str(i)), arrays) for i, item in enumerate(value)]
        case Mapping():
            _refuse_odd_keys(value, path)
            return {key: _packed(item, (*path, key), arrays) for key, item in value.items()}
    raise TypeError(
        f"the state at {'/'.join(path)!r} is a {type(value).__qualname__}; a state holds dicts, "
        "lists, tuples, text, bytes, numbers, None and NumPy arrays"
    )


def _refuse_odd_keys(value: Mapping[Any, Any], path: tuple[str, ...]) -> None:
    odd = [key for key in value if not isinstance(key, str) or key in (ARRAY, TUPLE, BYTES)]
    if odd:
        raise TypeError(
            f"the state at {'/'.join(path)!r} has the keys {odd}; expected text other than "
            f"{ARRAY!r}, {TUPLE!r} and {BYTES!r}"
        )


def _escaped(key: str) -> str:
    """Return *key* without separators, different keys staying different."""
    return key.replace("%", "%25").replace("/", "%2F")


def unpack(text: str, read: Callable[[str], np.ndarray]) -> dict[str, Any]:
    """Return the state that `pack` made *text* of; *read* gives an array by its name."""
    try:
        state = _unpacked(json.loads(text), read)
    except (ValueError, RecursionError) as error:
        raise CorruptCheckpoint("the run state is not JSON") from error
    if not isinstance(state, dict):
        raise CorruptCheckpoint(f"the run state is a JSON {type(state).__name__}, not an object")
    return state


def _unpacked(value: Any, read: Callable[[str], np.ndarray]) -> Any:
    match value:
        case {"#array": str(name), **rest} if not rest:
            return np.array(read(name))  # its own: a map of the file is read-only
        case {"#bytes": str(text), **rest} if not rest:
            return base64.b64decode(text, validate=True)
        case {"#tuple": list(items), **rest} if not rest:
            return tuple(_unpacked(item, read) for item in items)
        case dict():
            return {key: _unpacked(item, read) for key, item in value.items()}
        case list():
            return [_unpacked(item, read) for item in value]
    return value


def random_states() -> dict[str, Any]:
    """Return the states of the global generators of Python and NumPy."""
    version, internal, gauss = random.getstate()
    return {
        "python": {
            "version": version,
            "internal": np.array(internal, np.uint32),
            "gauss": gauss,
        },
        "numpy": np.random.get_state(legacy=False),
    }


def set_random_states(states: Mapping[str, Any]) -> None:
    """Take back what `random_states` returned."""
    python = states["python"]
    internal = tuple(int(word) for word in python["internal"])
    random.setstate((python["version"], internal, python["gauss"]))
    np.random.set_state(states["numpy"])
