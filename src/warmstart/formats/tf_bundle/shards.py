"""The data files of a bundle, mapped, and the bytes of one entry in them."""

import math
from pathlib import Path

from ...binary.mapped import Mapped, map_file, populate
from ...errors import CheckpointNotFound, CorruptCheckpoint
from ...spec import numpy_dtype
from .paths import data_files, data_of, index_of
from .protos import Entry


class Shards:
    """The data files that a bundle's header counts, those of them that are there.

    TensorFlow opens a data file when an entry refers to it; so one that is missing matters only
    then.  All are mapped at once, so that a bundle replaced meanwhile can still be read.
    """

    def __init__(self, prefix: Path, count: int) -> None:
        """Map the data files of *prefix*, of which the index says there are *count*."""
        self._prefix = prefix
        self._count = count
        self.mapped = {
            shard: map_file(path, private=True)
            for path, (shard, shards) in data_files(prefix).items()
            if shards == count and shard < count
        }
        if not self.mapped:
            raise CheckpointNotFound(
                f"{index_of(prefix).name} is there, but none of its {count} data files, such as "
                f"{data_of(prefix, 0, count)}"
            )

    @property
    def nbytes(self) -> int:
        """Bytes in all the data files."""
        return sum(map(len, self.mapped.values()))

    def populate(self) -> None:
        """Map all pages of all files at once, for a reader of everything."""
        for mapped in self.mapped.values():
            populate(mapped)

    def holding(self, entry: Entry) -> Mapped:
        """Return the data file that *entry* refers to, having checked that it holds its bytes."""
        if entry.shard >= self._count:
            raise CorruptCheckpoint(
                f"it is said to be in data file {entry.shard} of {self._count}, counted from 0"
            )
        mapped = self.mapped.get(entry.shard)
        if mapped is None:
            path = data_of(self._prefix, entry.shard, self._count)
            raise CheckpointNotFound(f"its data file {path} is not there")
        if entry.offset + entry.size > len(mapped):
            path = data_of(self._prefix, entry.shard, self._count)
            raise CorruptCheckpoint(
                f"its bytes end at {entry.offset + entry.size} of {path.name}, which has "
                f"{len(mapped)}: the file was cut short"
            )
        return mapped

    def check_room(self, entry: Entry) -> None:
        """Refuse *entry*, stored in pieces, when its values would take more than all the files."""
        room = self.nbytes * (8 if entry.dtype == "string" else 1)  # a string takes 1 byte, or more
        if math.prod(entry.shape) * max(1, numpy_dtype(entry.dtype).itemsize) > room:
            raise CorruptCheckpoint(
                f"{entry.dtype} {entry.shape} is larger than the {self.nbytes} bytes of "
                "the data files"
            )

    def bytes_of(self, entry: Entry) -> memoryview:
        """Return the bytes of *entry*, not yet verified."""
        return memoryview(self.holding(entry))[entry.offset : entry.offset + entry.size]
