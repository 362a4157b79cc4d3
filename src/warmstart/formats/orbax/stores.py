"""Where the values of an item are by key: files, an OCDBT database, or one read by tensorstore."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ...binary.ocdbt import MANIFEST, Database, ForeignDatabase
from ...binary.window import FileBytes, file_bytes
from ...errors import CorruptCheckpoint
from ..sharded import stays_inside
from . import tensorstore_edge as edge

Bytes = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Place:
    """A value that has not been read."""

    file: FileBytes
    begin: int
    nbytes: int

    def part(self, begin: int, nbytes: int) -> memoryview:
        """Return a run of the value's bytes."""
        return self.file[self.begin + begin : self.begin + begin + nbytes]

    def whole(self) -> memoryview:
        """Return all bytes of the value."""
        return self.part(0, self.nbytes)


class Store(ABC):
    """Values by key, and how tensorstore is told to read the array below one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def get(self, keys: Iterable[str]) -> dict[str, Bytes | None]:
        """Return the values of *keys*; None for one that is not there."""

    @abstractmethod
    def place(self, key: str) -> "Place | None":
        """Return where the value of *key* lies, None where there is none to be seen here."""

    def _bytes(self, key: str) -> Bytes | None:
        place = self.place(key)
        return None if place is None else place.whole()

    @abstractmethod
    def spec(self, param: str) -> dict[str, Any]:
        """Return what tensorstore calls the place of *param*."""

    @cached_property
    def nbytes(self) -> int:
        """The size of all files of the item: what can be unpacked from them has a limit."""
        places = ((at, files) for at, _, files in os.walk(self.folder, followlinks=True))
        return sum(os.stat(Path(at, file)).st_size for at, files in places for file in files)


class Files(Store):
    """A file for each value."""

    def __init__(self, folder: Path, *, mmap: bool) -> None:
        super().__init__(folder)
        self._mmap = mmap

    def get(self, keys: Iterable[str]) -> dict[str, Bytes | None]:
        keys = list(keys)
        outside = sorted(key for key in keys if not stays_inside(key))
        if outside:
            raise CorruptCheckpoint(
                f"{len(outside)} arrays would lie outside the folder of the checkpoint: "
                + ", ".join(map(repr, outside[:10]))
            )
        return {key: self._bytes(key) for key in keys}

    def place(self, key: str) -> Place | None:
        path = self.folder / key
        if not path.is_file():
            return None
        file = file_bytes(path, mmap=self._mmap)
        return Place(file, 0, len(file))

    def spec(self, param: str) -> dict[str, Any]:
        return {"driver": "file", "path": f"{self.folder.absolute()}/{param}/"}


class Ocdbt(Store):
    """A database that this library reads."""

    def __init__(self, folder: Path, *, mmap: bool) -> None:
        super().__init__(folder)
        self.database = Database(folder, mmap=mmap)

    def get(self, keys: Iterable[str]) -> dict[str, Bytes | None]:
        return {key: self._bytes(key) for key in keys}

    def place(self, key: str) -> Place | None:
        value = self.database.values.get(key)
        return None if value is None else Place(*self.database.place(value))

    def spec(self, param: str) -> dict[str, Any]:
        return edge.ocdbt_spec(self.folder, param)


class ForeignOcdbt(Store):
    """A database that only tensorstore reads."""

    def get(self, keys: Iterable[str]) -> dict[str, Bytes | None]:
        return edge.read_keys(self.folder, list(keys))

    def place(self, key: str) -> Place | None:
        return None

    def spec(self, param: str) -> dict[str, Any]:
        return edge.ocdbt_spec(self.folder, param)


def store_in(folder: Path, *, mmap: bool) -> Store:
    """Return the store of the item in *folder*."""
    if not (folder / MANIFEST).is_file():
        return Files(folder, mmap=mmap)
    try:
        return Ocdbt(folder, mmap=mmap)
    except ForeignDatabase:
        return ForeignOcdbt(folder)
