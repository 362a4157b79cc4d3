"""The bytes of a file by place: `file[begin:end]` is a memoryview, `len(file)` its size.

    file = file_bytes(path)                 # mapped: a slice is a view, read when looked at
    file = file_bytes(path, mmap=False)     # plain: a slice is read into memory of its own

Plain reads are for file systems on which mapping is slow or unsafe (a network's); there a reader
should take a header as one slice, and each tensor as one.
"""

import io
import mmap
import os
import stat
import weakref
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import CheckpointError, CheckpointNotFound, CorruptCheckpoint
from .mapped import map_file
from .remote import hole_at

#: Slices up to this size come out of a block that is kept: a directory is read in small steps.
SMALL = 1 << 16
BLOCK = 1 << 18
#: Slices from this size on are read by several threads.
LARGE = 8 << 20
THREADS = 4
#: Bytes shown of a run that nothing accounts for.
SHOWN = 16


class PlainFile:
    """A file that is read, not mapped; it stays readable when it is replaced or removed."""

    def __init__(self, path: Path) -> None:
        self._hole = hole_at(path)
        path = path if self._hole is None else self._hole.content
        try:
            self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        except FileNotFoundError as error:
            raise CheckpointNotFound(f"{path} is not there") from error
        weakref.finalize(self, os.close, self._descriptor)
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise CheckpointError(f"{path} cannot be read: it is no regular file")
        self._path = path
        self._size = status.st_size
        self._block = (0, memoryview(b""))  # one value: threads may look while another changes it

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> memoryview:
        """Return the bytes of *part*, cut to the file's size as a slice of bytes is."""
        begin, end, _ = part.indices(self._size)
        nbytes = max(end - begin, 0)
        if nbytes > SMALL:
            return self._read(begin, nbytes)
        start, block = self._block
        if not start <= begin <= begin + nbytes <= start + len(block):
            start, block = begin, self._read(begin, min(BLOCK, self._size - begin))
            self._block = (start, block)
        return block[begin - start : begin - start + nbytes]

    def _read(self, begin: int, nbytes: int) -> memoryview:
        if nbytes <= 0:
            return memoryview(b"")
        whole = memoryview(mmap.mmap(-1, nbytes) if nbytes > SMALL else bytearray(nbytes))
        if nbytes < LARGE:
            self._fill(whole, begin)
            return whole.toreadonly()
        from concurrent.futures import ThreadPoolExecutor  # 4 ms, which a listing does without

        step = -(-nbytes // THREADS)
        with ThreadPoolExecutor(THREADS) as pool:
            places = range(0, nbytes, step)
            list(pool.map(lambda at: self._fill(whole[at : at + step], begin + at), places))
        return whole.toreadonly()

    def _fill(self, room: memoryview, begin: int) -> None:
        """Fill *room* from the file's byte *begin* on."""
        if self._hole is not None:
            self._hole.fetch(begin, begin + len(room))
        done = 0
        while done < len(room):
            n = os.preadv(self._descriptor, [room[done:]], begin + done)
            if n == 0:
                raise CorruptCheckpoint(
                    f"{self._path} ends at byte {begin + done}; it had {self._size} when opened"
                )
            done += n


FileBytes = memoryview | PlainFile


def file_bytes(path: Path, *, mmap: bool = True) -> FileBytes:
    """Return the bytes of *path*, mapped or to be read; see the module.

    Of a remote file only the bytes that are looked at are fetched, so it is never mapped.
    """
    return memoryview(map_file(path)) if mmap and hole_at(path) is None else PlainFile(path)


class Stream(io.RawIOBase):
    """A file to be read from its beginning on, or from where one seeks to."""

    def __init__(self, file: FileBytes) -> None:
        self._file = file
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_CUR: self._at, os.SEEK_END: len(self._file)}.get(whence, 0)
        return self._at

    def readinto(self, room: Any) -> int:
        found = self._file[self._at : self._at + len(room)]
        room[: len(found)] = found
        self._at += len(found)
        return len(found)


def opened(path: Path) -> BinaryIO:
    """Return *path* opened for reading, of a remote file without fetching all of it."""
    if hole_at(path) is None:
        return path.open("rb")
    return io.BufferedReader(Stream(PlainFile(path)))


def run_text(file: FileBytes, begin: int, end: int) -> str:
    """Return in words which bytes of *file* lie from *begin* to *end*.

    >>> run_text(memoryview(b"0123456789"), 2, 5)
    "bytes 2 to 5, which begin b'234'"
    """
    start = bytes(file[begin : min(end, begin + SHOWN)])
    return f"bytes {begin} to {end}, which begin {start!r}"
