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
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from ...binary.atomic import replacing, write_fully
from ...binary.checksum import mask
from ...binary.stream import LARGE, Stream
from ...binary.table import write_table
from ...errors import SaveError
from ...source import Source
from ...spec import NUMPY_NAMES, TensorSpec, checked_nbytes, dtype_name
from .. import notes
from .held import check, keys_of, strings_in, under_keys
from .index import NOTE
from .ledger import Ledger
from .paths import data_files, data_of, index_of
from .protos import Entry, Header, encode_entry, encode_header
from .strings import encode_strings

if TYPE_CHECKING:
    import numpy as np

ALIGNMENT = 64

LOG = logging.getLogger("warmstart")


def save_bundle(source: Source, prefix: Path) -> None:
    """Write *source* as the bundle *prefix*; see `Format.save_source`."""
    keys = keys_of([*source.specs, *source.aliases])
    check(source, keys)
    note = notes.encode(under_keys(notes.notes_of(source), keys))
    prefix = Path(os.path.realpath(prefix.parent)) / prefix.name
    old = data_files(prefix)
    shards = free_count(old.values())
    data, index = data_of(prefix, 0, shards), index_of(prefix)
    with removed_unless_committed(data, index):
        with replacing(data, follow_link=False) as file:
            entries = write_tensors(source, keys, note, file)
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
    source: Source, keys: Mapping[str, str], note: str | None, file: FileIO
) -> dict[str, bytes]:
    """Write every tensor to *file* in the order of keys; return the encoded entries by key."""
    specs, entries, ledger = source.specs, dict[str, bytes](), Ledger()
    with Stream(file, expected=expected_nbytes(specs.values())) as stream:
        for name in sorted(specs, key=keys.__getitem__):
            spec, key, array = specs[name], keys[name], source.read(name)
            if spec.dtype == "string":
                entries[key] = write_strings(strings_in(array), spec.shape, stream)
                continue
            kind = ledger[spec.dtype, spec.shape]
            buffer = packed(array, spec, kind.dtype)
            stream.pad(ALIGNMENT)
            kind.add(key, stream.position, stream.write_hashed(buffer, kind.nbytes))
        if note is not None:
            entries[NOTE] = write_strings([note.encode()], (), stream)
    for kind in ledger.values():
        entries |= kind.encoded()
    return entries


def write_strings(strings: list[bytes], shape: tuple[int, ...], stream: Stream) -> bytes:
    """Write *strings* as a tensor of *shape*; return its encoded entry."""
    payload, crc = encode_strings(strings)
    entry = Entry("string", shape, 0, stream.position, len(payload), mask(crc))
    stream.write(payload)
    return encode_entry(entry)


def expected_nbytes(specs: Iterable[TensorSpec]) -> int:
    """Return about how large the data file will be; strings are not known before they are read."""
    kinds = Counter((spec.dtype, spec.shape) for spec in specs)
    return sum(
        count * -(-checked_nbytes(*kind) // ALIGNMENT) * ALIGNMENT for kind, count in kinds.items()
    )


def packed(array: "np.ndarray", spec: TensorSpec, dtype: "np.dtype") -> "np.ndarray":
    """Return *array*, which should be as *spec* says, as a buffer of *dtype* in C order."""
    import numpy as np

    if (
        array.dtype != dtype and dtype_name(array.dtype) != spec.dtype
    ) or array.shape != spec.shape:
        raise SaveError(
            f"{spec.name!r} was to be {spec}, but the values are {array.dtype} {array.shape}"
        )
    if array.dtype != dtype or not array.flags.c_contiguous:
        array = np.ascontiguousarray(array, dtype)
    if array.nbytes < LARGE and spec.dtype in NUMPY_NAMES:
        return array  # a buffer as it is, where others need a view as bytes to be one
    return array.reshape(-1).view(np.uint8)


def encoded_index(entries: Mapping[str, bytes], shards: int) -> bytes:
    """Return the index of a bundle of *entries* whose data file 0 of *shards* holds them all."""
    items = {b"": encode_header(Header(shards))}
    items |= {key.encode(): entry for key, entry in entries.items()}
    return write_table(sorted(items.items()))
