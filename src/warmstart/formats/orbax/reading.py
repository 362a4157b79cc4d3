"""The items of one step as a source."""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import CheckpointNotFound, noting
from ...source import Index, ListedSource
from ...spec import TensorSpec
from ..msgpack.leaves import roles_by_layout
from ..msgpack.reading import MsgpackSource
from ..notes import checked
from ..trees import SEPARATOR, as_metadata
from . import tensorstore_edge as edge
from .chunks import SMALL, Held, fitting, read_part, read_whole, refuse_bombs
from .places import items_of, json_items
from .stores import Store, store_in
from .tree import Tree, read_json, read_tree
from .zarr import PLAIN, Layout, parse_layout

if TYPE_CHECKING:
    import numpy as np

#: Bytes of a tensor above which the next one is not unpacked beside it.
LARGE = 32 << 20


@dataclass(frozen=True, slots=True)
class Item:
    """What one item holds."""

    tree: Tree
    held: Mapping[str, Held]


class OrbaxSource(ListedSource):
    """One or more items of a step; names begin with the item's where several hold arrays."""

    def __init__(self, path: Path, *, mmap: bool = True) -> None:
        self._place = f"while reading {path}"
        self._held: dict[str, Held] = {}
        self._specs: dict[str, TensorSpec] = {}
        self._aggregates: dict[str, tuple[MsgpackSource, str]] = {}
        self._aliases: dict[str, str] = {}
        self._derived: set[str] = set()
        self._metadata: dict[str, str] = {}
        with noting(self._place):
            self._metadata |= step_metadata(path)
            items = items_of(path)
            for item, folder in items.items():
                self._add(f"{item}{SEPARATOR}" if len(items) > 1 else "", folder, mmap)

    def _add(self, prefix: str, folder: Path, mmap: bool) -> None:
        """Add the item in *folder*, each name in it after *prefix*."""
        item = read_item(folder, mmap=mmap)
        tree, specs = item.tree, specs_of(item)
        aliases = checked(tree.notes, specs).aliases
        self._held |= {prefix + name: held for name, held in item.held.items()}
        self._specs |= {prefix + n: s.renamed(prefix + n) for n, s in specs.items()}
        self._aliases |= {prefix + alias: prefix + name for alias, name in aliases.items()}
        self._derived |= {prefix + alias for alias in tree.notes.derived}
        self._metadata |= {prefix + key: text for key, text in tree.metadata.items()}
        if tree.aggregate is not None:
            aggregate = tree.aggregate
            self._aggregates |= {prefix + name: (aggregate, name) for name in aggregate.specs}

    def read(self, name: str) -> "np.ndarray":
        return self.read_slice(name, ...)

    def read_slice(self, name: str, index: Index) -> "np.ndarray":
        with noting(self._place):
            name = self._own(name)
            if name in self._aggregates:
                source, inner = self._aggregates[name]
                return source.read_slice(inner, index)
            return read_part(self._held[name], index)

    def read_each(self, names: Iterable[str]) -> "Iterator[np.ndarray]":
        """Unpack the next one while one is in use, of a size where that is worth the memory."""
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(2) as pool:
            coming: deque[Callable[[], np.ndarray]] = deque()
            for name in names:
                beside = name in self._held and SMALL <= self._held[name].nbytes() <= LARGE
                read = partial(self.read, name)
                coming.append(pool.submit(read).result if beside else read)
                if len(coming) > 1:
                    yield coming.popleft()()
            while coming:
                yield coming.popleft()()

    def read_all(self) -> "dict[str, np.ndarray]":
        packed = {n: held for n, held in self._held.items() if held.layout.packing != PLAIN}
        native = {name: held for name, held in packed.items() if held.native}
        foreign = {name: held for name, held in packed.items() if name not in native}
        with noting(self._place):
            found = dict(zip(native, read_whole(list(native.values())), strict=True))
            refuse_bombs(list(foreign.values()))
            arrays = edge.read_many([held.foreign() for held in foreign.values()])
            found |= {
                name: fitting(array, foreign[name])
                for name, array in zip(foreign, arrays, strict=True)
            }
        return {name: found[name] if name in found else self.read(name) for name in self._specs}


def step_metadata(path: Path) -> dict[str, str]:
    """Return what a step says beside its items with arrays."""
    said = {}
    file = path / "_CHECKPOINT_METADATA"
    if file.is_file():
        custom = read_json(file).get("custom_metadata")
        said = custom if isinstance(custom, dict) else {}
    found = {key: as_metadata(value) for key, value in said.items()}
    for name, place in json_items(path).items():
        found[name] = json.dumps(read_json(place), ensure_ascii=False)
    return found


def read_item(folder: Path, *, mmap: bool) -> Item:
    """Return the item in *folder*, having looked at the JSON of each of its arrays."""
    tree = read_tree(folder, mmap=mmap)
    if not tree.params:
        return Item(tree, {})
    store = store_in(folder, mmap=mmap)
    layouts = read_layouts(store, tree.params.values())
    held = {
        name: Held(param, layouts[param], store, tree.sparse) for name, param in tree.params.items()
    }
    return Item(tree, held)


def read_layouts(store: Store, params: Iterable[str]) -> dict[str, Layout]:
    """Return the layout of every one of *params*, or name all that are not in *store*."""
    missing = list(params)
    found: dict[str, Layout] = {}
    for version, file in ((2, ".zarray"), (3, "zarr.json")):
        values = store.get(f"{param}/{file}" for param in missing)
        raws = {param: values[f"{param}/{file}"] for param in missing}
        parsed: dict[bytes, Layout] = {}  # thousands of arrays are alike
        for param, raw in ((p, bytes(raw)) for p, raw in raws.items() if raw is not None):
            found[param] = parsed.get(raw) or parse_layout(raw, version, param)
            parsed[raw] = found[param]
        missing = [param for param in missing if param not in found]
    if missing:
        raise CheckpointNotFound(
            f"{len(missing)} arrays of the tree are not there: "
            + ", ".join(map(repr, missing[:10]))
            + (", ..." if len(missing) > 10 else "")
        )
    return found


def specs_of(item: Item) -> dict[str, TensorSpec]:
    """Return the specs of an item, with the roles that its note or its layout says."""
    shapes = {name: (held.layout.dtype, held.layout.shape) for name, held in item.held.items()}
    if item.tree.aggregate is not None:
        shapes |= {n: (s.dtype, s.shape) for n, s in item.tree.aggregate.specs.items()}
    said = roles_by_layout([*shapes, *item.tree.metadata], shapes)
    roles = said | dict(item.tree.notes.roles)
    return {n: TensorSpec(n, dtype, shape, roles.get(n)) for n, (dtype, shape) in shapes.items()}
