"""A checkpoint of version 1 that is open.

    with SlicesSource(path, verify=True) as source:
        source.read_slice("embedding", slice(0, 10))    # decodes only the pieces it touches

With *verify* the checksum of each block of the table is checked when it is first looked into.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ...binary.table import Table
from ...binary.window import file_bytes
from ...binary.wire import as_bytes, fields
from ...boxes import Box, bounded, box_shape, common, put_together, whole_box
from ...errors import CheckpointNotFound, CorruptCheckpoint, noting
from ...source import Index, ListedSource
from ...spec import RUN_PREFIX, TensorSpec, numpy_dtype
from ..tf_bundle.protos import Slice
from ..tf_bundle.slices import box_of, slice_key
from .header import Saved, decode_header
from .paths import files_of

if TYPE_CHECKING:
    import numpy as np

#: Tensors may take this many times the bytes of the files: 16 times those of a block, which may
#: hold 22 times what it takes when it is compressed.
MAX_EXPANSION = 16 * 22


class Piece(NamedTuple):
    """A piece of a tensor: which, and in which of the files."""

    slice: Slice
    shard: int


class SlicesSource(ListedSource):
    """An open checkpoint of version 1."""

    def __init__(self, path: Path, *, verify: bool, mmap: bool = True) -> None:
        """Open *path*, a file or the pattern of its shards, of which some may be missing."""
        files = files_of(path)
        self._missing = [file for file in files if not file.is_file()]
        self._files = [file for file in files if file not in self._missing]
        self._data = [file_bytes(file, mmap=mmap) for file in self._files]
        self._tables = [Table(data, verify=verify) for data in self._data]
        self._specs: dict[str, TensorSpec] = {}
        self._pieces: dict[str, list[Piece]] = {}
        for shard, table in enumerate(self._tables):
            with noting(f"in {self._files[shard].name}"):
                self._add(shard, header_of(table))
        self._specs = dict(sorted(self._specs.items()))
        if self._missing:
            logging.getLogger("warmstart").warning("%s", self._what_is_missing())

    def read(self, name: str) -> "np.ndarray":
        spec = self._spec(name)
        with noting(f"in tensor {name!r}"):
            return self._part(spec, whole_box(spec.shape))

    def read_slice(self, name: str, index: Index) -> "np.ndarray":
        import numpy as np

        spec = self._spec(name)
        box, rest = bounded(index, spec.shape)
        with noting(f"in tensor {name!r}"):
            part = self._part(spec, box)
        return np.asarray(part[rest])

    def read_all(self) -> "dict[str, np.ndarray]":
        self.check(self._specs)
        return super().read_all()

    def check(self, names: Iterable[str]) -> None:
        if self._missing:
            raise CheckpointNotFound(self._what_is_missing())
        sizes = {name: max(self._spec(name).nbytes, self._spec(name).size) for name in names}
        nbytes = sum(map(len, self._data))
        if sum(sizes.values()) > MAX_EXPANSION * nbytes:
            largest = max(sizes, key=lambda name: sizes[name])
            raise CorruptCheckpoint(
                f"the tensors take {sum(sizes.values())} bytes, which cannot be in the {nbytes} of "
                f"the checkpoint; the largest is {largest!r}: {self._specs[largest]}"
            )

    def unclaimed(self) -> Iterator[str]:
        for shard, table in enumerate(self._tables):
            known = {key for name in self._pieces for key in self._keys(name, shard)}
            file = self._files[shard].name
            yield from (f"{file}: {what}" for what in table.unclaimed())
            for key in table.keys():  # noqa: SIM118  (a table is no mapping)
                if key and key not in known:
                    yield f"{file}: the entry {key!r} is of no tensor in the header"

    def read_order(self) -> Iterator[str]:
        places = sorted((ps[0].shard, key(n, ps[0].slice), n) for n, ps in self._pieces.items())
        yield from (name for _, _, name in places)

    def _add(self, shard: int, found: Mapping[str, Saved]) -> None:
        """Take up the tensors *found* in a file; another may have pieces of the same."""
        for name, saved in found.items():
            role = "run" if name.startswith(RUN_PREFIX) else None
            spec = TensorSpec(name, saved.dtype, saved.shape, role)
            known = self._specs.setdefault(name, spec)
            if known != spec:
                raise CorruptCheckpoint(f"{name!r} is {spec} here, and {known} in another file")
            pieces = [Piece(each, shard) for each in saved.slices]
            if not pieces:
                raise CorruptCheckpoint(f"{name!r} has no pieces, and so no values")
            self._pieces.setdefault(name, []).extend(pieces)

    def _spec(self, name: str) -> TensorSpec:
        return self._specs[self._own(name)]

    def _keys(self, name: str, shard: int) -> list[bytes]:
        """Return the keys of the pieces of the tensor *name* that a file has."""
        return [key(name, piece.slice) for piece in self._pieces[name] if piece.shard == shard]

    def _part(self, spec: TensorSpec, box: Box) -> "np.ndarray":
        """Return what *box* cuts out of a tensor, put together from the pieces that it touches."""
        from .values import check_room, decode_values

        boxes = {piece: box_of(piece.slice, spec.shape) for piece in self._pieces[spec.name]}
        if len(boxes) == 1 and whole_box(spec.shape) in boxes.values():
            (piece,) = boxes
            whole = decode_values(self._message(spec.name, piece), spec.dtype, spec.shape)
            inside: Index = (*box, ...)  # of no dimensions an array too, not its one value
            return whole[inside]
        touched = {piece: b for piece, b in boxes.items() if common(b, box) is not None}
        found = [(self._message(spec.name, piece), b) for piece, b in touched.items()]
        check_room(spec.dtype, box_shape(box), sum(len(message) for message, _ in found))

        def read(number: int, part: Box) -> "np.ndarray":
            message, piece = found[number]
            return decode_values(message, spec.dtype, box_shape(piece))[part]

        return put_together(numpy_dtype(spec.dtype), box, list(touched.values()), read)

    def _message(self, name: str, piece: Piece) -> memoryview:
        """Return the TensorProto of a piece of the tensor *name*."""
        entry = self._tables[piece.shard].find(key(name, piece.slice))
        if entry is None:
            raise CorruptCheckpoint(f"its piece at {piece.slice.starts} is not there")
        return field(field(entry, 2, "the values"), 3, "the values")

    def _what_is_missing(self) -> str:
        """Return in words which shards are not there."""
        names = ", ".join(file.name for file in self._missing)
        return (
            f"{len(self._missing)} of {len(self._missing) + len(self._files)} files are not there, "
            f"and what is in them is not known: {names}"
        )


def header_of(table: Table) -> dict[str, Saved]:
    """Return what the header in *table* says."""
    header = table.get(b"")
    if header is None:
        raise CorruptCheckpoint("the table has no header: it is no checkpoint of version 1")
    return decode_header(header)


def key(name: str, piece: Slice) -> bytes:
    """Return the key of a piece of the tensor *name*."""
    return slice_key(name.encode(), piece)


def field(message: memoryview, wanted: int, what: str) -> memoryview:
    """Return the last field *wanted* of *message*, empty where there is none."""
    found = memoryview(b"")
    for number, value in fields(message):
        if number == wanted:
            found = as_bytes(value, what)
    return found
