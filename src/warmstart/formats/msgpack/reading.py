"""One file of Flax's as a source."""

import math
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ...binary.msgpack import Place
from ...binary.window import file_bytes
from ...errors import noting
from ...source import Index, ListedSource
from ...spec import ITEMSIZES, numpy_dtype
from ..arrays import array_over, settled
from ..slicing import part_of
from .leaves import Stored, read_contents

if TYPE_CHECKING:
    import numpy as np


class MsgpackSource(ListedSource):
    """A mapped file; arrays that lie unaligned in it, as nearly all do, are copied when read."""

    def __init__(self, path: Path, *, mmap: bool = True) -> None:
        self._place = f"while reading {path}"
        self._file = file_bytes(path, mmap=mmap)
        with noting(self._place):
            self._contents = read_contents(self._file)
        notes = self._contents.notes
        self._specs = self._contents.specs
        self._aliases, self._metadata = notes.aliases, notes.metadata
        self._derived = notes.derived

    def read(self, name: str) -> "np.ndarray":
        stored = self._stored(name)
        with noting(self._place):
            return self._elements(stored, 0, stored.shape)

    def read_slice(self, name: str, index: Index) -> "np.ndarray":
        import numpy as np

        stored = self._stored(name)
        part = part_of(index, stored.shape)
        with noting(self._place):
            return np.asarray(self._elements(stored, part.begin, part.shape)[part.index])

    def read_all(self) -> "dict[str, np.ndarray]":
        with noting(self._place):
            return {name: self._whole(stored) for name, stored in self._contents.arrays.items()}

    def _whole(self, stored: Stored) -> "np.ndarray":
        """Return all elements; faster than `_elements` for the small arrays that are in one run."""
        dtype, begin = numpy_dtype(stored.dtype), stored.runs[0].begin
        if (
            len(stored.runs) > 1
            or not isinstance(self._file, memoryview)
            or sys.byteorder != "little"
        ):
            return self._elements(stored, 0, stored.shape)
        array = array_over(self._file, dtype, stored.shape, begin)
        return array.copy() if begin % dtype.alignment else array

    def read_order(self) -> Iterator[str]:
        arrays = self._contents.arrays
        yield from sorted(arrays, key=lambda name: arrays[name].runs[0].begin)

    def unclaimed(self) -> Iterable[str]:
        return ()  # a file with bytes outside its one value is refused when it is opened

    def _stored(self, name: str) -> Stored:
        return self._contents.arrays[self._own(name)]

    def _elements(self, stored: Stored, begin: int, shape: tuple[int, ...]) -> "np.ndarray":
        """Return the elements of *stored* from *begin* on, as an array of *shape*."""
        import numpy as np

        dtype, itemsize = numpy_dtype(stored.dtype), ITEMSIZES[stored.dtype]
        parts = list(cut(stored.runs, begin * itemsize, math.prod(shape) * itemsize))
        if len(parts) == 1:
            array = array_over(self._file[slice(*parts[0])], dtype.newbyteorder("<"), shape)
            return settled(array if array.flags.aligned else array.copy())
        room = np.empty(math.prod(shape) * itemsize, np.uint8)
        at = 0
        for run_begin, run_end in parts:
            room[at : at + run_end - run_begin] = self._file[run_begin:run_end]
            at += run_end - run_begin
        return settled(array_over(room.data, dtype.newbyteorder("<"), shape))


def cut(runs: Iterable[Place], begin: int, nbytes: int) -> Iterator[tuple[int, int]]:
    """Yield where *nbytes* from *begin* on lie, counted through all of *runs*."""
    at = 0
    end = begin + nbytes
    for run in runs:
        low, high = max(begin, at), min(end, at + run.end - run.begin)
        if low < high:
            yield run.begin + low - at, run.begin + high - at
        at += run.end - run.begin
