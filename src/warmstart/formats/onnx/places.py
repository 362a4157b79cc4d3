"""Messages where they lie in a file: a field of bytes is a place, and nothing of it is read."""

from collections.abc import Iterator
from typing import NamedTuple

from ...binary.window import FileBytes
from ...binary.wire import BYTES, FIXED32, FIXED64, VARINT, read_varint
from ...errors import CorruptCheckpoint

HEAD = 20  # bytes that a tag takes at most, and the number or the length after it


class Place(NamedTuple):
    """The bytes from *begin* to *end* of a file; a message, a text, the values of a tensor."""

    file: FileBytes
    begin: int
    end: int

    @property
    def nbytes(self) -> int:
        """How many bytes there are."""
        return self.end - self.begin

    def raw(self) -> memoryview:
        """Return the bytes."""
        return self.file[self.begin : self.end]

    def text(self, what: str) -> str:
        """Return the bytes as text; *what* it is for."""
        try:
            return str(self.raw(), "utf-8")
        except UnicodeDecodeError as error:
            raise CorruptCheckpoint(f"{what} is not UTF-8: {bytes(self.raw()[:80])!r}") from error

    def fields(self) -> Iterator[tuple[int, "int | Place"]]:
        """Yield (field number, value) of a message: a place for bytes, else an unsigned number."""
        at = self.begin
        while at < self.end:
            number, kind, value, at = field_at(self.file, at)
            if kind == VARINT:
                if at > self.end:
                    raise CorruptCheckpoint(f"field {number} ends beyond its message")
                yield number, value
                continue
            if value > self.end - at:
                raise CorruptCheckpoint(
                    f"field {number} claims {value} bytes, where {self.end - at} are left"
                )
            place = Place(self.file, at, at + value)
            yield number, place if kind == BYTES else int.from_bytes(place.raw(), "little")
            at += value


def field_at(file: FileBytes, at: int) -> tuple[int, int, int, int]:
    """Return of the field at *at*: number, kind, its number or its length, where that ends."""
    head, base = (file, 0) if isinstance(file, memoryview) else (file[at : at + HEAD], at)
    tag, end = read_varint(head, at - base)
    number, kind = tag >> 3, tag & 7
    if kind in (VARINT, BYTES):
        value, end = read_varint(head, end)
        return number, kind, value, end + base
    if kind in (FIXED64, FIXED32):
        return number, kind, 8 if kind == FIXED64 else 4, end + base
    raise CorruptCheckpoint(f"field {number} of a message has the unknown kind {kind}")


def as_place(value: int | Place, what: str) -> Place:
    """Return *value*, refusing a number where bytes belong; *what* names the field."""
    if isinstance(value, int):
        raise CorruptCheckpoint(f"{what} is a number where bytes are expected")
    return value


def as_number(value: int | Place, what: str) -> int:
    """Return *value*, refusing bytes where a number belongs; *what* names the field."""
    if not isinstance(value, int):
        raise CorruptCheckpoint(f"{what} is bytes where a number is expected")
    return value
