"""The messages of a tensor bundle: its header and its entries.

    BundleHeaderProto   1 num_shards | 2 endianness (0 little, 1 big) | 3 version {2 min_consumer}
    BundleEntryProto    1 dtype | 2 shape {2 dim {1 size}} | 3 shard_id | 4 offset | 5 size
                        6 crc32c (four bytes, masked) | 7 slices (of a tensor stored in pieces)
    TensorSliceProto    1 extent {1 start | 2 length}; no length: all of the dimension

Fields that are zero are absent.
Source: TensorFlow 2.21, core/protobuf/tensor_bundle.proto, core/framework/{types,tensor_shape,
tensor_slice}.proto.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from ...binary.wire import (
    as_bytes,
    as_number,
    bytes_field,
    fields,
    number_field,
    read_varint,
    signed,
)
from ...errors import CorruptCheckpoint, UnsupportedCheckpoint
from ...spec import checked_nbytes

#: TensorFlow's DataType -> our name.  Quantized types are read as the integers they hold.
DTYPES = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "string",
    8: "complex64", 9: "int64", 10: "bool", 11: "int8", 12: "uint8", 13: "int32", 14: "bfloat16",
    15: "int16", 16: "uint16", 17: "uint16", 18: "complex128", 19: "float16", 22: "uint32",
    23: "uint64", 24: "float8_e5m2", 25: "float8_e4m3fn", 26: "float8_e4m3fnuz",
    27: "float8_e4m3b11fnuz", 28: "float8_e5m2fnuz", 29: "int4", 30: "uint4", 31: "int2",
    32: "uint2", 33: "float4_e2m1fn",
}  # fmt: skip
QUANTIZED = (11, 12, 13, 15, 16)
NUMBERS = {name: number for number, name in DTYPES.items() if number not in QUANTIZED}

#: What TensorFlow can store and this library cannot hold as an array.
OPAQUE = {20: "resource", 21: "variant"}

#: What the entries of arrays begin with.
ARRAY_HEADS = frozenset(bytes([8, number]) for number in DTYPES)

REFERENCE = 100  # added to the number of a type: a reference to one

VERSION = 1


@dataclass(frozen=True, slots=True)
class Header:
    """What a bundle says of itself."""

    shards: int
    big_endian: bool = False


class Slice(NamedTuple):
    """Part of a tensor: where it starts in each dimension, and its length there, -1 for all."""

    starts: tuple[int, ...]
    lengths: tuple[int, ...]


class Entry(NamedTuple):
    """What one tensor is and where its bytes are.  (A tuple: there may be a million.)"""

    dtype: str
    shape: tuple[int, ...]
    shard: int = 0
    offset: int = 0
    size: int = 0
    crc: int = 0
    slices: tuple[Slice, ...] = ()


def encode_header(header: Header) -> bytes:
    """Return *header* as TensorFlow writes it."""
    version = bytes_field(3, number_field(1, VERSION))
    return number_field(1, header.shards) + number_field(2, int(header.big_endian)) + version


def decode_header(message: bytes) -> Header:
    """Return the header in *message*; one that a newer TensorFlow must read is refused."""
    shards = endianness = min_consumer = 0
    for number, value in fields(message):
        if number == 1:
            shards = as_number(value, "the number of shards")
        elif number == 2:
            endianness = as_number(value, "the byte order")
        elif number == 3:
            version = dict(fields(as_bytes(value, "the version")))
            min_consumer = as_number(version.get(2, 0), "the version")
    if not 0 < shards < 1 << 31:
        raise CorruptCheckpoint(f"the header states {shards} shards")
    if endianness > 1:
        raise CorruptCheckpoint(f"the header states the byte order {endianness}, not 0 or 1")
    if min_consumer > VERSION:
        raise UnsupportedCheckpoint(
            f"the bundle asks for a reader of version {min_consumer}; this one knows {VERSION}"
        )
    return Header(shards, bool(endianness))


def encode_entry(entry: Entry) -> bytes:
    """Return *entry* as TensorFlow writes it; one in pieces has no place itself."""
    head = encode_head(entry.dtype, entry.shape)
    if entry.slices:
        return head + b"".join(bytes_field(7, encode_slice(piece)) for piece in entry.slices)
    return (
        head
        + number_field(3, entry.shard)
        + number_field(4, entry.offset)
        + number_field(5, entry.size)
        + b"\x35"
        + entry.crc.to_bytes(4, "little")
    )


def encode_slice(piece: Slice) -> bytes:
    """Return *piece* as TensorFlow writes it: nothing for a dimension taken whole."""
    return b"".join(
        bytes_field(1, number_field(1, start) + number_field(2, length) if length >= 0 else b"")
        for start, length in zip(piece.starts, piece.lengths, strict=True)
    )


@lru_cache(1024)
def encode_head(dtype: str, shape: tuple[int, ...]) -> bytes:
    """Return the fields of an entry that say what the tensor is."""
    dims = b"".join(bytes_field(2, number_field(1, size)) for size in shape)
    return number_field(1, NUMBERS[dtype]) + bytes_field(2, dims)


class Heads(dict[bytes, tuple[str, tuple[int, ...]]]):
    """Dtype and shape by the bytes that say them, parsed once for all entries that are alike."""

    def __missing__(self, head: bytes) -> tuple[str, tuple[int, ...]]:
        dtype, shape = 0, b""
        for number, value in fields(head):
            if number == 1:
                dtype = as_number(value, "a dtype")
            elif number == 2:
                shape += as_bytes(value, "a shape")
        parsed = self[head] = (dtype_called(dtype), decode_shape(shape))
        checked_nbytes(*parsed)
        return parsed


def head_end(message: bytes) -> int:
    """Return where dtype and shape, the first two fields, end; all of it if they are not first."""
    if len(message) > 3 and message[0] == 8 and message[2] == 0x12:
        end = 4 + message[3]
        if message[1] < 0x80 and message[3] < 0x80 and end <= len(message):
            return end
    return len(message)


def dtype_called(number: int) -> str:
    """Return our name for a DataType; a reference type is the type it refers to."""
    name = DTYPES.get(number - REFERENCE if number > REFERENCE else number)
    if name is None:
        known = OPAQUE.get(number)
        what = f"the dtype {known}" if known else f"dtype {number}, which is not known"
        raise UnsupportedCheckpoint(f"a tensor has {what}: it is no array")
    return name


def kind_of_no_array(message: bytes) -> str | None:
    """Return what the tensor of the entry *message* is when it is no array, else None.

    Numbers above all that are known here are a newer TensorFlow's; 0 is none, and a fault.
    """
    number = as_number(dict(fields(message)).get(1, 0), "a dtype")
    number -= REFERENCE if number > REFERENCE else 0
    if number in DTYPES or number == 0:
        return None
    return OPAQUE.get(number, f"dtype {number}")


def decode_shape(message: bytes) -> tuple[int, ...]:
    """Return the dimensions of a TensorShapeProto."""
    dims = []
    for number, value in fields(message):
        if number == 2:
            dim = dict(fields(as_bytes(value, "a dimension")))
            dims.append(signed(as_number(dim.get(1, 0), "a dimension")))
        elif number == 3 and value:
            raise CorruptCheckpoint("a tensor's rank is not known")
    return tuple(dims)


def decode_entry(message: bytes, heads: Heads) -> Entry:
    """Return the entry in *message*."""
    at, end = head_end(message), len(message)
    dtype, shape = heads[message[:at]]
    if at == end:  # the fields stand in another order, or there are no more
        return decode_place(message, dtype, shape)
    shard = offset = size = crc = 0
    while at < end:
        tag = message[at]
        if tag == 0x35 and at + 5 <= end:
            crc = int.from_bytes(message[at + 1 : at + 5], "little")
            at += 5
        elif tag == 0x20:
            offset, at = read_varint(message, at + 1)
        elif tag == 0x28:
            size, at = read_varint(message, at + 1)
        elif tag == 0x18:
            shard, at = read_varint(message, at + 1)
        else:
            return decode_place(message, dtype, shape)
    return Entry(dtype, shape, shard, offset, size, crc)


def decode_place(message: bytes, dtype: str, shape: tuple[int, ...]) -> Entry:
    """Return the entry in *message*, whatever fields it has and in whatever order."""
    numbers = dict.fromkeys((3, 4, 5, 6), 0)
    slices = []
    for number, value in fields(message):
        if number in numbers:
            numbers[number] = as_number(value, "a tensor's place")
        elif number == 7:
            slices.append(decode_slice(as_bytes(value, "a slice"), len(shape)))
    return Entry(dtype, shape, numbers[3], numbers[4], numbers[5], numbers[6], tuple(slices))


def decode_slice(message: bytes, rank: int) -> Slice:
    """Return the TensorSliceProto in *message*, of a tensor of *rank* dimensions."""
    starts, lengths = [], []
    for number, value in fields(message):
        if number == 1:
            extent = dict(fields(as_bytes(value, "an extent")))
            starts.append(signed(as_number(extent.get(1, 0), "an extent")))
            lengths.append(signed(as_number(extent.get(2, (1 << 64) - 1), "an extent")))
    if len(starts) != rank:
        raise CorruptCheckpoint(f"a slice has {len(starts)} dimensions, its tensor {rank}")
    return Slice(tuple(starts), tuple(lengths))
