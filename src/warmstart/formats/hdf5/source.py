"""Datasets of one or more HDF5 files as a source, under whatever names their layout gives them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...errors import noting
from ...source import Index, ListedSource
from ...spec import RUN_PREFIX
from ..notes import Notes
from .opened import Hdf5File

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Found:
    """What a layout makes of its files: the dataset behind each name, and what is said of them."""

    datasets: Mapping[str, tuple[Hdf5File, str]] = field(default_factory=dict)
    notes: Notes = field(default_factory=Notes)
    derived: frozenset[str] = frozenset()


class Hdf5Source(ListedSource):
    """Tensors by name; values in one piece are read-only views of the mapped file.

    `paths` has the dataset's path by name, for who borrows the structure.
    """

    def __init__(self, place: str, files: Sequence[Hdf5File], found: Found) -> None:
        self._place = f"while reading {place}"
        self._files = files
        self._datasets = found.datasets
        self._aliases, self._metadata = found.notes.aliases, found.notes.metadata
        self._derived = found.derived
        self._specs = {
            name: file.datasets[path].spec(name, role_of(name, found.notes.roles))
            for name, (file, path) in found.datasets.items()
        }

    @property
    def paths(self) -> Mapping[str, str]:
        """Where each tensor is: name -> path of its dataset."""
        return {name: path for name, (_, path) in self._datasets.items()}

    def read(self, name: str) -> "np.ndarray":
        file, path = self._find(name)
        with noting(self._place):
            return file.array(path)

    def read_slice(self, name: str, index: Index) -> "np.ndarray":
        file, path = self._find(name)
        with noting(self._place):
            return file.part(path, index)

    def read_order(self) -> Iterator[str]:
        with noting(self._place):
            places = {
                name: (self._files.index(file), file.begin(path))
                for name, (file, path) in self._datasets.items()
            }
        yield from sorted(places, key=places.__getitem__)

    def close(self) -> None:
        for file in self._files:
            file.close()

    def _find(self, name: str) -> tuple[Hdf5File, str]:
        return self._datasets[self._own(name)]


def role_of(name: str, roles: Mapping[str, str]) -> str | None:
    """Return the role of *name*: reserved names are run state whatever a note says."""
    return "run" if name.startswith(RUN_PREFIX) else roles.get(name)
