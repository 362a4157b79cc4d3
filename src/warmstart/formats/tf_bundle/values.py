"""The values of a bundle's entries: bytes of the data files as arrays, each verified once.

An aligned tensor is a read-only view of the mapped file; one that is not aligned, in the other byte
order or in pieces is a copy.  A part of a tensor in pieces is put together from those it touches,
and a part of a tensor of strings has only its own strings made.  A part of up to an eighth of a
large tensor costs its own bytes, and is not verified unless all of the tensor was.
"""

import math
import sys
from typing import TYPE_CHECKING

from ...binary.checksum import crc32c_of, mask, unmask
from ...boxes import Box, bounded, box_shape, common, put_together, whole_box
from ...errors import CorruptCheckpoint, UnsupportedCheckpoint
from ...source import Index as Bracket
from ...source import PartRead
from ...spec import NUMPY_NAMES, numpy_dtype, shape_text
from ..slicing import part_of
from .index import Index
from .places import check_size
from .protos import Entry, Slice
from .shards import Shards
from .slices import box_of, slice_key
from .strings import Strings

if TYPE_CHECKING:
    import numpy as np


#: A tensor is verified as a whole, for a part of it, when it has no more bytes than this ...
CHEAP = 4 << 20
#: ... or when the part is at least one in so many.
PART = 8


class Values:
    """What the entries of one bundle stand for."""

    def __init__(self, index: Index, shards: Shards, *, verify: bool) -> None:
        """Take the pieces of tensors from *index*, bytes from *shards*."""
        self._index = index
        self._shards = shards
        self._verify = verify
        self._big_endian = index.header.big_endian
        self.foreign = self._big_endian != (sys.byteorder == "big")
        self._sound: set[Entry] = set()  # those whose checksum was right
        self._parts: dict[tuple[Entry, int, int], int] = {}  # runs of others: their checksums

    def whole(self, name: str, entry: Entry) -> "np.ndarray":
        """Return the tensor *name* of *entry*, in one piece or several."""
        if entry.slices:
            return self._merged(name, entry, whole_box(entry.shape))
        if entry.dtype == "string":
            return self.strings(entry).array(entry.shape)
        return settled(self._stored(entry), numpy_dtype(entry.dtype))

    def part(
        self, name: str, entry: Entry, index: Bracket, *, thrifty: bool = False
    ) -> "np.ndarray":
        """Return `whole(name, entry)[index]`; of a tensor in pieces those that it touches.

        If *thrifty*, no byte more is read than the part has, unless it is one of strings.
        """
        import numpy as np

        if entry.slices:
            box, rest = bounded(index, entry.shape)
            return np.asarray(self._merged(name, entry, box, thrifty=thrifty)[rest])
        if entry.dtype == "string":
            return self.strings(entry).part(entry.shape, index)
        stored = self._part_stored(entry, index, thrifty=thrifty)
        return settled(stored, numpy_dtype(entry.dtype))

    def strings(self, entry: Entry) -> Strings:
        """Return the strings of *entry*, verified."""
        payload = self._shards.bytes_of(entry)
        found = Strings(payload, math.prod(entry.shape), big_endian=self._big_endian)
        if self._verify and entry not in self._sound:
            self._compare(entry, found.crc())
        return found

    def pieces(self, name: str, entry: Entry) -> list[Entry]:
        """Return the entries of the pieces of the tensor *name*."""
        boxes = ((piece, box_of(piece, entry.shape)) for piece in dict.fromkeys(entry.slices))
        return [self._piece(name, entry, piece, box) for piece, box in boxes]

    def _merged(self, name: str, entry: Entry, box: Box, *, thrifty: bool = False) -> "np.ndarray":
        """Return what *box* cuts out of the tensor *name*, put together from its pieces."""
        boxes = {piece: box_of(piece, entry.shape) for piece in entry.slices}
        touched = {piece: b for piece, b in boxes.items() if common(b, box) is not None}
        entries = [self._piece(name, entry, piece, b) for piece, b in touched.items()]
        for piece in entries:
            self._shards.holding(piece)
        self._shards.check_room(entry._replace(shape=box_shape(box)))

        def read(number: int, part: Box) -> "np.ndarray":
            return self.part(name, entries[number], part, thrifty=thrifty)

        return put_together(numpy_dtype(entry.dtype), box, list(touched.values()), read)

    def _piece(self, name: str, whole: Entry, piece: Slice, box: Box) -> Entry:
        """Return the entry of one *piece* of the tensor *name*, which stands at *box*."""
        entry = self._index.find_key(slice_key(name.encode(), piece))
        expected = whole.dtype, box_shape(box), ()
        if entry is None or (entry.dtype, entry.shape, entry.slices) != expected:
            raise CorruptCheckpoint(
                f"its piece at {piece.starts} is not there as {whole.dtype} {expected[1]}"
            )
        return entry

    def _stored(self, entry: Entry) -> "np.ndarray":
        """Return the values of *entry*, verified, in the file's order of bytes."""
        check_size(entry)
        data = self._shards.bytes_of(entry)
        self._verify_once(entry, data)
        return self._array(entry, data, entry.shape)

    def _part_stored(self, entry: Entry, index: Bracket, *, thrifty: bool) -> "np.ndarray":
        """Return `_stored(entry)[index]`, of which no more bytes are read than need be.

        A checksum is one of the whole tensor: a small part of a large one is read without.
        """
        import numpy as np

        check_size(entry)
        run = part_of(index, entry.shape)
        itemsize = numpy_dtype(entry.dtype).itemsize
        size = math.prod(run.shape) * itemsize
        enough = entry.size <= CHEAP or size * PART >= entry.size
        if self._verify and (size == entry.size if thrifty else enough):
            self._verify_once(entry, self._shards.bytes_of(entry))
        cut = entry._replace(offset=entry.offset + run.begin * itemsize, size=size)
        data = self._shards.bytes_of(cut)
        part = np.asarray(self._array(entry, data, run.shape)[run.index])
        if thrifty and self._verify and part.size * itemsize == size < entry.size:
            place = entry, run.begin * itemsize, size
            self._parts[place] = self._parts.get(place) or crc32c_of(data)
        return part

    def parts_read(self) -> list[PartRead]:
        """Return the runs of entries that were read thriftily."""
        return [
            PartRead(
                f"{entry.dtype} {shape_text(entry.shape)} at byte {entry.offset} of data file "
                f"{entry.shard}", begin, size, crc, entry.size, unmask(entry.crc),
            )
            for (entry, begin, size), crc in self._parts.items()
        ]  # fmt: skip

    def _array(self, entry: Entry, data: memoryview, shape: tuple[int, ...]) -> "np.ndarray":
        """Return *data*, values of *entry*, as an array over them."""
        import numpy as np

        dtype = numpy_dtype(entry.dtype)
        dtype = swapped(dtype) if self.foreign and dtype.itemsize > 1 else dtype
        try:
            array = np.ndarray(shape, dtype, data)
        except ValueError as error:  # too many dimensions, or an empty one of astronomical sides
            raise UnsupportedCheckpoint(f"NumPy cannot hold the shape {entry.shape}") from error
        array.flags.writeable = False  # whoever must write may allow it: the map is private
        return array

    def _verify_once(self, entry: Entry, data: memoryview) -> None:
        """Check the checksum of *entry*, whose bytes are *data*, unless it was or need not be."""
        if self._verify and entry not in self._sound:
            self._compare(entry, crc32c_of(data))

    def _compare(self, entry: Entry, crc: int) -> None:
        """Refuse *entry* when *crc*, not masked, is not the checksum written for it."""
        if mask(crc) != entry.crc:
            raise CorruptCheckpoint(
                f"its checksum is {mask(crc):#010x}, where {entry.crc:#010x} was written: "
                "the data are damaged"
            )
        self._sound.add(entry)


def swapped(dtype: "np.dtype") -> "np.dtype":
    """Return *dtype* in the other byte order; a type that only ml_dtypes has, as an integer."""
    import numpy as np

    native = dtype if dtype.name in NUMPY_NAMES else np.dtype(f"u{dtype.itemsize}")
    return native.newbyteorder()


def settled(array: "np.ndarray", dtype: "np.dtype") -> "np.ndarray":
    """Return *array* as *dtype*, aligned, in native order; itself where it is so already."""
    if array.dtype == dtype and array.flags.aligned:
        return array
    native = array.astype(array.dtype.newbyteorder("="), order="C", copy=True)
    return native.view(dtype)
