"""A bundle that is open: arrays straight from the mapped data files.

    with BundleSource(prefix, verify=True) as source:
        source.read(name)       # the first time, its checksum is checked

An aligned tensor is a read-only view of the file; one that is not aligned, in the other byte order
or in pieces is a copy.
"""

import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ...binary.checksum import crc32c_of, mask
from ...binary.mapped import map_file
from ...errors import CheckpointNotFound, CorruptCheckpoint, UnsupportedCheckpoint, noting
from ...source import Index as Bracket
from ...source import Source, no_such_tensor
from ...spec import NUMPY_NAMES, TensorSpec, numpy_dtype
from .. import notes
from .index import NOTE, Index, Specs
from .paths import index_of
from .places import check_places, check_size
from .protos import Entry, Slice
from .shards import Shards
from .slices import box, box_shape, slice_key
from .strings import crc_of_strings, decode_strings

if TYPE_CHECKING:
    import numpy as np

ATTEMPTS = 3


class BundleSource(Source):
    """An open tensor bundle."""

    def __init__(self, prefix: Path, *, verify: bool) -> None:
        """Open the bundle *prefix*; with *verify* a tensor's first read checks its checksum."""
        self._verify = verify
        self._index, self._shards = opened(prefix, verify=verify)
        self._big_endian = self._index.header.big_endian
        self._foreign = self._big_endian != (sys.byteorder == "big")
        self._sound: set[Entry] = set()  # those whose checksum was right
        self._known: dict[str, Entry] = {}  # all of them, once all are to be read
        self._specs = Specs(self._index, lambda: self._notes)

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        return self._specs

    @property
    def metadata(self) -> Mapping[str, str]:
        return self._notes.metadata

    @property
    def aliases(self) -> Mapping[str, str]:
        return self._notes.aliases

    def read(self, name: str) -> "np.ndarray":
        return self._read(name, self._entry(name))

    def read_slice(self, name: str, index: Bracket) -> "np.ndarray":
        import numpy as np

        entry = self._entry(name)
        if entry.slices or entry.dtype == "string":
            return np.asarray(self.read(name)[index])
        with noting(f"in tensor {name!r}"):
            return settled(np.asarray(self._stored(entry)[index]), numpy_dtype(entry.dtype))

    def read_all(self) -> "dict[str, np.ndarray]":
        from .bulk import read_alike

        names, messages = self._index.messages(hidden={NOTE, *self.aliases})
        arrays: list[np.ndarray | None] = [None] * len(names)
        if not self._foreign:
            self._shards.populate()
            heads = self._index.known_heads
            arrays = read_alike(messages, heads, self._shards, verify=self._verify)
        rest = [row for row, array in enumerate(arrays) if array is None]
        entries = {names[row]: self._index.decoded(messages[row]) for row in rest}
        for row, array in zip(rest, self._read_each(entries), strict=True):
            arrays[row] = array
        return dict(zip(names, arrays, strict=True))  # type: ignore[arg-type]  # none is None now

    def _read_each(self, entries: Mapping[str, Entry]) -> "Iterator[np.ndarray]":
        """Yield the tensor of each entry; names that share one place share one array.

        Tensors that overlap otherwise could take far more memory than the file: they are refused.
        """
        left = self._shards.nbytes
        known: dict[tuple[Entry, str], np.ndarray] = {}
        for name, entry in entries.items():
            place = entry, name if entry.slices else ""
            if place not in known:
                known[place] = self._read(name, entry)
                left -= entry.size or taken(known[place])
                if left < 0:
                    raise CorruptCheckpoint(
                        f"the tensors up to {name!r} take more than the {self._shards.nbytes} "
                        "bytes of the data files: they overlap"
                    )
            yield known[place]

    def check(self, names: Iterable[str]) -> None:
        wanted = {self.aliases.get(name, name) for name in names}
        check_places({n: e for n, e in self._entries().items() if n in wanted}, self._shards)

    def read_order(self) -> Iterator[str]:
        places = sorted((e.shard, e.offset, n) for n, e in self._entries().items())
        yield from (name for _, _, name in places)

    def _entries(self) -> Mapping[str, Entry]:
        """Return every tensor's entry; all are decoded once, for whoever reads many."""
        if not self._known:
            names, messages = self._index.messages(hidden={NOTE, *self.aliases})
            self._known = dict(zip(names, map(self._index.decoded, messages), strict=True))
        return self._known

    @cached_property
    def _notes(self) -> notes.Notes:
        entry = self._index.find(NOTE)
        if entry is None:
            return notes.Notes()
        with noting(f"in tensor {NOTE!r}"):
            if entry.dtype != "string" or entry.shape or entry.slices:
                raise CorruptCheckpoint("it is not the one string that this library writes there")
            found = notes.decode(self._strings(entry)[0])
            for alias, kept in found.aliases.items():
                self._check_alias(alias, kept)
            return found

    def _check_alias(self, alias: str, kept: str) -> None:
        """Refuse an alias that would hide a tensor of its own, or lead nowhere."""
        first, second = self._index.find(alias), self._index.find(kept)
        if first is None or first != second:
            raise CorruptCheckpoint(f"{alias!r} is noted as another name of {kept!r}, but is not")

    def _entry(self, name: str) -> Entry:
        if name in self._known:
            return self._known[name]
        entry = None if name == NOTE else self._index.find(name)
        if entry is None:
            raise no_such_tensor(name, self._specs)
        return entry

    def _read(self, name: str, entry: Entry) -> "np.ndarray":
        with noting(f"in tensor {name!r}"):
            return self._merged(name, entry) if entry.slices else self._whole(entry)

    def _whole(self, entry: Entry) -> "np.ndarray":
        """Return the tensor of *entry*, which is in one piece."""
        if entry.dtype == "string":
            return array_of_strings(self._strings(entry), entry.shape)
        return settled(self._stored(entry), numpy_dtype(entry.dtype))

    def _merged(self, name: str, entry: Entry) -> "np.ndarray":
        """Return the tensor *name* put together from its pieces."""
        import numpy as np

        self._shards.check_room(entry)
        whole = np.empty(entry.shape, numpy_dtype(entry.dtype))
        missing = np.ones(entry.shape, bool)
        for piece in entry.slices:
            bounds = box(piece, entry)
            whole[bounds] = self._whole(self._piece(name, entry, piece))
            missing[bounds] = False
        if missing.any():
            raise CorruptCheckpoint(
                f"its {len(entry.slices)} pieces leave {missing.sum()} of {missing.size} elements "
                "without a value"
            )
        return whole

    def _piece(self, name: str, whole: Entry, piece: Slice) -> Entry:
        """Return the entry of one *piece* of the tensor *name*."""
        entry = self._index.find_key(slice_key(name.encode(), piece))
        expected = whole.dtype, box_shape(box(piece, whole)), ()
        if entry is None or (entry.dtype, entry.shape, entry.slices) != expected:
            raise CorruptCheckpoint(
                f"its piece at {piece.starts} is not there as {whole.dtype} {expected[1]}"
            )
        return entry

    def _strings(self, entry: Entry) -> list[bytes]:
        """Return the strings of *entry*, verified."""
        payload, count = bytes(self._shards.bytes_of(entry)), math.prod(entry.shape)
        if self._verify and entry not in self._sound:
            self._compare(entry, crc_of_strings(payload, count, big_endian=self._big_endian))
        return decode_strings(payload, count, big_endian=self._big_endian)

    def _stored(self, entry: Entry) -> "np.ndarray":
        """Return the values of *entry*, verified, as a view of the file in its order of bytes."""
        import numpy as np

        check_size(entry)
        mapped = self._shards.holding(entry)
        if self._verify and entry not in self._sound:
            self._compare(entry, crc32c_of(self._shards.bytes_of(entry)))
        dtype = numpy_dtype(entry.dtype)
        dtype = swapped(dtype) if self._foreign and dtype.itemsize > 1 else dtype
        try:
            array = np.ndarray(entry.shape, dtype, mapped, entry.offset)
        except ValueError as error:  # too many dimensions, or an empty one of astronomical sides
            raise UnsupportedCheckpoint(f"NumPy cannot hold the shape {entry.shape}") from error
        array.flags.writeable = False  # whoever must write may allow it: the map is private
        return array

    def _compare(self, entry: Entry, crc: int) -> None:
        """Refuse *entry* when *crc*, not masked, is not the checksum written for it."""
        if mask(crc) != entry.crc:
            raise CorruptCheckpoint(
                f"its checksum is {mask(crc):#010x}, where {entry.crc:#010x} was written: "
                "the data are damaged"
            )
        self._sound.add(entry)


def opened(prefix: Path, *, verify: bool) -> tuple[Index, Shards]:
    """Return the index and the data files of *prefix*, trying anew when they are being replaced."""
    for _ in range(ATTEMPTS - 1):
        index = Index(map_file(index_of(prefix)), verify=verify)
        try:
            return index, Shards(prefix, index.header.shards)
        except CheckpointNotFound:
            continue
    index = Index(map_file(index_of(prefix)), verify=verify)
    return index, Shards(prefix, index.header.shards)


def taken(merged: "np.ndarray") -> int:
    """Return the bytes that the values of *merged* take in a file at least."""
    return merged.size if merged.dtype == object else merged.nbytes


def swapped(dtype: "np.dtype") -> "np.dtype":
    """Return *dtype* in the other byte order; a type that only ml_dtypes has, as an integer."""
    import numpy as np

    native = dtype if dtype.name in NUMPY_NAMES else np.dtype(f"u{dtype.itemsize}")
    return native.newbyteorder()


def settled(array: "np.ndarray", dtype: "np.dtype") -> "np.ndarray":
    """Return *array* as *dtype*, aligned, in native order; itself where it is so already."""
    if array.dtype == dtype and array.flags.aligned:
        return array
    native = array.astype(array.dtype.newbyteorder("="), order="C", copy=True)
    return native.view(dtype)


def array_of_strings(strings: list[bytes], shape: tuple[int, ...]) -> "np.ndarray":
    """Return *strings* as an array of objects."""
    import numpy as np

    array = np.empty(len(strings), object)
    array[:] = strings
    return array.reshape(shape)
