"""Saving beside a checkpoint: tensors that have not changed since cost no bytes.

    base = save_increment(source, "model-10", None)      # all of it
    base = save_increment(source, "model-20", base)      # what has changed; the rest is shared

    model-10.data-00000-of-00001     everything
    model-20.data-00000-of-00002     the same file under another name (a hard link)
    model-20.data-00001-of-00002     what has changed

Every checkpoint is a whole bundle of its own, which the deletion of the others does not touch: a
shared data file is gone when the last that links to it is.  What has changed is decided by content.
A data file is shared on while at least half of it is needed.  What is needed of one that is not is
written anew, to a file of its own if it is much, so that it can be shared from then on.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ...binary.atomic import in_real_folder, replacing
from ...binary.same import same_bytes
from ...source import Source
from ...spec import TensorSpec
from .commit import commit, free_count, remove, removed_unless_committed, share_shard
from .entries import Entries, with_aliases
from .paths import data_files, data_of
from .protos import NUMBERS, Entry, Heads, decode_entry, encode_entry, encode_head
from .reader import index_in
from .shards import Shards
from .writer import DataFile, Held, aliases_in, checked, expected_nbytes, write_shard

#: Bytes below which nothing is shared: writing so few takes no longer than one more file does.
LEAST = 1 << 16
#: Data files of one checkpoint that are shared with another.
MOST = 15
#: What has not changed and is written anew gets a file of its own if it is this part of all.
WORTH_A_FILE = 32

#: The kinds of tensors seen so far, each decoded once.
HEADS = Heads()

#: What tells a data file from one put in its place: device, inode, bytes, nanoseconds of change.
Identity = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Base:
    """A checkpoint that the next one can share data files with; its encoded entries by key."""

    prefix: Path
    shards: int
    entries: Entries
    files: Mapping[int, Identity]
    changed: int = 0  # bytes of what had changed since the checkpoint before; 0: not known

    def path(self, shard: int) -> Path:
        """Return the path of the data file *shard*."""
        return data_of(self.prefix, shard, self.shards)

    def place(self, key: bytes) -> Entry:
        """Return the entry of the tensor *key*; one in pieces has no bytes of its own."""
        return decode_entry(self.entries[key], HEADS)

    def is_there(self) -> bool:
        """Return whether all its data files are still those that they were."""
        return len(self.files) == self.shards and files_of(self.prefix, self.shards) == self.files


@dataclass(frozen=True, slots=True)
class Layout:
    """The numbers of a checkpoint's data files."""

    shared: Mapping[int, int]  # by those in the base
    changed: int
    steady: int | None  # of what has not changed and is written anew

    @property
    def shards(self) -> int:
        """The count of data files."""
        return len(self.shared) + 1 + (self.steady is not None)


def save_increment(
    source: Source, prefix: Path, base: Base | None, *, unchanged: Collection[str] | None = None
) -> Base:
    """Write *source* as the bundle *prefix*, sharing data files of *base*; return it as a base.

    *unchanged* names the tensors that are as they are in *base*; without it they are compared
    with its data files.
    """
    keys, note = checked(source)
    prefix = in_real_folder(prefix)
    own = {name: keys[name].encode() for name in source.specs}
    base = base if base is not None and base.is_there() else Base(prefix, 0, {}, {})
    old = data_files(prefix)
    files = Files(source, own, prefix, base)
    with removed_unless_committed(prefix, old), ThreadPoolExecutor(1) as other:
        keys_there = alike(base, source.specs, own)
        if unchanged is not None:
            keys_there &= {own[name] for name in unchanged}
        held = held_in(base, keys_there, other, compare=unchanged is None)
        entries = files.write(held, note, old.values())
        commit(prefix, files.shards, with_aliases(entries, aliases_in(source, keys)))
    remove(old)
    changed = files.changed if base.entries else 0
    there = files_of(prefix, files.shards)
    return Base(prefix, files.shards, entries, there, changed)


def base_of(prefix: Path) -> Base | None:
    """Return the bundle *prefix* as a base; None if it is of the other byte order."""
    index = index_in(prefix, verify=True, mmap=False)
    if index.header.big_endian:
        return None
    names, messages = index.messages()
    entries = dict(zip(map(str.encode, names), messages, strict=True))
    return Base(prefix, index.header.shards, entries, files_of(prefix, index.header.shards))


def seen_again(base: Base) -> Base:
    """Return *base* with the files that its data files are now, whoever put them there."""
    return replace(base, files=files_of(base.prefix, base.shards))


class Files:
    """The data files of one checkpoint beside its base."""

    def __init__(self, source: Source, keys: Mapping[str, bytes], prefix: Path, base: Base) -> None:
        """Hold those tensors of *source* that have a key, for the bundle *prefix*."""
        self._source = source
        self._keys = keys
        self._prefix = prefix
        self._base = base
        self._layout = numbered((), with_steady=False)
        self.changed = 0  # bytes
        self.shards = 0  # the count of all

    def write(
        self, held: Held, note: str | None, taken: Collection[tuple[int, int]]
    ) -> dict[bytes, bytes]:
        """Write and share the files, durable; return the encoded entries of all.

        The count of shards is none of those *taken*.  It is known only when what has changed is
        written, and so is the name of that file.
        """
        nbytes = expected_nbytes(self._source.specs, self._keys)
        first = data_of(self._prefix, 0, 1)
        with replacing(first, follow_link=False, named=self._path_of_changed) as file:
            data = DataFile(file, self._base.changed if self._base.entries else nbytes)
            left = data.write(self._source, self._keys, held=held)
            self.changed = data.nbytes
            places = {name: self._base.place(self._keys[name]) for name in left}
            anew = self._lay_out(places, nbytes)
            self.shards = free_count(taken, self._layout.shards)
            entries = self._share(places)
            if self._layout.steady is None:
                data.write(self._source, anew)
            else:
                entries |= self._write_steady(anew, self._layout.steady)
            data.end(note)
        return entries | data.entries(self._layout.changed)

    def _lay_out(self, places: Mapping[str, Entry], nbytes: int) -> dict[str, bytes]:
        """Decide which data files are shared, *places* being what, of *nbytes*, is unchanged.

        Return those that are written anew all the same, with their keys.
        """
        live = Counter[int]()
        for entry in places.values():
            live[entry.shard] += entry.size
        shared = worth_sharing(live, {n: size for n, (_, _, size, _) in self._base.files.items()})
        rest = live.total() - sum(live[number] for number in shared)
        much = rest >= max(LEAST, nbytes // WORTH_A_FILE)
        self._layout = numbered(shared, with_steady=much)
        return {name: self._keys[name] for name, at in places.items() if at.shard not in shared}

    def _share(self, places: Mapping[str, Entry]) -> dict[bytes, bytes]:
        """Give the shared data files to this checkpoint; return the entries of what is in them."""
        numbers = self._layout.shared
        for number, here in numbers.items():
            share_shard(self._base.path(number), self._prefix, here, self.shards)
        return {
            self._keys[name]: encode_entry(place._replace(shard=numbers[place.shard]))
            for name, place in places.items()
            if place.shard in numbers
        }

    def _write_steady(self, keys: Mapping[str, bytes], number: int) -> dict[bytes, bytes]:
        """Write what has not changed and is not shared, under *keys*, as data file *number*."""
        path = data_of(self._prefix, number, self.shards)
        return write_shard(self._source, path, keys, shard=number)

    def _path_of_changed(self) -> Path:
        return data_of(self._prefix, self._layout.changed, self.shards)


def worth_sharing(live: Mapping[int, int], sizes: Mapping[int, int]) -> set[int]:
    """Return which data files to share, of the *sizes*, of which so many bytes are still needed.

    >>> sorted(worth_sharing({0: 80_000, 1: 80_000, 2: 100}, {0: 150_000, 1: 170_000, 2: 100}))
    [0]
    """
    worth = [n for n in live if live[n] >= LEAST and 2 * live[n] >= sizes[n]]
    return set(sorted(worth, key=live.__getitem__, reverse=True)[:MOST])


def numbered(shared: Iterable[int], *, with_steady: bool) -> Layout:
    """Return numbers for all data files: those of the base keep theirs where that leaves no gap.

    >>> numbered([0, 4], with_steady=False)
    Layout(shared={0: 0, 4: 1}, changed=2, steady=None)
    """
    numbers = sorted(shared)
    count = len(numbers) + 1 + with_steady
    free = (n for n in range(count) if n not in numbers)
    moved = {n: n if n < count else next(free) for n in numbers}
    return Layout(moved, next(free), next(free) if with_steady else None)


def alike(base: Base, specs: Mapping[str, TensorSpec], keys: Mapping[str, bytes]) -> set[bytes]:
    """Return those of the *keys* under which *base* has a tensor of the same dtype and shape."""
    known = ((name, key, base.entries[key]) for name, key in keys.items() if key in base.entries)
    return {
        key
        for name, key, message in known
        if specs[name].dtype in NUMBERS
        and message.startswith(encode_head(specs[name].dtype, specs[name].shape))
    }


def held_in(base: Base, keys: Collection[bytes], other: Executor, *, compare: bool) -> Held:
    """Return what tells whether *base* holds a tensor as it is, one of *keys*.

    With *compare* it looks, with the help of the *other* thread; without, all of them are.
    """
    import numpy as np

    shards = Shards(base.prefix, base.shards) if compare and keys else None

    def held(key: bytes, values: np.ndarray) -> bool:
        if key not in keys:
            return False
        place = base.place(key)
        if not place.size or place.size != values.nbytes:  # in pieces, or nothing
            return False
        if shards is None:
            return True
        return same_bytes(values, np.frombuffer(shards.bytes_of(place), np.uint8), other)

    return held


def files_of(prefix: Path, shards: int) -> dict[int, Identity]:
    """Return what tells each data file of *prefix*, of *shards*, from others."""
    found = {}
    for path, (number, count) in data_files(prefix).items():
        with suppress(FileNotFoundError):  # gone since it was listed
            if count == shards:
                status = path.stat()
                found[number] = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    return found
