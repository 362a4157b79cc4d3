"""Writing a bundle: a data file first, then the index, whose rename is the one commit.

    data    every tensor in the order of keys, each at a multiple of 64 bytes
    index   the table of entries

The steps are apart, so that many processes can each write a data file of one bundle:

    entries = write_shard(source, data_of(prefix, 0, shards), keys, note=note)
    commit(prefix, shards, entries)

`commit` says what else a save takes, and how the files are named.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from io import FileIO
from itertools import groupby
from pathlib import Path

from ...binary.atomic import replacing
from ...binary.checksum import mask
from ...binary.stream import Stream
from ...source import Source
from ...spec import checked_nbytes
from .. import notes
from .commit import commit, free_count, remove, removed_unless_committed
from .entries import with_aliases
from .held import SpecKind, check, keys_of, strings_in, under_keys
from .index import NOTE
from .ledger import ALIGNMENT, Kind, Ledger
from .paths import data_files, data_of
from .protos import Entry, encode_entry
from .strings import encode_strings


def save_bundle(source: Source, prefix: Path) -> None:
    """Write *source* as the bundle *prefix*; see `Format.save_source`."""
    keys, note = checked(source)
    prefix = Path(os.path.realpath(prefix.parent)) / prefix.name
    old = data_files(prefix)
    shards = free_count(old.values())
    own = {name: keys[name].encode() for name in source.specs}
    with removed_unless_committed(prefix, shards):
        entries = write_shard(source, data_of(prefix, 0, shards), own, note=note)
        commit(prefix, shards, with_aliases(entries, aliases_in(source, keys)))
    remove(old)


def checked(source: Source) -> tuple[dict[str, str], str | None]:
    """Return the key of each name of *source*, aliases too, and its note; refuse the unholdable."""
    keys = keys_of([*source.specs, *source.aliases])
    check(source, keys, {(spec.dtype, spec.shape) for spec in source.specs.values()})
    return keys, notes.encode(under_keys(notes.notes_of(source), keys))


def aliases_in(source: Source, keys: Mapping[str, str]) -> dict[str, str]:
    """Return the aliases of *source* as keys: alias -> the tensor's own."""
    return {keys[alias]: keys[kept] for alias, kept in source.aliases.items()}


def write_shard(
    source: Source,
    data: Path,
    keys: Mapping[str, bytes],
    *,
    shard: int = 0,
    note: str | None = None,
) -> dict[bytes, bytes]:
    """Write the data file *data*, number *shard* of a bundle, durable; return its entries by key.

    It holds those tensors of *source* that *keys* gives a key, which for a piece of a tensor is
    `piece_key`, and *note* if there is one.
    """
    with replacing(data, follow_link=False) as file:
        return write_tensors(source, keys, note, file, shard)


def write_tensors(
    source: Source, keys: Mapping[str, bytes], note: str | None, file: FileIO, shard: int
) -> dict[bytes, bytes]:
    """Write the tensors of *keys* to *file* in their order; return the encoded entries by key."""
    specs = source.specs
    kinds = {name: (spec.dtype, spec.shape) for name, spec in specs.items() if name in keys}
    entries, ledger = dict[bytes, bytes](), Ledger(shard)
    stream = Stream(file, expected=expected_nbytes(kinds.values()))
    for (dtype, shape), alike in groupby(sorted(kinds, key=keys.__getitem__), kinds.__getitem__):
        if dtype == "string":
            for name in alike:
                strings = strings_in(source.read(name))
                entries[keys[name]] = write_strings(strings, shape, stream, shard)
        else:
            write_alike(source, list(alike), keys, ledger[dtype, shape], stream)
    if note is not None:
        entries[NOTE.encode()] = write_strings([note.encode()], (), stream, shard)
    stream.flush()
    for kind in ledger.values():
        entries |= kind.encoded()
    return entries


def write_alike(
    source: Source, names: Sequence[str], keys: Mapping[str, bytes], kind: Kind, stream: Stream
) -> None:
    """Write the tensors *names*, all of one *kind*: small ones many at a time."""
    for begin in range(0, len(names), kind.batch):
        batch = names[begin : begin + kind.batch]
        buffers = [kind.packed(name, source.read(name)) for name in batch]
        kind.write([keys[name] for name in batch], buffers, stream)


def write_strings(
    strings: list[bytes], shape: tuple[int, ...], stream: Stream, shard: int
) -> bytes:
    """Write *strings* as a tensor of *shape*; return its encoded entry."""
    payload, crc = encode_strings(strings)
    entry = Entry("string", shape, shard, stream.position, len(payload), mask(crc))
    stream.write(payload)
    return encode_entry(entry)


def expected_nbytes(kinds: Iterable[SpecKind]) -> int:
    """Return about how large the data file will be; strings are not known before they are read."""
    return sum(
        count * -(-checked_nbytes(*kind) // ALIGNMENT) * ALIGNMENT
        for kind, count in Counter(kinds).items()
    )
