"""What has been written of a bundle, until its index is made.

Tensors of one kind, the same dtype and shape, have entries that differ only in their place: many
of them are encoded as the rows of a matrix, just as `bulk` decodes them.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...binary.checksum import mask, masked
from ...binary.stream import GATHERED, GATHERED_BYTES, LARGE, Stream
from ...binary.wire import number_field
from ...errors import SaveError
from ...spec import NUMPY_NAMES, TensorSpec, checked_nbytes, numpy_dtype, spec_of
from .held import SpecKind
from .protos import Entry, encode_entry, encode_head

if TYPE_CHECKING:
    import numpy as np

#: Every tensor begins at a multiple of this many bytes.
ALIGNMENT = 64
#: Fewer entries of a kind than this are encoded as fast one by one.
MANY = 16


class Kind:
    """The tensors written so far that have one dtype, of fixed size, and one shape."""

    def __init__(self, dtype: str, shape: tuple[int, ...]) -> None:
        native = numpy_dtype(dtype)
        self.nbytes = checked_nbytes(dtype, shape)
        self._spec = TensorSpec("", dtype, shape)
        self._dtype = native.newbyteorder("<") if dtype in NUMPY_NAMES else native
        #: How many are read and written together; more than one only of small ones.
        self.batch = max(1, min(GATHERED // 2, GATHERED_BYTES // 2 // max(1, self.nbytes)))
        self._is_buffer = dtype in NUMPY_NAMES and self.nbytes < LARGE and shape != ()
        self._keys: list[bytes] = []
        self._offsets: list[int] = []
        self._crcs: list[int] = []

    def packed(self, name: str, array: "np.ndarray") -> "np.ndarray":
        """Return *array*, the values of the tensor *name*, as a buffer in the file's order."""
        import numpy as np

        if array.shape != self._spec.shape or array.dtype != self._dtype:
            found = spec_of(name, array)
            if (found.dtype, found.shape) != (self._spec.dtype, self._spec.shape):
                raise SaveError(f"{name!r} was to be {self._spec}, but the values are {found}")
        if array.dtype != self._dtype or not array.flags.c_contiguous:
            array = np.ascontiguousarray(array, self._dtype)
        # Small arrays of NumPy's own types are buffers as they are; the view costs as much again.
        return array if self._is_buffer else array.reshape(-1).view(np.uint8)

    def write(self, keys: Sequence[bytes], buffers: "list[np.ndarray]", stream: Stream) -> None:
        """Write the tensors *keys*, each at a multiple of ALIGNMENT."""
        self._keys += keys
        offsets, crcs = stream.write_aligned(buffers, self.nbytes, ALIGNMENT)
        self._offsets += offsets
        self._crcs += crcs

    def encoded(self, shard: int) -> dict[bytes, bytes]:
        """Return the entries by key, the data file being number *shard* of the bundle."""
        if len(self._keys) >= MANY:
            messages = self._encoded_together(shard)
        else:
            what = self._spec.dtype, self._spec.shape, shard
            messages = [
                encode_entry(Entry(*what, offset, self.nbytes, mask(crc)))
                for offset, crc in zip(self._offsets, self._crcs, strict=True)
            ]
        return dict(zip(self._keys, messages, strict=True))

    def _encoded_together(self, shard: int) -> list[bytes]:
        """Return the entries; those whose offset takes equally many bytes make one matrix."""
        import numpy as np

        offsets, crcs = np.array(self._offsets, np.int64), masked(np.array(self._crcs, np.uint32))
        widths = sum((offsets >> 7 * n > 0).astype(np.int64) for n in range(9))
        messages: list[bytes] = []
        for width in np.unique(widths).tolist():  # in order, since the offsets increase
            rows = widths == width
            matrix = self._matrix(shard, offsets[rows], crcs[rows], width)
            blob, length = matrix.tobytes(), matrix.shape[1]
            messages += [blob[at : at + length] for at in range(0, len(blob), length)]
        return messages

    def _matrix(
        self, shard: int, offsets: "np.ndarray", crcs: "np.ndarray", width: int
    ) -> "np.ndarray":
        """Return the entries of tensors at *offsets*, which take *width* bytes as varints."""
        import numpy as np

        begin = encode_head(self._spec.dtype, self._spec.shape) + number_field(3, shard)
        begin += b"\x20" if width else b""
        end = number_field(5, self.nbytes) + b"\x35"
        matrix = np.empty((len(offsets), len(begin) + width + len(end) + 4), np.uint8)
        matrix[:, : len(begin)] = np.frombuffer(begin, np.uint8)
        for byte in range(width):
            more = 0x80 if byte < width - 1 else 0
            matrix[:, len(begin) + byte] = offsets >> 7 * byte & 0x7F | more
        matrix[:, len(begin) + width : -4] = np.frombuffer(end, np.uint8)
        matrix[:, -4:] = crcs.astype("<u4").view(np.uint8).reshape(-1, 4)
        return matrix


class Ledger(dict[SpecKind, Kind]):
    """Every kind of tensor written so far to a data file, by dtype and shape."""

    def __missing__(self, what: SpecKind) -> Kind:
        kind = self[what] = Kind(*what)
        return kind
