"""Writing a bundle: the data file first, then the index, whose rename is the one commit.

    data    every tensor in the order of names, each at a multiple of 64 bytes
    index   the table of entries

Where a bundle of the same prefix stands already, the new data get another count of shards in their
name (`-of-00002`), so that until the index is replaced nothing of the old bundle is touched, and
from then on nothing of it is needed.  TensorFlow opens only the data files that entries refer to.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from ...binary.atomic import replacing, write_fully
from ...binary.checksum import mask
from ...binary.stream import Stream
from ...binary.table import write_table
from ...errors import CannotHold, SaveError
from ...names import without_output
from ...source import Source
from ...spec import MAX_RANK, NUMPY_NAMES, TensorSpec, dtype_name
from .. import notes
from .index import NOTE
from .paths import data_files, data_of, index_of
from .protos import NUMBERS, Entry, Header, encode_entry, encode_header
from .strings import encode_strings

if TYPE_CHECKING:
    import numpy as np

ALIGNMENT = 64

LOG = logging.getLogger("warmstart")


def save_bundle(source: Source, prefix: Path) -> None:
    """Write *source* as the bundle *prefix*; see `Format.save_source`."""
    specs = dict(source.specs)
    keys = keys_of([*specs, *source.aliases])
    check(source, specs, keys)
    note = notes.encode(under_keys(notes.notes_of(source), keys))
    prefix = Path(os.path.realpath(prefix.parent)) / prefix.name
    old = data_files(prefix)
    shards = free_count(old.values())
    data, index = data_of(prefix, 0, shards), index_of(prefix)
    with removed_unless_committed(data, index):
        with replacing(data, follow_link=False) as file:
            entries = write_tensors(source, specs, keys, note, file)
        for alias, kept in source.aliases.items():
            entries[keys[alias]] = entries[keys[kept]]
        with replacing(index, follow_link=False) as file:
            write_fully(file, encoded_index(entries, shards))
    remove(old)


def keys_of(names: list[str]) -> dict[str, str]:
    """Return the key of each name: without a final `:0`, unless the shorter name is taken.

    >>> keys_of(["w:0", "b", "b:0"])
    {'w:0': 'w', 'b': 'b', 'b:0': 'b:0'}
    """
    taken = {"", *names}
    shorter = {name: without_output(name) for name in names}
    return {name: name if short in taken else short for name, short in shorter.items()}


def check(source: Source, specs: Mapping[str, TensorSpec], keys: Mapping[str, str]) -> None:
    """Refuse *source* when a bundle cannot hold all of it, naming every tensor concerned."""
    faults = [f"{name!r}: {fault}" for name in keys for fault in name_faults(keys[name])]
    for name, spec in specs.items():
        if spec.dtype not in NUMBERS:
            faults.append(f"{name!r}: TensorFlow has no dtype {spec.dtype}")
        elif spec.dtype == "string":
            faults += [f"{name!r}: {fault}" for fault in string_faults(source.read(name))]
        if len(spec.shape) > MAX_RANK:
            faults.append(f"{name!r}: {len(spec.shape)} dimensions, more than {MAX_RANK}")
    for alias, kept in source.aliases.items():
        if kept not in specs or alias in specs:
            faults.append(f"{alias!r}: it is not another name of {kept!r}, as the source has it")
    if faults:
        raise CannotHold(
            f"a TensorFlow bundle cannot hold {len(faults)} of {len(keys)} tensors\n  "
            + "\n  ".join(faults)
        )


def name_faults(key: str) -> Iterator[str]:
    """Yield what keeps *key* from being a key of a bundle."""
    if not key:
        yield "an empty name is the header's"
    if key.startswith("\0"):
        yield "a name that begins with a zero byte is that of a slice"
    if key == NOTE:
        yield "this name is kept for the note on roles and run state"
    try:
        key.encode()
    except UnicodeEncodeError:
        yield "the name is not valid text: it has a lone surrogate"


def string_faults(array: "np.ndarray") -> Iterator[str]:
    """Yield what keeps *array*, of strings, from being written."""
    if array.dtype.kind == "O":
        odd = {type(item).__name__ for item in array.flat if not isinstance(item, bytes | str)}
        if odd:
            yield f"it holds {', '.join(sorted(odd))} where bytes or text are expected"


def under_keys(note: notes.Notes, keys: Mapping[str, str]) -> notes.Notes:
    """Return *note* with the names that the tensors have in the file."""
    return notes.Notes(
        {keys[name]: role for name, role in note.roles.items()},
        {keys[alias]: keys[kept] for alias, kept in note.aliases.items()},
        note.metadata,
    )


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
    specs: Mapping[str, TensorSpec],
    keys: Mapping[str, str],
    note: str | None,
    file: FileIO,
) -> dict[str, Entry]:
    """Write every tensor to *file* in the order of keys; return the entries by key."""
    expected = sum(-(-spec.nbytes // ALIGNMENT) * ALIGNMENT for spec in specs.values())
    stream = Stream(file, expected=expected)
    entries = {}
    for name in sorted(specs, key=lambda name: keys[name].encode()):
        entries[keys[name]] = write_tensor(source.read(name), specs[name], stream)
    if note is not None:
        entries[NOTE] = write_strings([note.encode()], (), stream)
    stream.flush()
    return entries


def write_tensor(array: "np.ndarray", spec: TensorSpec, stream: Stream) -> Entry:
    """Write *array*, which should be as *spec* says, and return its entry."""
    import numpy as np

    if (dtype_name(array.dtype), array.shape) != (spec.dtype, spec.shape):
        raise SaveError(
            f"tensor {spec.name!r} is {spec} by the source's specs, but was read as "
            f"{array.dtype} {array.shape}"
        )
    if spec.dtype == "string":
        return write_strings([as_bytes(item) for item in array.flat], spec.shape, stream)
    stream.pad(ALIGNMENT)
    offset = stream.position
    if spec.dtype in NUMPY_NAMES:
        array = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    crc = stream.write_hashed(flat)
    return Entry(spec.dtype, spec.shape, 0, offset, flat.nbytes, mask(crc))


def write_strings(strings: list[bytes], shape: tuple[int, ...], stream: Stream) -> Entry:
    """Write *strings* as a tensor of *shape* and return its entry."""
    payload, crc = encode_strings(strings)
    offset = stream.position
    stream.write(payload)
    return Entry("string", shape, 0, offset, len(payload), mask(crc))


def as_bytes(item: "bytes | str") -> bytes:
    """Return one string as it is stored."""
    return item if isinstance(item, bytes) else str(item).encode()


def encoded_index(entries: Mapping[str, Entry], shards: int) -> bytes:
    """Return the index of a bundle of *entries* whose data file 0 of *shards* holds them all."""
    items = {b"": encode_header(Header(shards))}
    items |= {key.encode(): encode_entry(entry) for key, entry in entries.items()}
    return write_table(sorted(items.items()))
