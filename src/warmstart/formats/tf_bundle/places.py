"""Whether entries can be where an index says, found out before any of them is read.

An index is small and may claim anything: whoever makes room for tensors asks here first.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ...errors import CheckpointNotFound, CorruptCheckpoint, number_of
from ...names import grouped
from ...spec import checked_nbytes
from .protos import Entry
from .shards import Shards

#: Zero bytes up to so many may stand between tensors: writers align them, to 64 bytes at most.
PADDING = 63


def refuse_absent(absent: Mapping[Path, Sequence[str]]) -> None:
    """Raise CheckpointNotFound when there are tensors whose data files are not there."""
    if absent:
        count = len({name for names in absent.values() for name in names})
        lines = [f"{path}: {', '.join(grouped(names))}" for path, names in absent.items()]
        raise CheckpointNotFound(
            "\n  ".join([f"{number_of(count, 'tensor')} cannot be read, for want of:", *lines])
        )


def check_places(entries: Mapping[str, Entry], shards: Shards) -> None:
    """Raise CorruptCheckpoint naming all of *entries* that have no place of their own in *shards*.

    Tied tensors of other writers have one place under several names, which is allowed.
    """
    refuse("cannot be where the index says", misplaced(entries, shards))
    refuse("overlap another", overlapping(entries))


def refuse(what: str, rows: list[str]) -> None:
    """Raise when there are *rows*, a line for each tensor at fault."""
    if rows:
        head = f"{number_of(len(rows), 'tensor')} {what}:"
        raise CorruptCheckpoint("\n  ".join([head, *rows]))


def misplaced(entries: Mapping[str, Entry], shards: Shards) -> list[str]:
    """Return a line for each entry that is larger than, or not inside, its data file."""
    rows = []
    for name, entry in entries.items():
        try:
            check_place(entry, shards)
        except CorruptCheckpoint as error:
            rows.append(f"{name!r}: {error}")
    return rows


def check_place(entry: Entry, shards: Shards) -> None:
    """Raise when *entry* is not inside its data file; pieces are looked for when they are read."""
    if entry.slices:
        shards.check_room(entry)
        return
    if entry.dtype != "string":
        check_size(entry)
    shards.holding(entry)


def check_size(entry: Entry) -> None:
    """Raise when *entry*, of numbers, has not the bytes that its shape takes."""
    nbytes = checked_nbytes(entry.dtype, entry.shape)
    if entry.size != nbytes:
        raise CorruptCheckpoint(
            f"it has {entry.size} bytes, where {entry.dtype} {entry.shape} takes {nbytes}"
        )


def overlapping(entries: Mapping[str, Entry]) -> list[str]:
    """Return a line for each tensor that begins inside another which has not the same bytes."""
    names = {(e.shard, e.offset, e.offset + e.size): n for n, e in entries.items() if e.size}
    rows = []
    last = (-1, 0, 0)
    for place in sorted(names):
        shard, begin, end = place
        if shard == last[0] and begin < last[2]:
            rows.append(
                f"{names[place]!r}, bytes {begin} to {end} of data file {shard}, and "
                f"{names[last]!r}, bytes {last[1]} to {last[2]}"
            )
        if shard != last[0] or end > last[2]:
            last = place
    return rows


def unclaimed(places: Iterable[tuple[int, int, int]], shards: Shards) -> Iterator[str]:
    """Yield each run of bytes in *shards* that is in none of *places*, nor padding, in words.

    A place is a data file's number, an offset and a size.
    """
    taken: dict[int, list[tuple[int, int]]] = {}
    for shard, offset, size in places:
        taken.setdefault(shard, []).append((offset, offset + size))
    for path, (shard, nbytes) in shards.sizes().items():
        shared = (
            ", which another checkpoint that shares the file may need" if is_shared(path) else ""
        )
        end = 0
        for begin, next_end in [*sorted(taken.get(shard, [])), (nbytes, nbytes)]:
            if begin > end and not is_padding(shards, shard, end, min(begin, nbytes)):
                yield f"bytes {end} to {min(begin, nbytes)} of {path.name}{shared}"
            end = max(end, next_end)


def is_shared(path: Path) -> bool:
    """Return whether the file at *path* has other names, as data files that are shared do."""
    try:
        return path.stat().st_nlink > 1
    except OSError:  # gone since it was opened
        return False


def is_padding(shards: Shards, shard: int, begin: int, end: int) -> bool:
    """Return whether the bytes from *begin* to *end* are a few zeros, as writers align with."""
    return end - begin <= PADDING and not any(shards.bytes_at(shard, begin, end))
