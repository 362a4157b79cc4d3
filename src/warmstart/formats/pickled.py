"""What a pickle holds, as plain containers: objects by what they are made of, arrays as leaves.

    tree = Folder(limit=len(pickle)).folded(loads(pickle))
    leaves = trees.flat(tree, limit=...)

An object of an unknown class is a level of its own if there is an array or a tensor in it, so that
these get names; else it is one leaf, an `Opaque`, which says what it was.  Nothing is refused for
its class, nothing for containing itself.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..binary.pickle import Attributed, Call, Global, RawArray, RawDtype
from .leaf_text import shown

#: Levels of objects in one another; what lies deeper is left out, with a word.
MAX_DEPTH = 120

#: The key that names the class of an object which became a level.
CLASS = "__class__"


@dataclass(frozen=True, slots=True, eq=False)
class Opaque:
    """An object of a class that nobody here knows, in which no tensor is."""

    kind: str
    contents: Mapping[str, Any]

    def __str__(self) -> str:
        return shown({CLASS: self.kind, **self.contents})


@dataclass(slots=True)
class Folder:
    """Folds values, each object once however often it occurs.

    `special` says for single objects how they are folded, `folds` for the caller's own types of
    nodes; `is_tensor` says which leaves are tensors.
    """

    special: "Callable[[Call], Special | None]" = lambda call: None
    folds: "Mapping[type, Callable[[Folder, Any], Any]]" = field(default_factory=dict)
    is_tensor: Callable[[Any], bool] = lambda leaf: False
    _folded: dict[int, Any] = field(default_factory=dict)
    _kept: list[Any] = field(default_factory=list)  # or an id could come to mean something else
    _open: set[int] = field(default_factory=set)
    _holding: dict[int, bool] = field(default_factory=dict)

    def folded(self, value: Any) -> Any:
        """Return *value* as plain containers and leaves."""
        fold = FOLDS.get(type(value)) or self.folds.get(type(value))
        if fold is None:
            return value
        key = id(value)
        if key in self._folded:
            return self._folded[key]
        if key in self._open or len(self._open) >= MAX_DEPTH:
            return f"(a {kind_of(value)} {'again' if key in self._open else 'too deep'})"
        self._open.add(key)
        found = fold(self, value)
        self._open.discard(key)
        self._kept.append(value)
        self._folded[key] = found
        return found

    def object_of(self, kind: str, contents: Mapping[Any, Any]) -> Any:
        """Return an object of the class *kind* made of *contents*, not folded yet."""
        folded = {key: self.folded(value) for key, value in contents.items()}
        if any(map(self.holds_tensors, folded.values())):
            return {CLASS: kind, **folded}
        return Opaque(kind, folded)

    def holds_tensors(self, folded: Any) -> bool:
        """Return whether there is a tensor or an array in what was *folded*."""
        if isinstance(folded, RawArray):
            return not folded.scalar
        if not isinstance(folded, dict | list | tuple):
            return self.is_tensor(folded)
        key = id(folded)
        if key not in self._holding:
            inner = folded.values() if isinstance(folded, dict) else folded
            self._holding[key] = any(map(self.holds_tensors, inner))
            self._kept.append(folded)
        return self._holding[key]


Special = Callable[[Folder, Call], Any]


def kind_of(value: Any) -> str:
    """Return what kind of thing *value* is, in a word."""
    return name_of(value.function) if isinstance(value, Call) else type(value).__name__


def name_of(function: Any) -> str:
    """Return what is called, in a word; calls of what calls make may be very many."""
    if isinstance(function, Global):
        return str(function)
    maker = function.function if isinstance(function, Call) else None
    return f"what {maker if isinstance(maker, Global) else type(function).__name__} makes"


def fold_dict(folder: Folder, value: dict[Any, Any]) -> dict[Any, Any]:
    return {key_of(key): folder.folded(item) for key, item in value.items()}


def fold_attributed(folder: Folder, value: Attributed) -> Attributed:
    """A dict with attributes keeps those, beside its items."""
    found = Attributed(fold_dict(folder, value))
    found.state = folder.folded(value.state)
    return found


def fold_list(folder: Folder, value: list[Any]) -> list[Any]:
    return [folder.folded(item) for item in value]


def fold_tuple(folder: Folder, value: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(folder.folded(item) for item in value)


def fold_array(folder: Folder, value: RawArray) -> Any:
    """An array of objects is the list of them; its shape is of no use to a list of names."""
    if isinstance(value.data, list):
        return folder.folded(value.data[0] if value.shape == () and value.data else value.data)
    return value


def fold_call(folder: Folder, value: Call) -> Any:
    special = folder.special(value) or common_special(value.function)
    if special is None:
        return folder.object_of(name_of(value.function), dict(parts(value)))
    return special(folder, value)


def common_special(function: Any) -> "Special | None":
    """Return how objects of a class that is known everywhere are folded."""
    return SPECIAL.get((function.module, function.name)) if isinstance(function, Global) else None


FOLDS: dict[type, Callable[[Folder, Any], Any]] = {
    dict: fold_dict,
    Attributed: fold_attributed,
    list: fold_list,
    tuple: fold_tuple,
    RawArray: fold_array,
    Call: fold_call,
}


def parts(call: Call) -> Iterator[tuple[Any, Any]]:
    """Yield what an object is made of: arguments, items, attributes."""
    if call.args:
        yield "args", call.args
    yield from (call.kwargs or {}).items()
    if call.appended:
        yield "items", call.appended
    for key, value in call.items:
        yield key_of(key), value
    yield from attributes(call).items()


def attributes(call: Call) -> dict[Any, Any]:
    """Return the attributes of an object, those in slots among them; an odd state as one."""
    states = call.state if is_slotted(call.state) else (call.state,)
    found: dict[Any, Any] = {}
    for state in states:
        if isinstance(state, dict):
            found |= {key_of(key): value for key, value in state.items()}
        elif state is not None:
            found["state"] = state
    return found


def is_slotted(state: Any) -> bool:
    """Return whether *state* is what Python keeps of a class with `__slots__`: two dicts."""
    return (
        isinstance(state, tuple)
        and len(state) == 2
        and all(isinstance(part, dict | None) for part in state)
    )


def key_of(key: Any) -> Any:
    """Return a key as a part of a name: text and numbers as they are."""
    if isinstance(key, bytes):
        return str(key, "utf-8", "replace") if is_utf8(key) else str(key, "latin-1")
    return key if isinstance(key, str | int | float | bool) else shown(key)


def is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


# --- classes whose objects are plain things in disguise -------------------------------------------


def namespace(folder: Folder, call: Call) -> Any:
    """argparse.Namespace: a dict."""
    return folder.folded(attributes(call))


def partial(folder: Folder, call: Call) -> Any:
    """functools.partial: what is to be called with what; nobody does."""
    match call.state:
        case (function, args, keywords, _):
            contents = {"func": function, "args": args, "keywords": keywords}
        case _:
            contents = dict(parts(call))
    return folder.object_of("functools.partial", contents)


def omega_container(folder: Folder, call: Call) -> Any:
    """OmegaConf's DictConfig and ListConfig, of 1.x and 2.x: what they contain."""
    state = attributes(call)
    return folder.folded(state.get("_content", state.get("content")))


def omega_node(folder: Folder, call: Call) -> Any:
    """A value in one of OmegaConf's containers."""
    state = attributes(call)
    return folder.folded(state.get("_val", state.get("val")))


OMEGA_NODES = (
    "AnyNode", "StringNode", "IntegerNode", "FloatNode", "BooleanNode", "BytesNode", "PathNode",
    "EnumNode", "InterpolationResultNode",
)  # fmt: skip

SPECIAL: Mapping[tuple[str, str], Special] = {
    ("argparse", "Namespace"): namespace,
    ("types", "SimpleNamespace"): namespace,
    ("functools", "partial"): partial,
    ("omegaconf.dictconfig", "DictConfig"): omega_container,
    ("omegaconf.listconfig", "ListConfig"): omega_container,
    **{("omegaconf.nodes", name): omega_node for name in OMEGA_NODES},
}

__all__ = ["CLASS", "Folder", "Opaque", "RawDtype", "Special", "attributes", "key_of", "parts"]
