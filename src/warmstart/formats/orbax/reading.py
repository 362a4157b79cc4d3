"""The items of one step as a source."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import CheckpointNotFound, CorruptCheckpoint, noting
from ...source import Index, Source, no_such_tensor
from ...spec import ITEMSIZES, TensorSpec, numpy_dtype
from ..arrays import array_over, settled
from ..boxes import Box, bounded, put_together
from ..msgpack.leaves import roles_by_layout
from ..msgpack.reading import MsgpackSource
from ..notes import checked
from ..slicing import part_of
from ..trees import SEPARATOR, as_metadata
from . import tensorstore_edge as edge
from .places import items_of, json_items
from .stores import Store, store_in
from .tree import Tree, read_json, read_tree
from .zarr import Layout, parse_layout

if TYPE_CHECKING:
    import numpy as np

#: What a byte of a compressed file can become, with room to spare: zstd's best is some 32,000.
MAX_RATIO = 40_000
#: Bytes that any checkpoint may unpack to.
FREE = 64 << 20


@dataclass(frozen=True, slots=True)
class Held:
    """One array in an item: its layout and where it lies."""

    param: str
    layout: Layout
    store: Store
    sparse: bool

    def foreign(self) -> edge.Array:
        """Return the array as tensorstore reads it."""
        spec = self.store.spec(self.param)
        return edge.Array(self.param, spec, self.layout.version, sparse=self.sparse)

    def nbytes(self) -> int:
        """Return the bytes that reading it may take: its own, or those of a larger chunk."""
        sizes = math.prod(self.layout.shape), math.prod(self.layout.chunks)
        return max(sizes) * ITEMSIZES[self.layout.dtype]


@dataclass(frozen=True, slots=True)
class Item:
    """What one item holds."""

    tree: Tree
    held: Mapping[str, Held]


class OrbaxSource(Source):
    """One or more items of a step; names begin with the item's where several hold arrays."""

    def __init__(self, path: Path, *, mmap: bool = True) -> None:
        self._place = f"while reading {path}"
        self._held: dict[str, Held] = {}
        self._specs: dict[str, TensorSpec] = {}
        self._aggregates: dict[str, tuple[MsgpackSource, str]] = {}
        self._aliases: dict[str, str] = {}
        with noting(self._place):
            self._metadata = step_metadata(path)
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
        self._metadata |= {prefix + key: text for key, text in tree.metadata.items()}
        if tree.aggregate is not None:
            aggregate = tree.aggregate
            self._aggregates |= {prefix + name: (aggregate, name) for name in aggregate.specs}

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        return self._specs

    @property
    def metadata(self) -> Mapping[str, str]:
        return self._metadata

    @property
    def aliases(self) -> Mapping[str, str]:
        return self._aliases

    def read(self, name: str) -> "np.ndarray":
        return self.read_slice(name, ...)

    def read_slice(self, name: str, index: Index) -> "np.ndarray":
        name = self._aliases.get(name, name)
        with noting(self._place):
            if name in self._aggregates:
                source, inner = self._aggregates[name]
                return source.read_slice(inner, index)
            if name not in self._held:
                raise no_such_tensor(name, self._specs)
            return read_part(self._held[name], index)

    def read_all(self) -> "dict[str, np.ndarray]":
        foreign = [name for name, held in self._held.items() if not held.layout.plain]
        with noting(self._place):
            refuse_bombs([self._held[name] for name in foreign])
            arrays = edge.read_many([self._held[name].foreign() for name in foreign])
            found = {
                name: fitting(array, self._held[name])
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
        found |= {p: parse_layout(raw, version, p) for p, raw in raws.items() if raw is not None}
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


def read_part(held: Held, index: Index) -> "np.ndarray":
    """Return what *index* cuts out of an array, reading only the chunks that it touches."""
    import numpy as np

    box, rest = bounded(index, held.layout.shape)
    if not held.layout.plain:
        refuse_bombs([held])
        read = edge.read_one(held.foreign(), lambda array: array[box] if box else array)
        return np.asarray(settled(read)[rest])
    if not math.prod(held.layout.shape):
        return np.asarray(np.zeros(held.layout.shape, numpy_dtype(held.layout.dtype))[index])
    if held.layout.chunks == held.layout.shape:
        part = part_of(index, held.layout.shape)
        key = held.layout.key((0,) * len(held.layout.shape))
        return np.asarray(settled(elements(held, key, part.begin, part.shape))[part.index])
    return np.asarray(settled(assembled(held, box))[rest])


def assembled(held: Held, box: Box) -> "np.ndarray":
    """Return what *box* cuts out of an array of several chunks, each a value of its own."""
    if math.prod(held.layout.grid) > held.store.nbytes:
        raise CorruptCheckpoint(f"{held.param!r} claims {math.prod(held.layout.grid)} chunks")
    keys, pieces = zip(*held.layout.pieces(), strict=True)
    dtype, shape = numpy_dtype(held.layout.dtype), held.layout.chunks
    return put_together(
        dtype, box, pieces, lambda number, part: elements(held, keys[number], 0, shape)[part]
    )


def elements(held: Held, key: str, begin: int, shape: tuple[int, ...]) -> "np.ndarray":
    """Return the elements of a chunk from *begin* on, as an array of *shape*; a view if it can."""
    layout = held.layout
    place = held.store.place(f"{held.param}/{key}")
    if place is None:
        raise CorruptCheckpoint(f"the chunk {key!r} of {held.param!r} is missing")
    if place.nbytes != layout.chunk_nbytes:
        raise CorruptCheckpoint(
            f"the chunk {key!r} of {held.param!r} has {place.nbytes} bytes; {layout.dtype} "
            f"{layout.chunks} takes {layout.chunk_nbytes}"
        )
    itemsize = ITEMSIZES[layout.dtype]
    dtype = numpy_dtype(layout.dtype).newbyteorder(">" if layout.big_endian else "<")
    raw = place.part(begin * itemsize, math.prod(shape) * itemsize)
    array = array_over(raw, dtype, shape)
    return array if array.flags.aligned else array.copy()


def refuse_bombs(arrays: Sequence[Held]) -> None:
    """Refuse compressed arrays that claim more than all files of their item can unpack to."""
    for store in {id(held.store): held.store for held in arrays}.values():
        claims = [(held.nbytes(), held) for held in arrays if held.store is store]
        limit = FREE + MAX_RATIO * store.nbytes
        chunks = sum(math.prod(held.layout.grid) for _, held in claims)
        if sum(nbytes for nbytes, _ in claims) > limit or chunks > limit:
            largest = max(claims, key=lambda claim: claim[0])[1]
            raise CorruptCheckpoint(
                f"the arrays claim more than the {store.nbytes} bytes of the checkpoint can hold; "
                f"the largest is {largest.param!r}, {largest.layout.dtype} {largest.layout.shape} "
                f"in chunks of {largest.layout.chunks}"
            )


def fitting(array: "np.ndarray", held: Held) -> "np.ndarray":
    """Return what tensorstore read, if it is what the JSON of the array says."""
    expected = numpy_dtype(held.layout.dtype)
    if array.dtype != expected or array.shape != held.layout.shape:
        raise CorruptCheckpoint(
            f"{held.param!r} was read as {array.dtype} {array.shape}; its JSON says "
            f"{held.layout.dtype} {held.layout.shape}"
        )
    return settled(array)
