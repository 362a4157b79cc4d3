"""Bytes in memory as h5py's driver for Python objects wants a file."""

from io import RawIOBase
from typing import Any


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
