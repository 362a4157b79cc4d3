"""Zip archives: members found through the central directory, checked, and written in a stream.

    (local header | data)* | central directory | [zip64 end and its locator] | end record
    local header  = signature, 5 u16, 3 u32: crc, packed, size, 2 u16: lengths of | name | extra
    central entry = the same and where its local header is; it is the one that counts
    end record    = signature, 4 u16, 2 u32: size and offset of the directory, u16: length | comment

A field that is all ones stands in the zip64 extra (id 1) instead.  Written members are stored, with
fixed times, and padded (extra id 0xD935, as Android's zipalign does) so that they can be mapped.
Source: PKWARE APPNOTE.TXT 6.3.10.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from struct import Struct
from typing import NamedTuple

from ..errors import CorruptCheckpoint, UnsupportedCheckpoint
from .checksum import crc32
from .window import FileBytes, run_text

LOCAL = Struct("<4s5H3I2H")
CENTRAL = Struct("<4s6H3I5H2I")
END = Struct("<4s4H2IH")
END64 = Struct("<4sQ2H2I4Q")
LOCATOR = Struct("<4sIQI")

STORED, DEFLATED = 0, 8
ENCRYPTED, UTF8 = 0x1, 0x800
ZIP64_EXTRA, PADDING_EXTRA = 1, 0xD935
MAX_COMMENT = 65_535
MAX_NAME = 65_535
MAX_DEFLATE = 1032  # bytes that one byte can stand for; more is not deflate's doing
CHUNK = 1 << 20

#: From here on a size or an offset needs zip64; and so many members do.
ZIP64_LIMIT = 0xFFFFFFFF
ZIP64_COUNT = 0xFFFF


class Member(NamedTuple):
    """One member; its data are the bytes from `begin` to `end` of the archive."""

    name: str
    deflated: bool
    crc: int
    size: int  # unpacked
    header: int
    begin: int
    end: int


def read_members(file: FileBytes) -> list[Member]:
    """Return the members in the order of their data, which are proved not to overlap."""
    offset, size, count = find_directory(file)
    entries = bytes(file[offset : offset + size])
    members = [member_of(file, *entry) for entry in directory(entries, count)]
    members.sort(key=attrgetter("header"))
    end = 0
    for member in members:
        if member.header < end:
            raise CorruptCheckpoint(f"member {member.name!r} begins inside the one before it")
        end = member.end
    if end > offset:
        raise CorruptCheckpoint(f"the members end at byte {end}, inside the directory at {offset}")
    return members


def runs_between(file: FileBytes, members: Sequence[Member]) -> Iterator[str]:
    """Yield in words the runs of bytes that belong to no member and no record of the archive."""
    offset, _, _ = find_directory(file)
    end = 0
    for member in members:
        if member.header > end:
            yield run_text(file, end, member.header)
        end = member.end + descriptor_size(file, member)
    if offset > end:
        yield run_text(file, end, offset)
    comment = find_end(file) + END.size
    if comment < len(file):
        yield f"{run_text(file, comment, len(file))} (the comment of the archive)"


def descriptor_size(file: FileBytes, member: Member) -> int:
    """Return the bytes of the record after *member*, which archives written in a stream have.

    It repeats the checksum and both sizes, in 4 or 8 bytes each, with or without a signature.
    """
    found = bytes(file[member.end : member.end + 24])
    packed, crc = member.end - member.begin, member.crc.to_bytes(4, "little")
    for start, width in ((b"PK\7\x08", 8), (b"PK\7\x08", 4), (b"", 8), (b"", 4)):
        record = start + crc + (packed % 2 ** (8 * width)).to_bytes(width, "little")
        if found.startswith(record):
            return len(record) + width
    return 0


def find_directory(file: FileBytes) -> tuple[int, int, int]:
    """Return the offset of the central directory, its size and how many members it lists."""
    end = find_end(file)
    _, disk, first_disk, here, count, size, offset, _ = END.unpack(file[end : end + END.size])
    locator = end - LOCATOR.size
    if locator >= 0 and bytes(file[locator : locator + 4]) == b"PK\6\7":
        _, _, end, _ = LOCATOR.unpack(file[locator : locator + LOCATOR.size])
        if end > locator - END64.size or bytes(file[end : end + 4]) != b"PK\6\6":
            raise CorruptCheckpoint(
                f"the zip64 end record is not at byte {end}, as its locator says"
            )
        record = END64.unpack(file[end : end + END64.size])
        _, length, _, _, disk, first_disk, here, count, size, offset = record
        if end + 12 + length != locator:
            raise CorruptCheckpoint(f"the zip64 end record has {length} bytes and does not fit")
    if disk or first_disk or here != count:
        raise UnsupportedCheckpoint("the zip archive is split over several files")
    if offset + size != end:
        raise CorruptCheckpoint(
            f"the zip directory lies at bytes {offset} to {offset + size}, not before byte {end}"
        )
    return offset, size, count


def find_end(file: FileBytes) -> int:
    """Return the offset of the end record: the last whose comment ends where the file does."""
    start = max(len(file) - END.size - MAX_COMMENT, 0)
    tail = bytes(file[start:])
    at = tail.rfind(b"PK\5\6")
    while at >= 0:
        if (
            at + END.size
            <= len(tail)
            == at + END.size + int.from_bytes(tail[at + 20 : at + 22], "little")
        ):
            return start + at
        at = tail.rfind(b"PK\5\6", 0, at)
    raise CorruptCheckpoint("the zip archive has no end record: it was cut short, or is none")


def directory(entries: bytes, count: int) -> Iterator[tuple[tuple[int, ...], bytes, bytes]]:
    """Yield fields, name and extra of each of *count* entries, which are all there is."""
    at = 0
    for _ in range(count):
        if at + CENTRAL.size > len(entries) or not entries.startswith(b"PK\1\2", at):
            raise CorruptCheckpoint(f"the zip directory has no entry at its byte {at}")
        fields = CENTRAL.unpack_from(entries, at)
        name_length, extra_length, comment_length = fields[10:13]
        name = at + CENTRAL.size
        extra = name + name_length
        at = extra + extra_length + comment_length
        if at > len(entries):
            raise CorruptCheckpoint("the zip directory ends inside an entry")
        yield fields, entries[name:extra], entries[extra : extra + extra_length]
    if at != len(entries):
        raise CorruptCheckpoint(
            f"the zip directory has {len(entries)} bytes; its entries take {at}"
        )


def member_of(file: FileBytes, fields: tuple[int, ...], raw_name: bytes, extra: bytes) -> Member:
    """Return the member of one directory entry, checked against its local header."""
    _, _, _, flags, method, _, _, crc, packed, size, *_, header = fields
    name = text_of(raw_name, flags)
    if flags & ENCRYPTED:
        raise UnsupportedCheckpoint(f"member {name!r} is encrypted")
    if method not in (STORED, DEFLATED):
        raise UnsupportedCheckpoint(
            f"member {name!r} is compressed by method {method}; only 0 and 8 are read"
        )
    if 0xFFFFFFFF in (size, packed, header):
        size, packed, header = real_sizes(name, (size, packed, header), extra)
    local = bytes(file[header : header + LOCAL.size + len(raw_name)])
    if len(local) < LOCAL.size or not local.startswith(b"PK\3\4"):
        raise CorruptCheckpoint(f"member {name!r} has no local header at byte {header}")
    *_, name_length, extra_length = LOCAL.unpack_from(local)
    if name_length != len(raw_name) or not local.endswith(raw_name):
        raise CorruptCheckpoint(f"member {name!r} has another name in its local header")
    begin = header + LOCAL.size + name_length + extra_length
    if begin + packed > len(file):
        raise CorruptCheckpoint(f"member {name!r} claims {packed} bytes from byte {begin} on")
    if size > packed * MAX_DEFLATE or (method == STORED and size != packed):
        raise CorruptCheckpoint(f"member {name!r} claims {size} bytes out of {packed}")
    return Member(name, method == DEFLATED, crc, size, header, begin, begin + packed)


def text_of(raw_name: bytes, flags: int) -> str:
    """Return a member's name, which is UTF-8 or, in old archives, code page 437."""
    try:
        return raw_name.decode("utf-8" if flags & UTF8 else "cp437")
    except UnicodeDecodeError as error:
        raise CorruptCheckpoint(f"the member name {raw_name!r} is not UTF-8") from error


def real_sizes(name: str, fields: tuple[int, int, int], extra: bytes) -> list[int]:
    """Return size, packed size and offset, from the zip64 extra where a field is all ones."""
    wide = zip64_values(extra)
    values = [next(wide, None) if field == 0xFFFFFFFF else field for field in fields]
    if None in values:
        raise CorruptCheckpoint(f"member {name!r} has no zip64 sizes where they are needed")
    return [value for value in values if value is not None]


def zip64_values(extra: bytes) -> Iterator[int]:
    """Yield the 64-bit numbers of the zip64 extra, if *extra* has one."""
    at = 0
    while at + 4 <= len(extra):
        kind = int.from_bytes(extra[at : at + 2], "little")
        end = at + 4 + int.from_bytes(extra[at + 2 : at + 4], "little")
        if kind == ZIP64_EXTRA:
            for place in range(at + 4, min(end, len(extra)) - 7, 8):
                yield int.from_bytes(extra[place : place + 8], "little")
        at = end


def inflated(packed: memoryview, size: int) -> Iterator[bytes]:
    """Yield what *packed* deflates from, a piece at a time, refusing all but *size* bytes."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for at in range(0, len(packed), CHUNK):
            piece = bytes(packed[at : at + CHUNK])
            while piece and not stream.eof:
                out = stream.decompress(piece, CHUNK)
                piece = stream.unconsumed_tail
                size -= len(out)
                if size < 0:
                    raise CorruptCheckpoint("the compressed data unpack to more than they claim")
                yield out
        out = stream.flush()
    except zlib.error as error:
        raise CorruptCheckpoint("the compressed data are broken") from error
    yield out
    if size != len(out) or not stream.eof:
        raise CorruptCheckpoint(f"the compressed data unpack to {size - len(out)} bytes too few")


def member_bytes(file: FileBytes, member: Member) -> memoryview:
    """Return the bytes of *member*: a view of the file, or unpacked into new memory."""
    packed = file[member.begin : member.end]
    if not member.deflated:
        return packed
    import numpy as np

    try:
        whole = np.empty(member.size, np.uint8).data
    except MemoryError as error:
        raise UnsupportedCheckpoint(f"{member.size} bytes do not fit into memory") from error
    at = 0
    for piece in inflated(packed, member.size):
        whole[at : at + len(piece)] = piece
        at += len(piece)
    return whole


class ZipWriter:
    """An archive written from front to back; the data of each member begin at a multiple of 64."""

    def __init__(self, write: Callable[[bytes | memoryview], None]) -> None:
        self._write = write
        self._end = 0
        self._entries: list[bytes] = []

    def add(self, name: str, head: bytes, body: memoryview) -> None:
        """Store a member: *head* and then *body*."""
        raw_name = name.encode()
        size = len(head) + body.nbytes
        crc = crc32(body, crc32(head))
        flags = 0 if name.isascii() else UTF8
        header = self._end
        wide = zip64_extra([size, size]) if size >= ZIP64_LIMIT else b""
        extra = wide + padding(header + LOCAL.size + len(raw_name) + len(wide))
        common = (45 if wide else 20, flags, STORED, 0, 0x21, crc)  # 0x21: the first day of 1980
        short = min(size, 0xFFFFFFFF) if not wide else 0xFFFFFFFF
        local = LOCAL.pack(b"PK\3\4", *common, short, short, len(raw_name), len(extra))
        for part in (local + raw_name + extra + head, body):
            self._write(part)
            self._end += len(part)
        self._entries.append(central_entry(common, raw_name, size, header))

    def finish(self) -> None:
        """Write the directory; without it there is no archive."""
        entries = b"".join(self._entries)
        self._write(entries + end_records(len(self._entries), len(entries), self._end))


def zip64_extra(values: list[int]) -> bytes:
    """Return the extra field of the 64-bit *values*."""
    data = b"".join(value.to_bytes(8, "little") for value in values)
    return ZIP64_EXTRA.to_bytes(2, "little") + len(data).to_bytes(2, "little") + data


def padding(position: int) -> bytes:
    """Return an extra field that moves *position* to a multiple of 64."""
    gap = -position % 64
    if gap == 0:
        return b""
    gap += 64 if gap < 6 else 0  # its own header takes 4 bytes, the alignment 2
    return Struct("<3H").pack(PADDING_EXTRA, gap - 4, 64) + bytes(gap - 6)


def central_entry(common: tuple[int, ...], raw_name: bytes, size: int, header: int) -> bytes:
    """Return the directory's entry for a stored member."""
    large = [size, size] if size >= ZIP64_LIMIT else []
    far = [header] if header >= ZIP64_LIMIT else []
    extra = zip64_extra(large + far) if large or far else b""
    short = 0xFFFFFFFF if large else size
    numbers = (short, short, len(raw_name), len(extra), 0, 0, 0, 0o600 << 16)
    place = 0xFFFFFFFF if far else header
    made_by = 3 << 8 | 45  # Unix
    return CENTRAL.pack(b"PK\1\2", made_by, *common, *numbers, place) + raw_name + extra


def end_records(count: int, size: int, offset: int) -> bytes:
    """Return what ends the archive, with zip64 records where the numbers ask for them."""
    wide = b""
    if count >= ZIP64_COUNT or max(size, offset) >= ZIP64_LIMIT:
        record = (b"PK\6\6", END64.size - 12, 45, 45, 0, 0, count, count, size, offset)
        wide = END64.pack(*record) + LOCATOR.pack(b"PK\6\7", 0, offset + size, 1)
        count, size, offset = 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF
    return wide + END.pack(b"PK\5\6", 0, 0, count, count, size, offset, 0)
