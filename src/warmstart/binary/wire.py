"""Protocol buffers on the wire, without a schema: a message is fields one after another.

    varint key = number << 3 | kind | then by kind
        0  a varint              2  a varint n and n bytes (text, bytes, a message, packed numbers)
        1  8 bytes               5  4 bytes

Numbers are little-endian.  A varint holds 7 bits a byte, the lowest first, the high bit set on all
but the last.  Nothing is copied, so a large message costs only the fields that are looked into.
Source: https://protobuf.dev/programming-guides/encoding/.
"""

from collections.abc import Iterator

from ..errors import CorruptCheckpoint

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

Buffer = bytes | memoryview
Value = int | memoryview


def read_varint(data: Buffer, at: int) -> tuple[int, int]:
    """Return the varint that begins at byte *at* of *data*, and where it ends.

    >>> read_varint(bytes([0x96, 0x01]), 0)
    (150, 2)
    """
    value = shift = 0
    for end in range(at, min(at + 10, len(data))):
        byte = data[end]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, end + 1
        shift += 7
    raise CorruptCheckpoint(f"the varint at byte {at} of a message of {len(data)} does not end")


def signed(value: int) -> int:
    """Return a varint's value read as an int64.

    >>> signed(2**64 - 1), signed(7)
    (-1, 7)
    """
    return value - (1 << 64) if value >> 63 else value


def read_fields(data: Buffer) -> Iterator[tuple[int, Value]]:
    """Yield every field of a message as (number, value), in the order they stand.

    The value is an int for numbers (unsigned, see `signed`) and a view of the bytes otherwise.
    """
    view = memoryview(data)
    at, size = 0, len(view)
    while at < size:
        key, at = read_varint(view, at)
        value, at = read_value(view, at, key & 7)
        if key >> 3 == 0:
            raise CorruptCheckpoint("a field of a message has the number 0")
        yield key >> 3, value


def read_value(view: memoryview, at: int, kind: int) -> tuple[Value, int]:
    """Return the value of a field of *kind* that begins at byte *at*, and where it ends."""
    if kind == VARINT:
        return read_varint(view, at)
    if kind == BYTES:
        size, at = read_varint(view, at)
    elif kind in (FIXED32, FIXED64):
        size = 4 if kind == FIXED32 else 8
    else:
        raise CorruptCheckpoint(f"a field of a message has the unknown kind {kind}")
    if size > len(view) - at:
        raise CorruptCheckpoint(
            f"a field claims {size} bytes where {len(view) - at} of the message are left"
        )
    value = view[at : at + size]
    return (value if kind == BYTES else int.from_bytes(value, "little")), at + size


def text(value: Value) -> str:
    """Return a field's bytes as text."""
    if isinstance(value, int):
        raise CorruptCheckpoint("a field that should be text is a number")
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError as error:
        raise CorruptCheckpoint(f"a field is not UTF-8 text: {bytes(value[:40])!r}") from error


def message(value: Value) -> memoryview:
    """Return a field's bytes, which should be a message."""
    if isinstance(value, int):
        raise CorruptCheckpoint("a field that should be a message is a number")
    return value
