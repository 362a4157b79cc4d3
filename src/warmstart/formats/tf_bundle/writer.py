"""Writing a bundle: the data file first, then the index, whose rename is the one commit.

    data    every tensor in the order of names, each at a multiple of 64 bytes
    index   the table of entries

Where a bundle of the same prefix stands already, the new data get another count of shards in their
name (`-of-00002`), so that until the index is replaced nothing of the old bundle is touched, and
from then on nothing of it is needed.  TensorFlow opens only the data files that entries refer to.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from itertools import chain, groupby
from pathlib import Path

from ...binary.atomic import replacing, write_fully
from ...binary.checksum import mask
from ...binary.stream import Stream
from ...binary.table import write_table
from ...source import Source
from ...spec import checked_nbytes
from .. import notes
from .held import SpecKind, check, keys_of, strings_in, under_keys
from .index import NOTE
from .ledger import ALIGNMENT, Kind, Ledger
from .paths import data_files, data_of, index_of
from .protos import Entry, Header, encode_entry, encode_header
from .strings import encode_strings

LOG = logging.getLogger("warmstart")


def save_bundle(source: Source, prefix: Path) -> None:
    """Write *source* as the bundle *prefix*; see `Format.save_source`."""
    keys = keys_of([*source.specs, *source.aliases])
    kinds = {name: (spec.dtype, spec.shape) for name, spec in source.specs.items()}
    check(source, keys, set(kinds.values()))
    note = notes.encode(under_keys(notes.notes_of(source), keys))
    prefix = Path(os.path.realpath(prefix.parent)) / prefix.name
    old = data_files(prefix)
    shards = free_count(old.values())
    data, index = data_of(prefix, 0, shards), index_of(prefix)
    with removed_unless_committed(data, index):
        with replacing(data, follow_link=False) as file:
            entries = write_tensors(source, keys, kinds, note, file)
        for alias, kept in source.aliases.items():
            entries[keys[alias]] = entries[keys[kept]]
        with replacing(index, follow_link=False) as file:
            write_fully(file, encoded_index(entries, shards))
    remove(old)


def free_count(taken: Iterable[tuple[int, int]]) -> int:
    """Return the least count of shards of which no data file is there.

    >>> free_count([(0, 1), (0, 3)])
    2
    """
    counts = {shards for _, shards in taken}
    return next(count for count in range(1, len(counts) + 2) if count not in counts)


@contextmanager
def removed_unless_committed(data: Path, index: Path) -> Iterator[None]:
    """Remove *data* when the block fails before it has replaced *index*."""
    before = identity(index)
    try:
        yield
    except BaseException:
        if identity(index) == before:
            with suppress(OSError):
                data.unlink()
        raise


def identity(path: Path) -> tuple[int, int, int] | None:
    """Return what tells the file at *path* from one that replaced it; None when there is none."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino, status.st_ctime_ns


def remove(paths: Iterable[Path]) -> None:
    """Remove *paths*, data files that no index refers to any more.

    One that cannot be removed does no harm but for its size, and the save has happened: a warning.
    """
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            LOG.warning("%s is not needed any more but was not removed: %s", path, error.strerror)


def write_tensors(
    source: Source,
    keys: Mapping[str, str],
    kinds: Mapping[str, SpecKind],
    note: str | None,
    file: FileIO,
) -> dict[str, bytes]:
    """Write every tensor to *file* in the order of keys; return the encoded entries by key."""
    entries, ledger = dict[str, bytes](), Ledger()
    stream = Stream(file, expected=expected_nbytes(kinds.values()))
    for (dtype, shape), alike in groupby(sorted(kinds, key=keys.__getitem__), kinds.__getitem__):
        if dtype == "string":
            for name in alike:
                strings = strings_in(source.read(name))
                entries[keys[name]] = write_strings(strings, shape, stream)
        else:
            write_alike(source, list(alike), keys, ledger[dtype, shape], stream)
    if note is not None:
        entries[NOTE] = write_strings([note.encode()], (), stream)
    stream.flush()
    for kind in ledger.values():
        entries |= kind.encoded()
    return entries


def write_alike(
    source: Source, names: Sequence[str], keys: Mapping[str, str], kind: Kind, stream: Stream
) -> None:
    """Write the tensors *names*, all of one *kind*: small ones many at a time."""
    for begin in range(0, len(names), kind.batch):
        batch = names[begin : begin + kind.batch]
        buffers = [kind.packed(name, source.read(name)) for name in batch]
        kind.write([keys[name] for name in batch], buffers, stream)


def write_strings(strings: list[bytes], shape: tuple[int, ...], stream: Stream) -> bytes:
    """Write *strings* as a tensor of *shape*; return its encoded entry."""
    payload, crc = encode_strings(strings)
    entry = Entry("string", shape, 0, stream.position, len(payload), mask(crc))
    stream.write(payload)
    return encode_entry(entry)


def expected_nbytes(kinds: Iterable[SpecKind]) -> int:
    """Return about how large the data file will be; strings are not known before they are read."""
    return sum(
        count * -(-checked_nbytes(*kind) // ALIGNMENT) * ALIGNMENT
        for kind, count in Counter(kinds).items()
    )


def encoded_index(entries: Mapping[str, bytes], shards: int) -> bytes:
    """Return the index of a bundle of *entries* whose data file 0 of *shards* holds them all."""
    keys = sorted(entries)  # by code points, which sorts as their UTF-8 does
    items = zip(map(str.encode, keys), map(entries.__getitem__, keys), strict=True)
    return write_table(chain([(b"", encode_header(Header(shards)))], items))
