"""What a run needs beside variables, as text and arrays that any checkpoint can hold.

A state is a tree of dicts.  Its leaves are what JSON holds, tuples, bytes, sets, deques, counters,
and arrays, also those of frameworks.  `pack` turns it into one JSON text, kept as metadata, and
tensors:

    {"step": 7, "random": {"numpy": {"key": <array>}}, "name": b"x"}

    {"step": 7, "random": {"numpy": {"key": {"#array": "_RUN/random/numpy/key"}}},
     "name": {"#bytes": "eA=="}}                          and the tensor _RUN/random/numpy/key

What JSON has no word for is a dict with one key that begins with "#": `TAGS` are those.
Python's JSON keeps floats to the last bit, and integers of any size.
"""

import base64
import json
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import CorruptCheckpoint
from ..sessions.foreign import given_back, taken
from ..spec import RUN_PREFIX

ARRAY, TUPLE, BYTES = "#array", "#tuple", "#bytes"
TENSOR = "#tensor"  # of a framework: [kind, name of the array]
SCALAR = "#scalar"  # of NumPy, which is not reckoned with as a number of Python's is
DICT = "#dict"  # whose keys are not text, or begin with "#": pairs
COUNTER, DEQUE, SET = "#counter", "#deque", "#set"
TAGS = frozenset({ARRAY, TUPLE, BYTES, TENSOR, SCALAR, DICT, COUNTER, DEQUE, SET})

Arrays = dict[str, np.ndarray]
Path = tuple[str, ...]


def pack(state: Mapping[str, Any]) -> tuple[str, dict[str, np.ndarray]]:
    """Return *state* as JSON and its arrays by their reserved names; raise TypeError by path."""
    arrays: dict[str, np.ndarray] = {}
    text = json.dumps(_packed(state, (), arrays), ensure_ascii=False, separators=(",", ":"))
    return text, arrays


def _packed(value: Any, path: Path, arrays: Arrays) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case np.generic() if not isinstance(value, np.inexact):
            return value.item()
        case list():
            return _packed_items(value, path, arrays)
        case Mapping() if not _is_tagged(value):
            return {key: _packed(item, (*path, key), arrays) for key, item in value.items()}
    tag, content = _packed_array(value, path, arrays) or _packed_container(value, path, arrays)
    return {tag: content}


def _packed_items(values: Iterable[Any], path: Path, arrays: Arrays) -> list[Any]:
    return [_packed(item, (*path, str(i)), arrays) for i, item in enumerate(values)]


def _is_tagged(value: Mapping[Any, Any]) -> bool:
    """Return whether a JSON object cannot stand for *value* itself."""
    other = any(not isinstance(key, str) or key in TAGS for key in value)
    return other or isinstance(value, Counter)


def _packed_array(value: Any, path: Path, arrays: Arrays) -> tuple[str, Any] | None:
    """Add *value* to *arrays*, if it is one, as a copy: the state goes on changing."""
    name = RUN_PREFIX + "/".join(map(_escaped, path))
    if isinstance(value, np.ndarray | np.inexact):
        arrays[name] = np.array(value)
        return (ARRAY if isinstance(value, np.ndarray) else SCALAR), name
    if (found := taken(value)) is not None:
        kind, array = found
        arrays[name] = np.array(array)
        return TENSOR, [kind, name]
    return None


def _packed_container(value: Any, path: Path, arrays: Arrays) -> tuple[str, Any]:
    def items(values: Iterable[Any], *name: str) -> list[Any]:
        return _packed_items(values, (*path, *name), arrays)

    match value:
        case bytes():
            return BYTES, base64.b64encode(value).decode()
        case tuple():
            return TUPLE, items(value)
        case deque():
            return DEQUE, [items(value), value.maxlen]
        case set() | frozenset():
            return SET, items(sorted(value, key=repr))
        case Mapping():
            tag = COUNTER if isinstance(value, Counter) else DICT
            return tag, [items(value.keys(), "keys"), items(value.values(), "values")]
    raise TypeError(
        f"the state at {'/'.join(path)!r} is a {type(value).__qualname__}; a state holds dicts, "
        "lists, tuples, sets, deques, text, bytes, numbers, None and arrays"
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
    except TypeError as error:  # a key that is none
        raise CorruptCheckpoint(f"the run state is not one: {error}") from error
    if not isinstance(state, dict):
        raise CorruptCheckpoint(f"the run state is a JSON {type(state).__name__}, not an object")
    return state


def _unpacked(value: Any, read: Callable[[str], np.ndarray]) -> Any:
    match value:
        case list():
            return [_unpacked(item, read) for item in value]
        case dict() if len(value) == 1 and next(iter(value)) in TAGS:
            [(tag, content)] = value.items()
            if tag in (ARRAY, SCALAR, TENSOR, BYTES):
                return _unpacked_leaf(tag, content, read)
            return _unpacked_container(tag, _unpacked(content, read))
        case dict():
            return {key: _unpacked(item, read) for key, item in value.items()}
    return value


def _unpacked_leaf(tag: str, content: Any, read: Callable[[str], np.ndarray]) -> Any:
    match tag, content:
        case ("#array", str(name)):
            return np.array(read(name))  # its own: a map of the file is read-only
        case ("#scalar", str(name)):
            return read(name)[()]
        case ("#tensor", [str(kind), str(name)]):
            found = given_back(kind, np.array(read(name)))
            if found is not None:
                return found
        case ("#bytes", str(text)):
            return base64.b64decode(text, validate=True)
    raise ValueError(f"{tag} with {content!r}")


def _unpacked_container(tag: str, content: Any) -> Any:
    match tag, content:
        case ("#tuple", [*items]):
            return tuple(items)
        case ("#set", [*items]):
            return set(items)
        case ("#deque", [[*items], None | int() as size]):
            return deque(items, size)
        case ("#counter" | "#dict", [[*keys], [*values]]):
            found = dict(zip(keys, values, strict=True))
            return Counter(found) if tag == COUNTER else found
    raise ValueError(f"{tag} with {content!r}")


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
