"""An open HDF5 file: its datasets by path, and their values."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np

from ...binary.mapped import map_shared
from ...binary.remote import fetched
from ...boxes import bounded
from ...errors import CheckpointError, CorruptCheckpoint, UnsupportedCheckpoint
from ...spec import checked_nbytes, numpy_dtype
from ..arrays import array_over, settled
from ..extras import needed
from .file import Readable
from .walk import Dataset, Walk

STRINGS = 16  # strings read at once: thousands may be one long one


@contextmanager
def translating() -> Iterator[None]:
    """Turn whatever h5py raises of a broken file into CorruptCheckpoint."""
    try:
        yield
    except CheckpointError:
        raise
    except MemoryError as error:
        raise UnsupportedCheckpoint("a dataset does not fit into memory") from error
    except (OSError, RuntimeError, LookupError, ValueError, TypeError, SystemError) as error:
        raise CorruptCheckpoint(f"HDF5 cannot read it: {str(error)[:300]}") from error


class Hdf5File:
    """An open file of *size* bytes, of which *window* maps those from HDF5's first on, if given."""

    def __init__(self, file: Any, size: int, window: memoryview | None) -> None:
        self._file = file
        self._window = window
        self._size = size
        with translating():
            contents = Walk(file, size).contents
        self.datasets: Mapping[str, Dataset] = contents.datasets
        self.groups: list[str] = contents.groups
        self.links: Mapping[str, str] = contents.links
        self.others: Mapping[str, str] = contents.others

    @classmethod
    def at(cls, path: Path, *, mmap: bool = True) -> Self:
        """Open the file at *path*; without *mmap* HDF5 reads every value itself."""
        h5py = needed("h5py", "hdf5", f"reading {path.name}, an HDF5 file,")
        path = fetched(path)
        size = path.stat().st_size
        with translating():
            file = h5py.File(path, "r", locking=False)
            try:
                # the very file that HDF5 has open, should another take its place meanwhile
                window = map_shared(file.id.get_vfd_handle()) if mmap else None
                return cls(file, size, None if window is None else memoryview(window))
            except BaseException:
                file.close()
                raise

    @classmethod
    def within(cls, data: memoryview, what: str) -> Self:
        """Open the file whose bytes are *data*, such as a member of an archive."""
        h5py = needed("h5py", "hdf5", f"reading {what}, an HDF5 file,")
        with translating():
            return cls(h5py.File(Readable(data), "r"), len(data), data)

    def attributes(self, path: str) -> dict[str, Any]:
        """Return the attributes of the group or dataset at *path*."""
        with translating():
            return dict(self._file[path or "/"].attrs.items())

    def attribute(self, path: str, key: str) -> Any:
        """Return one attribute of the group at *path*, None where it has none of that name."""
        with translating():
            return self._file[path or "/"].attrs.get(key)

    def array(self, path: str) -> np.ndarray:
        """Return all values of the dataset at *path*."""
        dataset = self.datasets[path]
        view = self._view(dataset)
        if view is not None:
            return settled(view if view.flags.aligned else view.copy())
        with translating():
            found = (
                strings_of(self._file[dataset.path], dataset, self._size)
                if dataset.dtype == "string"
                else self._values(dataset, ...)
            )
        return np.asarray(found)

    def part(self, path: str, index: Any) -> np.ndarray:
        """Return `array(path)[index]`, reading about its own bytes."""
        dataset = self.datasets[path]
        if dataset.dtype == "string":
            return np.asarray(self.array(path)[index])
        view = self._view(dataset)
        if view is not None:
            return settled(np.array(view[index]))
        box, rest = bounded(index, dataset.shape)
        with translating():
            found = self._values(dataset, box)
        return np.asarray(found[rest])

    def begin(self, path: str) -> int:
        """Return where the values of a dataset begin, 0 where they are in several pieces."""
        return self.datasets[path].begin or 0

    def close(self) -> None:
        """Close the file; views of it stay valid."""
        with translating():
            self._file.close()

    def _view(self, dataset: Dataset) -> np.ndarray | None:
        """Return the values where they lie in the mapped file, None where they do not."""
        begin = dataset.begin
        if self._window is None or begin is None:
            return None
        nbytes = checked_nbytes(dataset.dtype, dataset.shape)
        if begin + nbytes > len(self._window):
            raise CorruptCheckpoint(
                f"{dataset.path!r} claims the bytes from {begin} to {begin + nbytes}; the file has "
                f"{len(self._window)}"
            )
        found = array_over(self._window, dataset.stored, dataset.shape, begin)
        return found.view(numpy_dtype(dataset.dtype)) if dataset.stored.kind == "V" else found

    def _values(self, dataset: Dataset, box: Any) -> np.ndarray:
        """Return what HDF5 reads of *box*."""
        found = np.asarray(self._file[dataset.path][box])
        if dataset.stored.kind == "V":
            return found.view(numpy_dtype(dataset.dtype))
        return settled(found.astype(numpy_dtype(dataset.dtype), copy=False))


def strings_of(source: Any, dataset: Dataset, room: int) -> np.ndarray:
    """Return strings as `bytes`, at most *room* of them all: thousands may be one in the file."""
    found = np.empty(dataset.shape, object)
    for place in places_of(dataset.shape):
        pieces = [bytes(item) for item in source[place]] if place else [bytes(source[()])]
        found[place] = pieces if place else pieces[0]
        room -= sum(map(len, pieces))
        if room < 0:
            raise CorruptCheckpoint(f"the strings of {dataset.path!r} are longer than the file")
    return found


def places_of(shape: tuple[int, ...]) -> Iterator[tuple[Any, ...]]:
    """Yield indices that take an array of *shape* apart, a few elements at a time."""
    if not shape:
        yield ()
        return
    for row in np.ndindex(shape[:-1]):
        for at in range(0, shape[-1], STRINGS):
            yield (*row, slice(at, at + STRINGS))
