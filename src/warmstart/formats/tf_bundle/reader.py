"""A bundle that is open: arrays straight from the mapped data files.

    with BundleSource(prefix, verify=True) as source:
        source.read(name)       # the first time, its checksum is checked

What an entry's bytes stand for, and when they are copied, is in `values`.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ...binary.window import file_bytes
from ...boxes import Box
from ...errors import (
    CheckpointError,
    CheckpointNotFound,
    CorruptCheckpoint,
    NoSuchTensor,
    full_text,
    noting,
)
from ...source import Index as Bracket
from ...source import PartRead, Source, no_such_tensor
from ...spec import TensorSpec
from .. import notes
from .index import NOTE, Index, Specs
from .object_graph import OBJECT_GRAPH
from .objects import Objects, broken, objects_of
from .paths import index_of
from .places import check_places, refuse_absent, unclaimed
from .protos import Entry
from .shards import Shards

if TYPE_CHECKING:
    import numpy as np

    from .values import Values

ATTEMPTS = 3


class BundleSource(Source):
    """An open tensor bundle."""

    def __init__(self, prefix: Path, *, verify: bool, mmap: bool = True) -> None:
        """Open the bundle *prefix*; with *verify* a tensor's first read checks its checksum.

        Without *mmap* the files are read and not mapped.
        """
        self._verify = verify
        self._index, self._shards = opened(prefix, verify=verify, mmap=mmap)
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

    @property
    def derived(self) -> Collection[str]:
        return self._notes.derived

    def read(self, name: str) -> "np.ndarray":
        return self._read(*self._entry(name))

    def read_slice(self, name: str, index: Bracket) -> "np.ndarray":
        key, entry = self._entry(name)
        with noting(f"in tensor {key!r}"):
            return self._values.part(key, entry, index)

    def read_piece(self, name: str, box: Box) -> "np.ndarray":
        key, entry = self._entry(name)
        with noting(f"in tensor {key!r}"):
            return self._values.part(key, entry, box, thrifty=True)

    def parts_read(self) -> Sequence[PartRead]:
        return self._values.parts_read()

    def read_all(self) -> "dict[str, np.ndarray]":
        from .bulk import read_alike

        self._refuse_absent(self.specs)
        names, messages = self._index.messages(hidden={NOTE, *self.aliases})
        arrays: list[np.ndarray | None] = [None] * len(names)
        if not self._values.foreign:
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
        self._refuse_absent(wanted)
        check_places({n: e for n, e in self._entries().items() if n in wanted}, self._shards)

    def _refuse_absent(self, names: Iterable[str]) -> None:
        """Raise CheckpointNotFound with all of *names* that are in data files which are missing."""
        if self._shards.complete:
            return
        absent: dict[Path, list[str]] = {}
        entries = self._entries()
        for name in sorted(names):
            if name in entries:
                for path in self._absent_files(name, entries[name]):
                    absent.setdefault(path, []).append(name)
        refuse_absent(absent)

    def _absent_files(self, name: str, entry: Entry) -> set[Path]:
        """Return the data files of the tensor *name* that are not there."""
        places = self._values.pieces(name, entry) if entry.slices else [entry]
        return {path for place in places if (path := self._shards.absent(place))}

    @property
    def no_arrays(self) -> Mapping[str, str]:
        return self._index.no_arrays

    def unclaimed(self) -> Iterator[str]:
        yield from self._index.unclaimed()
        yield from unclaimed(self._index.places(), self._shards)

    def read_order(self) -> Iterator[str]:
        places = sorted((e.shard, e.offset, n) for n, e in self._entries().items())
        yield from (name for _, _, name in places)

    def faults(self) -> Iterable[str]:
        return [self._objects.fault] if self._objects.fault else []

    def _entries(self) -> Mapping[str, Entry]:
        """Return every tensor's entry; all are decoded once, for whoever reads many."""
        if not self._known:
            names, messages = self._index.messages(hidden={NOTE, *self.aliases})
            self._known = dict(zip(names, map(self._index.decoded, messages), strict=True))
        return self._known

    @cached_property
    def _values(self) -> "Values":
        from .values import Values  # a listing does without

        return Values(self._index, self._shards, verify=self._verify)

    @cached_property
    def _notes(self) -> notes.Notes:
        """What the bundle's own note and its graph of objects say; the note has the last word."""
        note, objects = self._note, self._objects
        roles = {**objects.roles, **note.roles} if objects.roles else note.roles
        aliases = {**objects.aliases, **note.aliases}
        derived = (objects.aliases.keys() - note.aliases.keys()) | note.derived
        return notes.Notes(roles, aliases, note.metadata, derived=derived)

    @cached_property
    def _objects(self) -> Objects:
        """What the graph of objects says; nothing without one, nor, with a warning, if broken."""
        entry = self._index.find(OBJECT_GRAPH)
        if entry is None:
            return Objects()
        names, _ = self._index.messages(hidden={NOTE, *self._note.aliases})
        try:
            with noting(f"in tensor {OBJECT_GRAPH!r}"):
                return objects_of(self._one_string(entry), set(names), self._are_alike)
        except CheckpointError as error:
            return broken(full_text(error))

    @cached_property
    def _note(self) -> notes.Notes:
        entry = self._index.find(NOTE)
        if entry is None:
            return notes.Notes()
        with noting(f"in tensor {NOTE!r}"):
            found = notes.decode(self._one_string(entry))
            for alias, kept in found.aliases.items():
                self._check_alias(alias, kept)
            return found

    def _one_string(self, entry: Entry) -> bytes:
        """Return the one string of *entry*."""
        if entry.dtype != "string" or entry.shape or entry.slices:
            raise CorruptCheckpoint("it is not one string, as it should be")
        return self._values.strings(entry).all()[0]

    def _are_alike(self, names: Iterable[str]) -> bool:
        """Return whether the tensors *names* have the same bytes, so far as the index tells."""
        entries = (self._index.find(name) for name in names)
        return len({(e.dtype, e.shape, e.size, e.crc, e.slices) for e in entries if e}) == 1

    def _check_alias(self, alias: str, kept: str) -> None:
        """Refuse an alias that would hide a tensor of its own, or lead nowhere."""
        first, second = self._index.find(alias), self._index.find(kept)
        if first is None or first != second:
            raise CorruptCheckpoint(f"{alias!r} is noted as another name of {kept!r}, but is not")

    def _entry(self, name: str) -> tuple[str, Entry]:
        """Return the key of the tensor *name*, which may be an alias, and its entry."""
        if name in self._known:
            return name, self._known[name]
        entry = None if name == NOTE else self._index.find(name)
        if entry is not None:
            return name, entry
        key = self.aliases.get(name)
        if key is None:
            raise self._no_such_tensor(name)
        return self._entry(key)

    def _no_such_tensor(self, name: str) -> NoSuchTensor:
        """Return the error for a *name* that is that of no tensor, or of several variables."""
        keys = self._objects.shared.get(name)
        if keys is None:
            return no_such_tensor(name, self._specs)
        return NoSuchTensor(
            f"{name!r} is the own name of {len(keys)} variables, and so means none of them; "
            f"their keys: {', '.join(map(repr, keys))}"
        )

    def _read(self, name: str, entry: Entry) -> "np.ndarray":
        with noting(f"in tensor {name!r}"):
            return self._values.whole(name, entry)


def opened(prefix: Path, *, verify: bool, mmap: bool) -> tuple[Index, Shards]:
    """Return the index and the data files of *prefix*, trying anew when they are being replaced."""
    for _ in range(ATTEMPTS - 1):
        index = index_in(prefix, verify=verify, mmap=mmap)
        try:
            return index, Shards(prefix, index.header.shards, mmap=mmap)
        except CheckpointNotFound:
            continue
    index = index_in(prefix, verify=verify, mmap=mmap)
    return index, Shards(prefix, index.header.shards, mmap=mmap)


def index_in(prefix: Path, *, verify: bool, mmap: bool) -> Index:
    """Return the index of *prefix*; read plainly it is taken whole, in one read."""
    data = file_bytes(index_of(prefix), mmap=mmap)
    return Index(data[0 : len(data)], verify=verify)


def taken(merged: "np.ndarray") -> int:
    """Return the bytes that the values of *merged* take in a file at least."""
    return merged.size if merged.dtype == object else merged.nbytes
