"""Whether entries can be where an index says, found out before any of them is read.

An index is small and may claim anything: whoever makes room for tensors asks here first.
"""

from collections.abc import Mapping

from ...errors import CheckpointNotFound, CorruptCheckpoint, number_of
from ...spec import checked_nbytes
from .protos import Entry
from .shards import Shards


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
        except CheckpointNotFound as error:
            error.add_note(f"in tensor {name!r}")
            raise
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
