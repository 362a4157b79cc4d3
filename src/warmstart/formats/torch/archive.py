"""Writing the zip archive of a PyTorch file, byte for byte as PyTorch lays it out.

    archive/data.pkl                the pickle; storages in it are numbers
    archive/.format_version         "1"
    archive/.storage_alignment      "64"
    archive/byteorder               "little"
    archive/data/0, data/1, ...     the storages, in the order of the pickle
    archive/version                 "3\\n"
    archive/.data/serialization_id  40 digits that tell files apart

    local header: crc and sizes 0 | name | [zip64 extra] | extra "FB", filled with "Z" up to 64
    data | descriptor: "PK\\7\\8", crc, size twice, in 4 bytes each or 8 for a large or far member

PyTorch can reckon where each storage begins from the sizes alone, so not only what the directory
says but every length counts.  The folder is called as when PyTorch writes to a stream: after its
file it would be wrong as soon as the file is renamed.
Source: PyTorch 2.13, caffe2/serialize/inline_container.cc, third_party/miniz-3.0.2/miniz.c.
"""

from hashlib import sha256
from struct import pack

from ...binary.checksum import crc32
from ...binary.stream import Stream
from ...binary.zip import (
    CENTRAL,
    END,
    END64,
    LOCAL,
    LOCATOR,
    UTF8,
    ZIP64_COUNT,
    ZIP64_LIMIT,
    zip64_extra,
)
from ..arrays import Buffer
from .zipped import NOTE

FOLDER = "archive"
ALIGNMENT = 64
DESCRIBED = 0x8  # sizes and checksum stand behind the data


class TorchArchive:
    """The archive, written from front to back; PyTorch reads only the members it knows."""

    def __init__(self, stream: Stream, pickle: bytes) -> None:
        self._stream = stream
        self._start = stream.position
        self._directory: list[bytes] = []
        self._identity = sha256()
        self._storages = 0
        self._add("data.pkl", pickle)
        self._add(".format_version", b"1")
        self._add(".storage_alignment", str(ALIGNMENT).encode())
        self._add("byteorder", b"little")

    def add_storage(self, data: Buffer) -> None:
        """Append the next storage, whose number is that of those before it."""
        self._add(f"data/{self._storages}", data)
        self._storages += 1

    def finish(self, note: str | None = None) -> None:
        """Append the *note* and what ends the archive."""
        self._add("version", b"3\n")
        number = int.from_bytes(self._identity.digest()) % 10**40
        self._add(".data/serialization_id", b"%040d" % number)
        if note is not None:
            self._add(NOTE, note.encode())
        offset = self._stream.position - self._start
        entries = b"".join(self._directory)
        self._stream.write(entries)
        self._stream.write(end_records(len(self._directory), len(entries), offset))

    def _add(self, name: str, data: Buffer) -> None:
        raw_name = f"{FOLDER}/{name}".encode()
        size = memoryview(data).nbytes
        header = self._stream.position - self._start
        wide = zip64_extra([n for n in (size, size, header) if n >= ZIP64_LIMIT])
        wide = wide if len(wide) > 4 else b""
        flags = UTF8 | DESCRIBED if size else UTF8
        extra = wide + padding(header + LOCAL.size + len(raw_name) + len(wide))
        local = LOCAL.pack(b"PK\3\4", 0, flags, 0, 0, 0, 0, 0, 0, len(raw_name), len(extra))
        self._stream.write(local + raw_name + extra)
        crc = self._stream.write_beside(data, crc32)
        if size:
            far = size >= ZIP64_LIMIT or header >= ZIP64_LIMIT
            self._stream.write(pack("<4sI2Q" if far else "<4s3I", b"PK\7\b", crc, size, size))
        self._identity.update(raw_name + pack("<I", crc))
        place = (crc, min(size, ZIP64_LIMIT), min(header, ZIP64_LIMIT))
        self._directory.append(central_entry(flags, place, raw_name, wide))


def padding(position: int) -> bytes:
    """Return the extra field that moves *position* to a multiple of 64."""
    gap = -(position + 4) % ALIGNMENT
    return b"FB" + gap.to_bytes(2, "little") + b"Z" * gap


def central_entry(flags: int, place: tuple[int, int, int], raw_name: bytes, wide: bytes) -> bytes:
    """Return the directory's entry of a member with its *place*: crc, size and offset."""
    crc, size, header = place
    lengths = (len(raw_name), len(wide), 0)
    numbers = (0, 0, flags, 0, 0, 0, crc, size, size, *lengths, 0, 0, 0, header)
    return CENTRAL.pack(b"PK\1\2", *numbers) + raw_name + wide


def end_records(count: int, size: int, offset: int) -> bytes:
    """Return what ends the archive; the zip64 records are always there."""
    made_by = 3 << 8 | 30
    record = (b"PK\6\6", END64.size - 12, made_by, 45, 0, 0, count, count, size, offset)
    wide = END64.pack(*record) + LOCATOR.pack(b"PK\6\7", 0, offset + size, 1)
    count, size, offset = min(count, ZIP64_COUNT), min(size, ZIP64_LIMIT), min(offset, ZIP64_LIMIT)
    return wide + END.pack(b"PK\5\6", 0, 0, count, count, size, offset, 0)
