"""Writing an HDF5 file: its groups and headers by h5py, its values straight to the disk.

HDF5 lays out the file, so that any reader of HDF5 finds all where it should be; it is told to write
no values and to align them at 64 bytes.  They are then written from front to back, one in memory at
a time.  The same tensors give the same bytes: no times are kept.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from io import FileIO
from typing import Any

import numpy as np

from ...binary.atomic import write_fully
from ...binary.stream import start_writeback
from ...errors import CannotHold, SaveError
from ...source import Source
from ...spec import NUMPY_NAMES, TensorSpec
from ..arrays import bytes_of, values_to_write
from ..extras import needed
from .walk import DTYPE

ALIGNED, ALIGNMENT = 512, 64  # what takes so many bytes begins at a multiple of these
ATTRIBUTE_LIMIT = 64_000  # bytes; the header of an object has 64 KiB, some of them its own
PIECE = 16 << 20


@dataclass(frozen=True, slots=True)
class Layout:
    """What stands where: `datasets` are path -> name of the tensor.

    An attribute is text, bytes, or a list of texts, which is cut where it is too long for one.
    """

    datasets: Mapping[str, str]
    groups: Sequence[str] = ()
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def write_hdf5(file: FileIO, source: Source, layout: Layout) -> None:
    """Write the tensors of *source* into the new *file* in *layout*."""
    h5py = needed("h5py", "hdf5", "writing an HDF5 file")
    try:
        places = written_headers(h5py, f"/dev/fd/{file.fileno()}", source, layout)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        if isinstance(error, OSError) and error.errno:  # the disk's: said as of any other format
            raise OSError(error.errno, os.strerror(error.errno)) from error
        raise SaveError(f"HDF5 cannot write it: {error}") from error
    write_values(file, source, sorted(places))


def written_headers(
    h5py: Any, target: str, source: Source, layout: Layout
) -> list[tuple[int, str]]:
    """Write all but the values, and return where those of each tensor are to begin."""
    file = h5py.File(
        target, "w", locking=False, alignment_threshold=ALIGNED, alignment_interval=ALIGNMENT
    )
    try:
        places = []
        maker = Maker(h5py, file)
        for path, name in layout.datasets.items():
            spec = source.specs[name]
            made = maker.dataset(path, spec)
            if spec.dtype == "string":
                h5py.Dataset(made)[...] = as_numbers(source.read(name))
            elif spec.size:
                places.append((made.get_offset(), name))
        for path in dict.fromkeys([*layout.groups, *layout.attributes]):
            group = file.require_group(path or "/")
            for key, value in layout.attributes.get(path, {}).items():
                write_attribute(group, key, value)
    finally:
        file.close()
    return places


class Maker:
    """Makes datasets in *file*; what HDF5 is told of each is prepared once for all of a kind."""

    def __init__(self, h5py: Any, file: Any) -> None:
        self._h5 = h5py
        self._file = file
        self._links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
        self._links.set_create_intermediate_group(True)
        self._links.set_char_encoding(h5py.h5t.CSET_UTF8)
        self._creation = cache(self._new_creation)
        self._kind = cache(lambda stored: h5py.h5t.py_create(stored, logical=True))

    def dataset(self, path: str, spec: TensorSpec) -> Any:
        """Return a new dataset for *spec*, whose room is there and holds nothing yet."""
        h5 = self._h5
        raw = spec.dtype not in NUMPY_NAMES and spec.dtype != "string"
        if spec.dtype == "string":
            stored = h5.vlen_dtype(np.uint8)  # HDF5's own strings end at the first zero
        else:
            stored = np.dtype(f"V{spec.numpy_dtype.itemsize}") if raw else spec.numpy_dtype
        space = h5.h5s.create_simple(spec.shape) if spec.shape else h5.h5s.create(h5.h5s.SCALAR)
        made = h5.h5d.create(
            self._file.id,
            path.encode(),
            self._kind(stored),
            space,
            self._creation(spec.dtype == "string"),
            self._links,
        )
        if raw:
            h5.Dataset(made).attrs[DTYPE] = spec.dtype
        return made

    def _new_creation(self, filled: bool) -> Any:
        """Return how datasets are made: in one piece, at once, filled only if HDF5 has to."""
        h5d = self._h5.h5d
        creation = self._h5.h5p.create(self._h5.h5p.DATASET_CREATE)
        creation.set_layout(h5d.CONTIGUOUS)
        creation.set_alloc_time(h5d.ALLOC_TIME_EARLY)
        creation.set_fill_time(h5d.FILL_TIME_ALLOC if filled else h5d.FILL_TIME_NEVER)
        creation.set_obj_track_times(False)
        return creation


def as_numbers(strings: "np.ndarray") -> "np.ndarray":
    """Return strings as HDF5 takes bytes of any number and kind."""
    found = np.empty(strings.shape, object)
    for place in np.ndindex(strings.shape):
        found[place] = np.frombuffer(strings[place], np.uint8)
    return found


def write_attribute(group: Any, key: str, value: Any) -> None:
    """Write text as it is, and a list of texts as one attribute or as several numbered ones."""
    if isinstance(value, str | bytes):
        group.attrs[key] = value
        return
    items = np.array([text.encode() for text in value] or [], "S") if value else np.zeros(0)
    count = -(-items.nbytes // ATTRIBUTE_LIMIT)
    per_attribute = max(ATTRIBUTE_LIMIT // max(items.itemsize, 1), 1)
    if count <= 1:
        group.attrs[key] = items
        return
    for number, at in enumerate(range(0, len(items), per_attribute)):
        group.attrs[f"{key}{number}"] = items[at : at + per_attribute]


def refuse_long(texts: Sequence[str]) -> None:
    """Raise for texts that no list in an attribute can hold."""
    long = [text for text in texts if len(text.encode()) > ATTRIBUTE_LIMIT]
    if long:
        raise CannotHold(
            f"HDF5 cannot hold {len(long)} names of more than {ATTRIBUTE_LIMIT} bytes: "
            + ", ".join(repr(text[:40]) for text in long)
        )


def write_values(file: FileIO, source: Source, places: Iterable[tuple[int, str]]) -> None:
    """Write the values of each tensor from its byte on, and have the disk begin with them."""
    started = 0
    for begin, name in places:
        values = bytes_of(values_to_write(source, source.specs[name]))
        for at in range(0, len(values), PIECE):
            piece = values[at : at + PIECE]
            file.seek(begin + at)
            write_fully(file, piece)
            end = begin + at + len(piece)
            if end - started >= PIECE:
                start_writeback()(file.fileno(), started, end - started)
                started = end
