"""Writing a bundle: a data file first, then the index, whose rename is the one commit.

    data    every tensor in the order of keys, each at a multiple of 64 bytes
    index   the table of entries

The steps are apart, so that many processes can each write a data file of one bundle:

    entries = write_shard(source, data_of(prefix, 0, shards), keys, note=note)
    commit(prefix, shards, entries)

`commit` says what else a save takes, and how the files are named.
"""

from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from io import FileIO
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from ...binary.alone import alone_in
from ...binary.atomic import in_real_folder, replacing
from ...binary.checksum import mask
from ...binary.stream import Stream
from ...source import Source
from ...spec import TensorSpec, checked_nbytes
from .. import notes
from .commit import commit, free_count, remove, removed_unless_committed
from .entries import with_aliases
from .held import check, keys_of, strings_in, under_keys
from .index import NOTE
from .ledger import ALIGNMENT, Kind, Ledger
from .paths import data_files, data_of
from .protos import Entry, encode_entry
from .strings import encode_strings

if TYPE_CHECKING:
    import numpy as np

#: Whether the tensor of a key, whose bytes are given in the file's order, need not be written.
Held = Callable[[bytes, "np.ndarray"], bool]


def save_bundle(source: Source, prefix: Path) -> None:
    """Write *source* as the bundle *prefix*; see `Format.save_source`."""
    keys, note = checked(source)
    prefix = in_real_folder(prefix)
    own = {name: keys[name].encode() for name in source.specs}
    with alone_in(prefix.parent):  # two processes would choose one name for their data
        old = data_files(prefix)
        shards = free_count(old.values())
        with removed_unless_committed(prefix, old):
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
        written = DataFile(file, expected_nbytes(source.specs, keys))
        written.write(source, keys)
        written.end(note)
    return written.entries(shard)


class DataFile:
    """A data file that is being written; what is read for it must not change before `end`."""

    def __init__(self, file: FileIO, expected: int = 0) -> None:
        """Write to *file*, new and unbuffered, about *expected* bytes."""
        self._stream = Stream(file, expected=expected)
        self._ledger = Ledger()
        self._strings: dict[bytes, Entry] = {}

    @property
    def nbytes(self) -> int:
        """Bytes written so far."""
        return self._stream.position

    def write(
        self, source: Source, keys: Mapping[str, bytes], *, held: Held | None = None
    ) -> list[str]:
        """Write those tensors of *source* that have a key, in the order of keys.

        Those whose values another data file holds already, as *held* tells from key and values,
        are left out, and their names returned.
        """
        left: list[str] = []
        specs = {name: spec for name, spec in source.specs.items() if name in keys}
        kinds = {name: (spec.dtype, spec.shape) for name, spec in specs.items()}
        for kind, alike in groupby(sorted(kinds, key=keys.__getitem__), kinds.__getitem__):
            if kind[0] == "string":
                for name in alike:
                    self._write_strings(keys[name], strings_in(source.read(name)), kind[1])
            else:
                left += self._write_alike(source, list(alike), keys, self._ledger[kind], held)
        return left

    def end(self, note: str | None) -> None:
        """Write *note*, if there is one, and hand all to the system."""
        if note is not None:
            self._write_strings(NOTE.encode(), [note.encode()], ())
        self._stream.flush()

    def entries(self, shard: int) -> dict[bytes, bytes]:
        """Return the encoded entries by key, this being data file *shard* of its bundle."""
        strings = self._strings.items()
        entries = {key: encode_entry(entry._replace(shard=shard)) for key, entry in strings}
        for kind in self._ledger.values():
            entries |= kind.encoded(shard)
        return entries

    def _write_alike(
        self,
        source: Source,
        names: Sequence[str],
        keys: Mapping[str, bytes],
        kind: Kind,
        held: Held | None,
    ) -> list[str]:
        """Write the tensors *names*, all of one *kind*, small ones many at a time; see `write`."""
        left: list[str] = []
        for begin in range(0, len(names), kind.batch):
            batch = names[begin : begin + kind.batch]
            buffers = [kind.packed(name, source.read(name)) for name in batch]
            if held is not None:
                pairs = list(zip(batch, buffers, strict=True))
                known = {name for name, buffer in pairs if held(keys[name], buffer)}
                left += known
                batch = [name for name in batch if name not in known]
                buffers = [buffer for name, buffer in pairs if name not in known]
            if batch:
                kind.write([keys[name] for name in batch], buffers, self._stream)
        return left

    def _write_strings(self, key: bytes, strings: list[bytes], shape: tuple[int, ...]) -> None:
        """Write *strings* as the tensor *key* of *shape*."""
        payload, crc = encode_strings(strings)
        place = self._stream.position, len(payload)
        self._strings[key] = Entry("string", shape, 0, *place, mask(crc))
        self._stream.write(payload)


def expected_nbytes(specs: Mapping[str, TensorSpec], names: Container[str]) -> int:
    """Return about how large a file of the tensors *names* will be; strings are not known yet."""
    kinds = Counter((spec.dtype, spec.shape) for name, spec in specs.items() if name in names)
    return sum(
        count * -(-checked_nbytes(*kind) // ALIGNMENT) * ALIGNMENT for kind, count in kinds.items()
    )
