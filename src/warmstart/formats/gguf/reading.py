"""A GGUF file, or all parts of a split model, as a source."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...binary.window import FileBytes, file_bytes
from ...errors import CheckpointNotFound, CorruptCheckpoint, UnsupportedCheckpoint, noting
from ...source import Index, ListedSource
from ...spec import TensorSpec, shape_text
from ..arrays import array_over
from ..slicing import part_of
from .header import Entry, Header, gaps, read_header
from .metadata import Metadata

if TYPE_CHECKING:
    import numpy as np

PART = re.compile(r"(.*-)\d{5}-of-(\d{5})(\.gguf)", re.ASCII | re.DOTALL | re.IGNORECASE)

#: Types that `blocks` turns into float32; here, so that listing needs no NumPy.
DEQUANTIZED = frozenset(
    ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K",
     "IQ4_NL", "IQ4_XS", "MXFP4")
)  # fmt: skip
TYPES_KEY = "gguf.tensor_types"


class OpenFile:
    """One file with its header."""

    def __init__(self, path: Path, mmap: bool) -> None:
        self.path = path
        self.place = f"while reading {path}"
        with noting(self.place):
            self.bytes: FileBytes = file_bytes(path, mmap=mmap)
            self.header: Header = read_header(self.bytes)
        self.metadata = Metadata(self.header)


class GGUFSource(ListedSource):
    """Mapped files: `read` returns a read-only view of what needs no change."""

    def __init__(self, path: Path, *, mmap: bool, dequantize: bool) -> None:
        self._files = opened(path, mmap)
        self._dequantize = dequantize
        self._places: dict[str, tuple[OpenFile, Entry]] = {}
        for file in self._files:
            for entry in file.header.entries:
                self._add(file, entry)
        self._specs = {name: self._spec(entry) for name, (_, entry) in self._places.items()}

    def _add(self, file: OpenFile, entry: Entry) -> None:
        other, _ = self._places.setdefault(entry.spec.name, (file, entry))
        if other is not file:
            raise CorruptCheckpoint(
                f"{entry.spec.name!r} is in {other.path.name} and in {file.path.name}"
            )

    def _spec(self, entry: Entry) -> TensorSpec:
        if entry.type.dtype is None and self._dequantize:
            return TensorSpec(entry.spec.name, "float32", entry.shape)
        return entry.spec

    @property
    def stored(self) -> Mapping[str, str]:
        return {
            name: f"{entry.type.name} {shape_text(entry.shape)}"
            for name, (_, entry) in self._places.items()
            if entry.type.dtype is None
        }

    @property
    def metadata(self) -> Mapping[str, str]:
        """The pairs of the first file that has them, and the types of quantised tensors."""
        return Joined([file.metadata for file in self._files], self.stored)

    def read(self, name: str) -> "np.ndarray":
        return self.read_slice(name, ...)

    def read_slice(self, name: str, index: Index) -> "np.ndarray":
        import numpy as np

        file, entry = self._places[self._own(name)]
        with noting(file.place):
            self.check([name])
            part = part_of(index, self._specs[name].shape, uncut=0 if entry.type.dtype else 1)
            return np.asarray(self._read(file, entry, part.begin, part.shape)[part.index])

    def _read(
        self, file: OpenFile, entry: Entry, begin: int, shape: tuple[int, ...]
    ) -> "np.ndarray":
        """Return the elements from *begin* on, as many as *shape* has."""
        type_, count = entry.type, math.prod(shape)
        order = file.header.order
        if type_.dtype is not None:
            at = entry.begin + begin * type_.nbytes
            return native(file.bytes[at : at + count * type_.nbytes], entry.spec, shape, order)
        per_block = type_.elements if self._dequantize else type_.nbytes
        at = entry.begin + begin // per_block * type_.nbytes
        raw = file.bytes[at : at + count // per_block * type_.nbytes]
        if not self._dequantize:
            return native(raw, entry.spec, shape, order)
        from .blocks import dequantized

        return dequantized(raw, type_, shape, order)

    def check(self, names: Iterable[str]) -> None:
        """Raise UnsupportedCheckpoint for types that have to be dequantised and cannot be."""
        if not self._dequantize:
            return
        found = {name: self._places[name][1].type for name in names}
        wrong = [
            f"  {name!r} is {type_.name}"
            for name, type_ in found.items()
            if type_.dtype is None and type_.name not in DEQUANTIZED
        ]
        if wrong:
            known = ", ".join(sorted(DEQUANTIZED))
            advice = "without dequantize these can be read as the bytes of their blocks"
            raise UnsupportedCheckpoint(
                "\n".join([f"dequantised are {known}, but", *wrong, advice])
            )

    def read_order(self) -> Iterator[str]:
        for file in self._files:
            entries = sorted(file.header.entries, key=lambda entry: entry.begin)
            yield from (entry.spec.name for entry in entries)

    def unclaimed(self) -> Iterable[str]:
        return [
            f"bytes {begin} to {end} of {file.path.name}"
            for file in self._files
            for begin, end in gaps(file.header, file.bytes)
        ]


class Joined(Mapping[str, str]):
    """The metadata of several files, the first that has a key wins; see `GGUFSource.metadata`."""

    def __init__(self, parts: list[Metadata], types: Mapping[str, str]) -> None:
        self._parts = parts
        self._types = types
        own = [TYPES_KEY] if types else []
        self._keys = dict.fromkeys([*(key for part in parts for key in part), *own])

    def __getitem__(self, key: str) -> str:
        for part in self._parts:
            if key in part:
                return part[key]
        if key in self._keys:
            return json.dumps(self._types, ensure_ascii=False)
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def native(raw: memoryview, spec: TensorSpec, shape: tuple[int, ...], order: str) -> "np.ndarray":
    """Return the elements in *raw* in native byte order, aligned."""
    import numpy as np

    dtype = spec.numpy_dtype
    if order == "<":
        array = array_over(raw, dtype.newbyteorder("<"), shape)
        aligned = array if array.flags.aligned else array.copy()
        return aligned.astype(dtype, copy=False)
    bits = array_over(raw, np.dtype(f">u{dtype.itemsize}"), shape)
    return bits.astype(f"=u{dtype.itemsize}").view(dtype)


def opened(path: Path, mmap: bool) -> list[OpenFile]:
    """Return the file at *path*, or all parts of the model that it is one part of."""
    file = OpenFile(path, mmap)
    match = PART.fullmatch(path.name)
    if match is None or file.metadata.get("split.count", "1") == "1":
        return [file]
    start, count, end = match.groups()
    if file.metadata["split.count"] != str(int(count)):
        raise CorruptCheckpoint(
            f"{path.name} is one of {int(count)} by its name, but says it is one of "
            f"{file.metadata['split.count'][:20]}"
        )
    names = [f"{start}{i:05}-of-{count}{end}" for i in range(1, int(count) + 1)]
    missing = [name for name in names if not (path.parent / name).is_file()]
    if missing:
        shown = ", ".join(missing[:10]) + (", …" if len(missing) > 10 else "")
        raise CheckpointNotFound(f"{len(missing)} of {len(names)} parts are missing: {shown}")
    return [file if name == path.name else OpenFile(path.parent / name, mmap) for name in names]
