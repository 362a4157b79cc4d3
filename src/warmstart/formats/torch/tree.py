"""The structure of a checkpoint, kept so that it can be written again: a skeleton, as JSON.

    {"dict": [["model", {"ordered": [["fc.weight", {"tensor": "model/fc.weight"}]], "state": ...}],
              ["epoch", 3]]}

    number, text, true, null      themselves
    [...]                         a list
    {"tensor": NAME}              a tensor; {"parameter": NAME} one in a torch.nn.Parameter
    {"dict": [[key, value]]}      a dict; "ordered" an OrderedDict, whose attributes are "state"
    {"tuple": [...]}  {"set": [...]}  {"bytes": BASE64}  {"complex": [re, im]}  {"float": "nan"}
    {"name": [MODULE, NAME]}      what is imported: torch.float32
    {"call": [MODULE, NAME], "args": [...]}     torch.device("cuda", 0)

Only what `torch.load(weights_only=True)` takes is kept as a name or a call: of an object of another
class there is what it was made of, as the reader shows it.
"""

import base64
import json
import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from ...binary.pickle import Attributed, Call, Global, RawArray
from ...errors import CorruptCheckpoint
from ..leaf_text import number_of_scalar, shown
from ..notes import parse_json
from ..trees import SEPARATOR
from .modules import State
from .nodes import DTYPES, Tensor

MAX_DEPTH = 120


#: Calls that PyTorch makes for files that it does not trust.
CALLS = (("torch", "device"), ("torch", "Size"))


@dataclass(frozen=True, slots=True)
class TensorLeaf:
    """A tensor's place in a tree that is to be written."""

    name: str
    parameter: bool = False


class Missing(Exception):
    """A tensor of the skeleton is not there, where something must be."""


def skeleton_of(tree: Any) -> str:
    """Return the skeleton of *tree*, whose tensors are called as `trees.flat` calls them."""
    return json.dumps(described(tree, ""), ensure_ascii=False)


def described(value: Any, name: str) -> Any:
    """Return the skeleton of *value*, which is called *name*."""
    if isinstance(value, Tensor):
        return {"parameter" if value.parameter else "tensor": name}
    if isinstance(value, RawArray):
        return number_of_scalar(value) if value.scalar else {"tensor": name}
    if isinstance(value, dict):
        return described_dict(value, name)
    if isinstance(value, list):
        return [described(item, below(name, n)) for n, item in enumerate(value)]
    if isinstance(value, tuple):
        return {"tuple": [described(item, below(name, n)) for n, item in enumerate(value)]}
    return described_leaf(value)


def described_dict(value: dict[Any, Any], name: str) -> dict[str, Any]:
    """Return the skeleton of a dict; of a module only the tensors, as of its state dict."""
    if isinstance(value, State):
        value = {key: item for key, item in value.items() if isinstance(item, Tensor)}
    items = [
        [described_leaf(key), described(item, below(name, key))] for key, item in value.items()
    ]
    if not isinstance(value, Attributed):
        return {"dict": items}
    return (
        {"ordered": items, "state": described(value.state, "")}
        if value.state
        else {"ordered": items}
    )


def described_leaf(value: Any) -> Any:
    """Return the skeleton of a leaf that is no tensor."""
    describe = LEAVES.get(type(value), described_node)
    return describe(value)


def described_text(value: str) -> str:
    """Half a surrogate pair, which no file of JSON holds, is spelled out."""
    return value.encode("utf-8", "backslashreplace").decode()


def described_float(value: float) -> Any:
    return value if math.isfinite(value) else {"float": str(value)}


def described_complex(value: complex) -> Any:
    return {"complex": [str(value.real), str(value.imag)]}


def described_bytes(value: bytes) -> Any:
    return {"bytes": base64.b64encode(value).decode()}


def described_set(value: set[Any]) -> Any:
    return {"set": sorted((described_leaf(item) for item in value), key=str)}


#: How a leaf of each type is described.
LEAVES: dict[type, Callable[[Any], Any]] = {
    str: described_text,
    float: described_float,
    complex: described_complex,
    **dict.fromkeys((bool, int, type(None)), lambda value: value),
    **dict.fromkeys((bytes, bytearray, memoryview), described_bytes),
    **dict.fromkeys((set, frozenset), described_set),
}


def described_node(value: Any) -> Any:
    """Return the skeleton of a name or a call that PyTorch trusts, of others their text."""
    if isinstance(value, Global) and value.module == "torch" and value.name in DTYPES:
        return {"name": [value.module, value.name]}
    if isinstance(value, Call) and isinstance(value.function, Global):
        called = (value.function.module, value.function.name)
        if called in CALLS:
            return {"call": list(called), "args": [described_leaf(arg) for arg in value.args]}
    return shown(value)


def below(name: str, key: Any) -> str:
    """Return the name of what stands under *key* in the container *name*."""
    return str(key) if name == "" else f"{name}{SEPARATOR}{key}"


def rebuilt(skeleton: str, names: Collection[str]) -> Any | None:
    """Return the tree of a *skeleton*, in which `TensorLeaf` stand for the tensors.

    A tensor that is not among *names* is left out of its dict.  None where the skeleton has no
    place for one of *names*, or a list or a tuple would lose one.
    """
    try:
        parsed = parse_json(skeleton)
        placed = set(names_in(parsed))
        if not placed.issuperset(names):
            return None
        return value_of(parsed, frozenset(names), MAX_DEPTH)
    except Missing:
        return None
    except (ValueError, TypeError, RecursionError) as error:
        raise CorruptCheckpoint("the skeleton of a PyTorch file is not one") from error


def names_in(part: Any) -> Iterator[str]:
    """Yield the names of all tensors in a parsed skeleton."""
    match part:
        case {"tensor": str(name)} | {"parameter": str(name)}:
            yield name
        case {"dict": items} | {"ordered": items}:
            for _, value in items:
                yield from names_in(value)
        case {"tuple": [*items]} | [*items]:
            for value in items:
                yield from names_in(value)


def value_of(part: Any, names: frozenset[str], depth: int) -> Any:
    """Return what a *part* of a parsed skeleton stands for."""
    if depth == 0:
        raise ValueError("too deep")
    if isinstance(part, list):
        return [value_of(item, names, depth - 1) for item in part]
    if not isinstance(part, dict):
        return part
    (kind, inner), *rest = part.items()
    if kind in ("tensor", "parameter"):
        if inner not in names:
            raise Missing(inner)
        return TensorLeaf(inner, kind == "parameter")
    if kind == "tuple":
        return tuple(value_of(item, names, depth - 1) for item in inner)
    if kind in ("dict", "ordered"):
        items = dict(kept_items(inner, names, depth - 1))
        return items if kind == "dict" else with_state(items, dict(rest).get("state"), depth)
    return leaf_of(kind, inner, dict(rest), depth)


def kept_items(items: Any, names: frozenset[str], depth: int) -> Iterator[tuple[Any, Any]]:
    """Yield the items of a dict, without tensors that are not written."""
    for key, part in items:
        try:
            yield value_of(key, names, depth), value_of(part, names, depth)
        except Missing:
            if not is_tensor(part):
                raise


def is_tensor(part: Any) -> bool:
    """Return whether a part of a skeleton is a tensor."""
    return isinstance(part, dict) and ("tensor" in part or "parameter" in part)


def with_state(items: dict[Any, Any], state: Any, depth: int) -> Attributed:
    """Return an OrderedDict with its attributes."""
    found = Attributed(items)
    found.state = None if state is None else value_of(state, frozenset(), depth - 1)
    return found


def leaf_of(kind: str, inner: Any, rest: dict[str, Any], depth: int) -> Any:
    """Return what a part stands for that is neither a tensor nor a dict."""
    if kind == "bytes":
        return base64.b64decode(inner)
    if kind == "float":
        return float(inner)
    if kind == "complex":
        return complex(*map(float, inner))
    if kind == "name":
        return Global(*inner)
    if kind == "call" and tuple(inner) in CALLS:
        args = tuple(value_of(arg, frozenset(), depth - 1) for arg in rest.get("args", ()))
        return Call(Global(*inner), args)
    if kind == "set":
        return {value_of(item, frozenset(), depth - 1) for item in inner}
    raise ValueError(kind)


def leaf_names(skeleton: str) -> set[str]:
    """Return the keys of the metadata that a file written with *skeleton* gives by itself."""
    return set(leaves_in(parse_json(skeleton), ""))


def leaves_in(part: Any, name: str) -> Iterator[str]:
    """Yield the names of all leaves in a parsed skeleton that are no tensors."""
    match part:
        case {"tensor": str()} | {"parameter": str()}:
            return
        case {"dict": [_, *_] as items} | {"ordered": [_, *_] as items}:
            for key, value in items:
                yield from leaves_in(value, below(name, key))
        case {"tuple": [_, *_] as items} | ([_, *_] as items):
            for n, value in enumerate(items):
                yield from leaves_in(value, below(name, n))
        case _:
            yield name
