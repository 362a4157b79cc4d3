"""A model as a source."""

import math
from collections.abc import Iterable, Iterator
from os.path import isfile  # which takes a name that no file can have for one that is not there
from pathlib import Path
from typing import TYPE_CHECKING

from ...binary.window import FileBytes, file_bytes
from ...errors import CheckpointNotFound, CorruptCheckpoint, noting
from ...source import Index, ListedSource
from ..arrays import array_over, settled
from ..slicing import part_of
from .model import read_model
from .places import Place
from .tensors import External, Tensor

if TYPE_CHECKING:
    import numpy as np


class ONNXSource(ListedSource):
    """A mapped file: what lies aligned in it, as external data do, is read as a view of it."""

    def __init__(self, path: Path, *, mmap: bool) -> None:
        self._path = path
        self._mmap = mmap
        self._place = f"while reading {path}"
        self._files: dict[str, FileBytes] = {}
        with noting(self._place):
            file = file_bytes(path, mmap=mmap)
            model = read_model(Place(file, 0, len(file)))
        self._tensors = model.tensors
        self._metadata = model.metadata
        self._specs = {name: tensor.spec for name, tensor in model.tensors.items()}

    def read(self, name: str) -> "np.ndarray":
        return self.read_slice(name, ...)

    def read_slice(self, name: str, index: Index) -> "np.ndarray":
        import numpy as np

        tensor = self._tensors[self._own(name)]
        with noting(self._place):
            if tensor.raw is not None and tensor.type.bits >= 8:
                part = part_of(index, tensor.spec.shape)
                return np.asarray(self._elements(tensor, part.begin, part.shape)[part.index])
            return np.asarray(self._values(tensor)[index])

    def _elements(self, tensor: Tensor, begin: int, shape: tuple[int, ...]) -> "np.ndarray":
        """Return as many elements as *shape* has, from *begin* on, of a tensor that has bytes."""
        place, itemsize = self._bytes(tensor), tensor.type.bits // 8
        at = place.begin + begin * itemsize
        raw = place.file[at : at + math.prod(shape) * itemsize]
        array = array_over(raw, tensor.spec.numpy_dtype.newbyteorder("<"), shape)
        return settled(array if array.flags.aligned else array.copy())

    def _values(self, tensor: Tensor) -> "np.ndarray":
        """Return the values of a tensor that has numbers, or elements smaller than a byte."""
        import numpy as np

        from .values import narrow, values_of

        if tensor.raw is None:
            return settled(values_of(tensor))
        return narrow(np.frombuffer(self._bytes(tensor).raw(), np.uint8), tensor)

    def _bytes(self, tensor: Tensor) -> Place:
        """Return where the bytes of *tensor* lie."""
        if not isinstance(tensor.raw, External):
            assert tensor.raw is not None
            return tensor.raw
        self.check([tensor.spec.name])
        raw = tensor.raw
        return Place(self._file(raw.file), raw.begin, raw.begin + raw.nbytes)

    def _file(self, name: str) -> FileBytes:
        """Return a file of external data, opened at its first use."""
        if name not in self._files:
            self._files[name] = file_bytes(self._path.parent / name, mmap=self._mmap)
        return self._files[name]

    def check(self, names: Iterable[str]) -> None:
        """Raise for files of external data that are missing, or too short for what is in them."""
        places = {n: raw for n in names if isinstance(raw := self._tensors[n].raw, External)}
        files = sorted({place.file for place in places.values()} - self._files.keys())
        missing = [file for file in files if not isfile(self._path.parent / file)]
        if missing:
            raise CheckpointNotFound(
                f"{len(missing)} of {len(files)} files of external data are missing: "
                + ", ".join(missing)
            )
        short = [
            f"  {name!r} ends at byte {place.begin + place.nbytes} of {place.file}, "
            f"which has {len(self._file(place.file))}"
            for name, place in places.items()
            if place.begin + place.nbytes > len(self._file(place.file))
        ]
        if short:
            raise CorruptCheckpoint("\n".join(["external data are cut off:", *short]))

    def read_order(self) -> Iterator[str]:
        inside = (n for n, t in self._tensors.items() if not isinstance(t.raw, External))
        outside = ((t.raw.file, t.raw.begin, n) for n, t in self._tensors.items()
                   if isinstance(t.raw, External))  # fmt: skip
        yield from inside
        yield from (name for _, _, name in sorted(outside))
