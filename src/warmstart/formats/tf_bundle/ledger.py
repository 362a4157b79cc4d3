"""What has been written of a bundle, until its index is made.

Tensors of one kind, the same dtype and shape, have entries that differ only in their place: many
of them are encoded as the rows of a matrix, just as `bulk` decodes them.
"""

from typing import TYPE_CHECKING

from ...binary.checksum import mask
from ...binary.wire import number_field
from ...spec import NUMPY_NAMES, checked_nbytes, numpy_dtype
from .protos import Entry, encode_entry, encode_head

if TYPE_CHECKING:
    import numpy as np

#: Fewer entries of a kind than this are encoded as fast one by one.
MANY = 16


class Kind:
    """The tensors written so far that have one dtype, of fixed size, and one shape."""

    def __init__(self, dtype: str, shape: tuple[int, ...]) -> None:
        native = numpy_dtype(dtype)
        self.dtype = native.newbyteorder("<") if dtype in NUMPY_NAMES else native
        self.nbytes = checked_nbytes(dtype, shape)
        self._what = dtype, shape
        self._keys: list[str] = []
        self._offsets: list[int] = []
        self._crcs: list[int] = []  # masked

    def add(self, key: str, offset: int, crc: int) -> None:
        """Note that the tensor *key* lies at *offset*; *crc* is its checksum, not yet masked."""
        self._keys.append(key)
        self._offsets.append(offset)
        self._crcs.append(mask(crc))

    def encoded(self) -> dict[str, bytes]:
        """Return the entries by key."""
        if len(self._keys) >= MANY:
            messages = self._encoded_together()
        else:
            messages = [
                encode_entry(Entry(*self._what, 0, offset, self.nbytes, crc))
                for offset, crc in zip(self._offsets, self._crcs, strict=True)
            ]
        return dict(zip(self._keys, messages, strict=True))

    def _encoded_together(self) -> list[bytes]:
        """Return the entries; those whose offset takes equally many bytes make one matrix."""
        import numpy as np

        offsets, crcs = np.array(self._offsets, np.int64), np.array(self._crcs, "<u4")
        widths = sum((offsets >> 7 * n > 0).astype(np.int64) for n in range(9))
        messages = [b""] * len(offsets)
        for width in np.unique(widths).tolist():
            rows = np.flatnonzero(widths == width)
            blob = self._matrix(offsets[rows], crcs[rows], width).tobytes()
            length = len(blob) // len(rows)
            for number, row in enumerate(rows.tolist()):
                messages[row] = blob[number * length : (number + 1) * length]
        return messages

    def _matrix(self, offsets: "np.ndarray", crcs: "np.ndarray", width: int) -> "np.ndarray":
        """Return the entries of tensors at *offsets*, which take *width* bytes as varints."""
        import numpy as np

        begin = encode_head(*self._what) + (b"\x20" if width else b"")
        end = number_field(5, self.nbytes) + b"\x35"
        matrix = np.empty((len(offsets), len(begin) + width + len(end) + 4), np.uint8)
        matrix[:, : len(begin)] = np.frombuffer(begin, np.uint8)
        for byte in range(width):
            more = 0x80 if byte < width - 1 else 0
            matrix[:, len(begin) + byte] = offsets >> 7 * byte & 0x7F | more
        matrix[:, len(begin) + width : -4] = np.frombuffer(end, np.uint8)
        matrix[:, -4:] = crcs.view(np.uint8).reshape(-1, 4)
        return matrix


class Ledger(dict[tuple[str, tuple[int, ...]], Kind]):
    """Every kind of tensor written so far, by dtype and shape."""

    def __missing__(self, what: tuple[str, tuple[int, ...]]) -> Kind:
        kind = self[what] = Kind(*what)
        return kind
