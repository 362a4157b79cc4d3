"""Nested containers of arrays, as checkpoints of PyTorch, Flax and Orbax are, to names and back.

    {"model": {"fc.weight": A}, "epoch": 3, "losses": [0.5, 0.25]}

has the tensor "model/fc.weight" and the plain leaves "epoch", "losses/0" and "losses/1", which
become metadata as JSON.  A level is always cut by "/", whatever stands in a key: state dicts have
dots of their own.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import CorruptCheckpoint, UnsupportedCheckpoint

SEPARATOR = "/"
MAX_DEPTH = 100

#: Why a tree of dicts has no place for a tensor like `w` beside its slot `w/Adam`.
IS_CONTAINER = "is also a container of others; rename it, or drop it or those under it"

#: Characters that the names of all leaves may take, for each of the limit and once.
NAMED, NAMED_ONCE = 100, 1 << 20


def flat(tree: Any, *, limit: int) -> dict[str, Any]:
    """Return every leaf of *tree* by name; an empty container is a leaf.

    Dicts, lists and tuples are levels.  Containers that share parts may unfold to far more than the
    file that held them: more than *limit* leaves are refused, names longer than `NAMED` characters
    for each of these, and a container inside itself.
    """
    found: dict[str, Any] = {}
    room = NAMED_ONCE + NAMED * limit
    for name, leaf in leaves(tree, None, MAX_DEPTH):
        room -= len(name)
        if name in found:
            raise UnsupportedCheckpoint(
                f"two values are called {name!r}: one under a key with {SEPARATOR!r} in it, one "
                "in nested containers"
            )
        found[name] = leaf
        if len(found) > limit:
            raise CorruptCheckpoint(f"the containers unfold to more than {limit} values")
        if room < 0:
            raise CorruptCheckpoint(
                f"the names of {len(found)} values take more than {NAMED_ONCE + NAMED * limit} "
                "characters: a long key stands above many of them"
            )
    return found


def leaves(tree: Any, name: str | None, depth: int) -> Iterator[tuple[str, Any]]:
    """Yield (name, leaf) of *tree*, which stands under *name*, *depth* levels deep at most.

    The tree itself has no name: the key "" of a container is one.
    """
    items: Any = ()
    if isinstance(tree, Mapping):
        items = tree.items()
    elif isinstance(tree, list | tuple):
        items = enumerate(tree)
    if not items or not len(tree):
        yield name or "", tree
        return
    if depth == 0:
        raise CorruptCheckpoint(
            f"containers lie more than {MAX_DEPTH} deep in one another at {str(name)[:100]!r}"
        )
    for key, value in items:
        below = str(key) if name is None else name + SEPARATOR + str(key)
        yield from leaves(value, below, depth - 1)


def nested(by_name: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tree of dicts whose leaves are *by_name*, each name cut at every "/".

    >>> nested({"a/b": 1, "a/c": 2, "d": 3})
    {'a': {'b': 1, 'c': 2}, 'd': 3}
    """
    tree: dict[str, Any] = {}
    for name, leaf in by_name.items():
        *levels, last = name.split(SEPARATOR)
        node = tree
        for level in levels:
            node = node.setdefault(level, {})
            if not isinstance(node, dict):
                raise clash(name)
        if last in node:
            raise clash(name)
        node[last] = leaf
    return tree


def clash(name: str) -> UnsupportedCheckpoint:
    """Return the error for a *name* that is a value and a container of others at once."""
    return UnsupportedCheckpoint(
        f"{name!r} lies below or above another tensor; containers in one another hold only one "
        "of them"
    )


def as_metadata(leaf: Any) -> str:
    """Return a leaf that is no array as text: JSON where it can be, else what Python shows.

    >>> as_metadata(3), as_metadata("adam"), as_metadata(None), as_metadata(2j)
    ('3', '"adam"', 'null', '2j')
    """
    try:
        return json.dumps(leaf, ensure_ascii=False)
    except (TypeError, ValueError):
        return repr(leaf)
