"""One safetensors file as a source."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ...binary.window import file_bytes
from ...errors import noting
from ...source import ListedSource
from ..arrays import array_over, settled
from .header import Entry, read_header
from .packing import unpack

if TYPE_CHECKING:
    import numpy as np


class SafetensorsSource(ListedSource):
    """A mapped file: `read` returns a read-only view of it.

    Only what a foreign writer left unaligned, or packed below a byte, is copied.
    """

    def __init__(self, path: Path, *, mmap: bool = True) -> None:
        self._place = f"while reading {path}"
        self._file = file_bytes(path, mmap=mmap)
        with noting(self._place):
            header = read_header(self._file)
        self._entries = header.entries
        self._data = header.data
        self._specs = {name: entry.spec for name, entry in header.entries.items()}
        self._aliases, self._metadata = header.notes.aliases, header.notes.metadata
        self._derived = header.notes.derived

    def read(self, name: str) -> "np.ndarray":
        entry = self._entries[self._own(name)]
        with noting(self._place):
            return self._array(entry)

    def unclaimed(self) -> Iterator[str]:
        return iter(())  # the header proves that the tensors tile the data, or is refused

    def _array(self, entry: Entry) -> "np.ndarray":
        import numpy as np

        spec = entry.spec
        raw = self._file[self._data + entry.begin : self._data + entry.end]
        if entry.bits < 8:
            packed = array_over(raw, np.dtype("u1"), (len(raw),))
            return array_over(unpack(packed, entry.bits).data, spec.numpy_dtype, spec.shape)
        array = array_over(raw, spec.numpy_dtype.newbyteorder("<"), spec.shape)
        return settled(array if array.flags.aligned else array.copy())
