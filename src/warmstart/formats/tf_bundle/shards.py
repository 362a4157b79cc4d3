"""The data files of a bundle, mapped or to be read, and the bytes of one entry in them."""

import math
from pathlib import Path

from ...binary.mapped import Mapped, map_file, populate
from ...binary.remote import hole_at
from ...binary.window import FileBytes, PlainFile
from ...errors import CheckpointNotFound, CorruptCheckpoint
from ...spec import numpy_dtype
from .paths import data_files, data_of, index_of
from .protos import Entry


class Shards:
    """The data files that a bundle's header counts, those of them that are there.

    TensorFlow opens a data file when an entry refers to it; so one that is missing matters only
    then.  All are mapped at once, so that a bundle replaced meanwhile can still be read.
    """

    def __init__(self, prefix: Path, count: int, *, mmap: bool = True) -> None:
        """Open the data files of *prefix*, of which the index says there are *count*."""
        self._prefix = prefix
        self._count = count
        self._mapped: list[Mapped] = []
        self._files: dict[int, FileBytes] = {
            shard: self._mapped_file(path) if mmap and hole_at(path) is None else PlainFile(path)
            for path, (shard, shards) in data_files(prefix).items()
            if shards == count and shard < count
        }
        if not self._files:
            raise CheckpointNotFound(
                f"{index_of(prefix).name} is there, but none of its {count} data files, such as "
                f"{data_of(prefix, 0, count)}"
            )

    def _mapped_file(self, path: Path) -> memoryview:
        self._mapped.append(map_file(path, private=True))
        return memoryview(self._mapped[-1])

    @property
    def complete(self) -> bool:
        """Whether every data file is there."""
        return len(self._files) == self._count

    def sizes(self) -> dict[Path, tuple[int, int]]:
        """Return the number and the bytes of each data file that is there."""
        items = self._files.items()
        return {data_of(self._prefix, n, self._count): (n, len(file)) for n, file in items}

    def absent(self, entry: Entry) -> Path | None:
        """Return the data file that *entry* refers to when it is not there."""
        if entry.shard in self._files or entry.shard >= self._count:
            return None
        return data_of(self._prefix, entry.shard, self._count)

    @property
    def nbytes(self) -> int:
        """Bytes in all the data files."""
        return sum(map(len, self._files.values()))

    def populate(self) -> None:
        """Bring all of all files into memory at once, for a reader of everything."""
        for mapped in self._mapped:
            populate(mapped)
        self._files = {shard: file[0 : len(file)] for shard, file in self._files.items()}

    def populated(self, shard: int) -> memoryview | None:
        """Return a whole data file after `populate`, None when it is not there."""
        file = self._files.get(shard)
        return file if isinstance(file, memoryview) else None

    def holding(self, entry: Entry) -> FileBytes:
        """Return the data file that *entry* refers to, having checked that it holds its bytes."""
        if entry.shard >= self._count:
            raise CorruptCheckpoint(
                f"it is said to be in data file {entry.shard} of {self._count}, counted from 0"
            )
        file = self._files.get(entry.shard)
        if file is None:
            path = data_of(self._prefix, entry.shard, self._count)
            raise CheckpointNotFound(f"its data file {path} is not there")
        if entry.offset + entry.size > len(file):
            path = data_of(self._prefix, entry.shard, self._count)
            raise CorruptCheckpoint(
                f"its bytes end at {entry.offset + entry.size} of {path.name}, which has "
                f"{len(file)}: the file was cut short"
            )
        return file

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
        return self.holding(entry)[entry.offset : entry.offset + entry.size]

    def bytes_at(self, shard: int, begin: int, end: int) -> memoryview:
        """Return bytes of a data file that is there."""
        return self._files[shard][begin:end]
