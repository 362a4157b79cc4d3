"""Pytrees: their leaves by name, and cells that a leaf is read from and put into.

    {"params": {"Dense_0": {"kernel": A}}}       params/Dense_0/kernel
    Mlp(layers=[Linear(weight=A)])               layers/0/weight

A name is the keys on the way joined by "/": those of dicts, the numbers of lists and tuples, the
names of attributes.  Files of Flax and Orbax have the same tree under the same names.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
from flax import nnx
from jax.tree_util import (
    DictKey,
    FlattenedIndexKey,
    GetAttrKey,
    SequenceKey,
    tree_flatten_with_path,
)

from ...errors import NameConflict

SEPARATOR = "/"

#: The keys on the way to a leaf, as text.
Path = tuple[str, ...]


class Cell(Protocol):
    """Where a leaf is kept."""

    def get(self) -> Any:
        """Return the leaf that is there."""

    def put(self, leaf: Any) -> None:
        """Put *leaf* in its place."""

    def still(self) -> bool:
        """Return whether this is where the model has the leaf now."""


@dataclass(frozen=True, slots=True)
class ListCell:
    """A place in the list of a tree's leaves, of which a new tree is made."""

    leaves: list[Any]
    index: int

    def get(self) -> Any:
        return self.leaves[self.index]

    def put(self, leaf: Any) -> None:
        self.leaves[self.index] = leaf

    def still(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class BoxCell:
    """An `nnx.Variable`, which is assigned in place, whatever would hold its value still."""

    variable: nnx.Variable[Any]

    def get(self) -> Any:
        raw = self.variable.get_raw_value()
        return raw[...] if nnx.variablelib.is_array_ref(raw) else raw

    def put(self, leaf: Any) -> None:
        raw = self.variable.get_raw_value()
        if nnx.variablelib.is_array_ref(raw):
            raw[...] = leaf
        else:
            object.__setattr__(self.variable, "_raw_value", leaf)

    def still(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf of a tree, whatever it is, with its path."""

    path: Path
    cell: Cell

    @property
    def name(self) -> str:
        """The path as a name."""
        return name_of(self.path)


class Tree:
    """A pytree taken apart so that its leaves can be replaced one by one."""

    def __init__(self, tree: Any) -> None:
        pairs, self.structure = tree_flatten_with_path(tree, is_leaf=is_variable)
        self.kept = [leaf for _, leaf in pairs]
        self.leaves = [
            Leaf(path_of(keys), BoxCell(leaf) if is_variable(leaf) else ListCell(self.kept, i))
            for i, (keys, leaf) in enumerate(pairs)
        ]

    def whole(self) -> Any:
        """Return the tree with the leaves as they are now."""
        return jax.tree_util.tree_unflatten(self.structure, self.kept)


def is_variable(node: object) -> bool:
    """Return whether *node* is a variable of Flax NNX."""
    return isinstance(node, nnx.Variable)


def path_of(keys: Iterable[Any]) -> Path:
    """Return the *keys* of JAX as text."""
    return tuple(key_text(key) for key in keys)


def key_text(key: Any) -> str:
    """Return one key as Flax and Orbax write it.

    >>> key_text(DictKey("a b")), key_text(SequenceKey(3)), key_text(GetAttrKey("mu"))
    ('a b', '3', 'mu')
    """
    match key:
        case DictKey(key=inner) | FlattenedIndexKey(key=inner):
            return str(inner)
        case SequenceKey(idx=index):
            return str(index)
        case GetAttrKey(name=name):
            return str(name)
    return str(key)


def name_of(path: Sequence[str]) -> str:
    """Return the name of what stands at *path*."""
    return SEPARATOR.join(path)


def children(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield what stands one level below *node*, each with its key; nothing below a leaf."""
    pairs, _ = tree_flatten_with_path(node, is_leaf=lambda below: below is not node)
    for keys, child in pairs:
        if keys:
            yield keys[0], child


def refuse_ambiguous(names: Iterable[str]) -> None:
    """Raise NameConflict naming every one of *names* that several leaves have."""
    seen: set[str] = set()
    twice = sorted({name for name in names if name in seen or seen.add(name)})  # type: ignore[func-returns-value]
    if twice:
        raise NameConflict(
            f"these names are ambiguous, for each is that of several leaves of the tree: "
            f"{', '.join(map(repr, twice))}; a key with {SEPARATOR!r} in it reads like nested "
            "containers, and the numbers 1 and '1' read the same: rename one of the keys"
        )
