"""A checkpoint as the containers it was made of; leaves are tensors' specs and plain values."""

import json
from collections.abc import Mapping
from typing import Any

from ..errors import CheckpointError
from ..formats.dcp.structure import TREE as PLACES
from ..formats.dcp.structure import Structure, decoded
from ..formats.torch.reading import TREE
from ..formats.torch.tree import TensorLeaf, rebuilt
from ..formats.trees import nested
from ..source import Source
from ..spec import TensorSpec

MAX_LEVELS = 12


def tree_of(source: Source) -> Any:
    """Return the structure of *source*: what `torch.save` was given, or names cut into levels."""
    if TREE in source.metadata:
        names = {*source.specs, *source.aliases} - set(source.derived)
        tree = rebuilt(source.metadata[TREE], names)
        if tree is not None:
            return with_specs(tree, source, MAX_LEVELS)
    if PLACES in source.metadata:
        return by_path(source, decoded(source.metadata[PLACES], source.specs))
    values = {name: parsed(text) for name, text in source.metadata.items() if name != TREE}
    leaves = {**values, **source.specs}
    try:
        return nested(leaves)
    except CheckpointError:  # a variable above its slots, as in `w` and `w/Adam`
        return leaves


def by_path(source: Source, structure: Structure) -> dict[str, Any]:
    """Return the leaves of a distributed checkpoint under the keys they were saved under."""
    tree: dict[str, Any] = {}
    for name, leaf in {**structure.values, **source.specs}.items():
        *levels, key = map(str, structure.path(name))
        node = tree
        for level in levels:
            below = node.setdefault(level, {})
            node = below if isinstance(below, dict) else {}
        node[key] = leaf
    return tree


def parsed(text: str) -> Any:
    """Return the value that a text of the metadata stands for, itself when it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def with_specs(value: Any, source: Source, levels: int) -> Any:
    """Return *value* with the specs of tensors in their places; what lies deeper is left out."""
    if isinstance(value, TensorLeaf):
        return source.specs[source.aliases.get(value.name, value.name)]
    if levels == 0:
        return None
    if isinstance(value, Mapping):
        return {str(key): with_specs(item, source, levels - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [with_specs(item, source, levels - 1) for item in value]
    return value


def is_tensor(value: Any) -> bool:
    """Return whether a leaf is a tensor.  (A spec is a tuple: ask this first.)"""
    return isinstance(value, TensorSpec)
