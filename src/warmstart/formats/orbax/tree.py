"""The tree of an item: which arrays it has under which names, and its leaves that are none."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...binary.window import file_bytes
from ...errors import CorruptCheckpoint
from ..msgpack.reading import MsgpackSource
from ..notes import Notes, decode, parse_object
from ..trees import MAX_DEPTH, SEPARATOR, as_metadata
from .places import has_aggregate

NOTE = "warmstart"  # the key of this library's own note in the custom metadata
PLACEHOLDER = "PLACEHOLDER://"
#: What leaves are shown as that have no value of their own.
EMPTY = {"None": "null", "NamedTuple": "null", "Dict": "{}", "List": "[]", "Tuple": "[]"}


@dataclass(slots=True)
class Tree:
    """What an item says: `params` maps a name to the array's name in the store."""

    params: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    notes: Notes = field(default_factory=Notes)
    aggregate: MsgpackSource | None = None
    #: whether a chunk that is not there stands for zeros, as before 0.6
    sparse: bool = True


def read_tree(folder: Path, *, mmap: bool) -> Tree:
    """Return the tree of the item in *folder*."""
    tree = Tree()
    if (folder / "_METADATA").is_file():
        tree = tree_of(read_json(folder / "_METADATA"), strings_of(folder))
    if has_aggregate(folder):
        add_aggregate(tree, MsgpackSource(folder / "checkpoint", mmap=mmap))
    return tree


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in the file *path*."""
    return parse_object(file_bytes(path)[:], path.name)


def strings_of(folder: Path) -> dict[str, Any]:
    """Return the leaves that are text, by the name an array would have in the store."""
    path = folder / "_strings.json"
    return read_json(path) if path.is_file() else {}


def tree_of(said: dict[str, Any], strings: dict[str, Any]) -> Tree:
    """Return the tree that a `_METADATA` describes."""
    leaves = said.get("tree_metadata")
    if not isinstance(leaves, dict):
        raise CorruptCheckpoint("_METADATA has no tree_metadata")
    tree = Tree(sparse=said.get("store_array_data_equal_to_fill_value") is not True)
    for leaf in leaves.values():
        keys, kind = parse_leaf(leaf)
        name, param = SEPARATOR.join(keys), ".".join(keys)
        if name in tree.params or name in tree.metadata:
            raise CorruptCheckpoint(f"_METADATA has two leaves that are called {name!r}")
        if kind == "string":
            tree.metadata[name] = as_metadata(strings.get(param))
        elif kind in EMPTY:
            tree.metadata[name] = EMPTY[kind]
        else:
            tree.params[name] = param
    add_custom(tree, said.get("custom_metadata"))
    return tree


def parse_leaf(leaf: object) -> tuple[list[str], str]:
    """Return the keys and the value type of one leaf of `_METADATA`."""
    match leaf:
        case {"key_metadata": [*keys], "value_metadata": {"value_type": str(kind)}}:
            names = [key.get("key") if isinstance(key, dict) else None for key in keys]
            texts = [name for name in names if isinstance(name, str)]
            if len(texts) == len(keys) <= MAX_DEPTH:
                return texts, kind
    raise CorruptCheckpoint(f"a leaf of _METADATA has no keys or no type: {str(leaf)[:200]}")


def add_custom(tree: Tree, custom: object) -> None:
    """Add custom metadata to *tree*; this library's note is taken out of them."""
    if custom is None:
        return
    if not isinstance(custom, dict):
        raise CorruptCheckpoint("the custom_metadata of _METADATA are not a JSON object")
    note = custom.get(NOTE)
    if isinstance(note, str):
        tree.notes = decode(note)
    tree.metadata |= {k: as_metadata(v) for k, v in custom.items() if k != NOTE}
    tree.metadata |= tree.notes.metadata


def add_aggregate(tree: Tree, source: MsgpackSource) -> None:
    """Add what the msgpack file of older versions holds: it has the whole tree."""
    tree.aggregate = source
    for name in source.specs:
        tree.params.pop(name, None)
    for name, shown in source.metadata.items():
        leaf = json.loads(shown) if shown.startswith('"' + PLACEHOLDER) else None
        if leaf is None:
            tree.params.pop(name, None)
            tree.metadata[name] = shown
        elif name not in tree.metadata:
            tree.params[name] = leaf.removeprefix(PLACEHOLDER)
