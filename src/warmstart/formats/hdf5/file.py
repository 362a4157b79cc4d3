"""Files as h5py's driver for Python objects wants them: over bytes in memory, and for writing."""

from io import FileIO, RawIOBase
from typing import Any

from ...binary.atomic import write_fully


class Readable(RawIOBase):
    """Bytes as a file that is only read."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, len(self._data))[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, room: Any) -> int:
        piece = self._data[self._at : self._at + len(room)]
        room[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


class Writable(RawIOBase):
    """A new file; the first error of the disk is kept in `error`, and the rest written nowhere.

    HDF5 tries to write again when it closes a file, and an exception in the midst of that crashes.
    """

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, room: Any) -> int:
        return self._file.readinto(room) or 0

    def write(self, data: Any) -> int:
        nbytes = memoryview(data).nbytes
        try:
            if self.error is None:
                write_fully(self._file, bytes(data))
        except OSError as error:
            self.error = error
        return nbytes

    def truncate(self, size: int | None = None) -> int:
        try:
            return self._file.truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def flush(self) -> None:
        """Do nothing: the file has no buffer."""
