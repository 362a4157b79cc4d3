"""Protocol buffers on the wire, without schemas.

    message = (tag value)*       tag = number << 3 | kind, a varint
    kind 0 varint | 1 eight bytes | 2 length, bytes | 5 four bytes

Source: https://protobuf.dev/programming-guides/encoding/.
"""

from collections.abc import Iterator
from typing import TypeVar

from ..errors import CorruptCheckpoint

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

#: Bytes, or a view of a file: parts of a message are then views too, and not copied.
Wire = TypeVar("Wire", bytes, memoryview)


def read_varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """Return the varint at *at* in *data*, and where it ends.

    >>> read_varint(b"\\xac\\x02", 0)
    (300, 2)
    """
    if at < len(data) and data[at] < 0x80:  # most are of one byte: this is twice as fast
        return data[at], at + 1
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise CorruptCheckpoint(f"a number is cut off at byte {at}, where its bytes end")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise CorruptCheckpoint(f"a number takes more than 10 bytes, before byte {at}")


def varint(value: int) -> bytes:
    """Return *value*, not negative, as a varint.

    >>> varint(300)
    b'\\xac\\x02'
    """
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def signed(value: int) -> int:
    """Return a varint that was read as the int64 that it stands for."""
    return value - (1 << 64) if value >> 63 else value


def fields(message: Wire) -> Iterator[tuple[int, int | Wire]]:
    """Yield (field number, value) of *message*: bytes for kind 2, else an unsigned number."""
    at = 0
    while at < len(message):
        tag, at = read_varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            value, at = read_varint(message, at)
            yield number, value
            continue
        if kind == BYTES:
            size, at = read_varint(message, at)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise CorruptCheckpoint(f"field {number} of a message has the unknown kind {kind}")
        if size > len(message) - at:
            left = len(message) - at
            raise CorruptCheckpoint(f"field {number} claims {size} bytes, where {left} are left")
        raw = message[at : at + size]
        yield number, raw if kind == BYTES else int.from_bytes(raw, "little")
        at += size


def number_field(number: int, value: int) -> bytes:
    """Return a varint field; nothing for 0, which is what an absent one means."""
    return varint(number << 3 | VARINT) + varint(value) if value else b""


def bytes_field(number: int, value: bytes) -> bytes:
    """Return a field of bytes, text or a message."""
    return varint(number << 3 | BYTES) + varint(len(value)) + value


def as_number(value: int | bytes | memoryview, what: str) -> int:
    """Return *value*, refusing bytes where a number belongs; *what* names the field."""
    if not isinstance(value, int):
        raise CorruptCheckpoint(f"{what} is bytes where a number is expected")
    return value


def as_bytes(value: int | Wire, what: str) -> Wire:
    """Return *value*, refusing a number where bytes belong; *what* names the field."""
    if isinstance(value, int):
        raise CorruptCheckpoint(f"{what} is a number where bytes are expected")
    return value


def messages(data: bytes, number: int) -> Iterator[bytes]:
    """Yield the values of a repeated field of a message."""
    return (as_bytes(v, f"field {number}") for n, v in fields(data) if n == number)


def texts(data: bytes, number: int) -> list[str]:
    """Return the values of a repeated field of text."""
    return [as_text(value, number) for value in messages(data, number)]


def text(data: bytes, number: int) -> str:
    """Return a field of text, "" if it is not set."""
    return (texts(data, number) or [""])[-1]


def as_text(value: int | bytes, number: int) -> str:
    """Return *value*, that of field *number*, as the text it must be."""
    try:
        return str(as_bytes(value, f"field {number}"), "utf-8")
    except UnicodeDecodeError as error:
        raise CorruptCheckpoint(f"field {number} of a message is not UTF-8 text") from error
