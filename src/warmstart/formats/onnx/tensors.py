"""One tensor of a model: its description, checked for what can be seen without its values."""

from dataclasses import dataclass
from typing import NamedTuple

from ...binary.wire import read_varint, signed
from ...errors import CorruptCheckpoint, UnsupportedCheckpoint
from ...spec import TensorSpec, checked_nbytes
from ..sharded import stays_inside
from .places import Place, as_number, as_place

#: Numbers of fields.
SIZES, TYPE, SEGMENT, FLOATS, INT32S, STRINGS, INT64S, NAME, RAW, DOUBLES, UINT64S = range(1, 12)
EXTERNAL, LOCATION = 13, 14


class Type(NamedTuple):
    """A type of elements: its bits in the bytes of a tensor, or else the field with its numbers."""

    dtype: str
    bits: int
    field: int


TYPES: dict[int, Type] = {
    1: Type("float32", 32, FLOATS),
    2: Type("uint8", 8, INT32S),
    3: Type("int8", 8, INT32S),
    4: Type("uint16", 16, INT32S),
    5: Type("int16", 16, INT32S),
    6: Type("int32", 32, INT32S),
    7: Type("int64", 64, INT64S),
    8: Type("string", 0, STRINGS),
    9: Type("bool", 8, INT32S),
    10: Type("float16", 16, INT32S),
    11: Type("float64", 64, DOUBLES),
    12: Type("uint32", 32, UINT64S),
    13: Type("uint64", 64, UINT64S),
    14: Type("complex64", 64, FLOATS),
    15: Type("complex128", 128, DOUBLES),
    16: Type("bfloat16", 16, INT32S),
    17: Type("float8_e4m3fn", 8, INT32S),
    18: Type("float8_e4m3fnuz", 8, INT32S),
    19: Type("float8_e5m2", 8, INT32S),
    20: Type("float8_e5m2fnuz", 8, INT32S),
    21: Type("uint4", 4, INT32S),
    22: Type("int4", 4, INT32S),
    23: Type("float4_e2m1fn", 4, INT32S),
    24: Type("float8_e8m0fnu", 8, INT32S),
    25: Type("uint2", 2, INT32S),
    26: Type("int2", 2, INT32S),
    27: Type("float6_e2m3fn", 6, INT32S),
    28: Type("float6_e3m2fn", 6, INT32S),
}


@dataclass(frozen=True, slots=True)
class External:
    """Where values lie outside of the model: a file beside it, and bytes in that."""

    file: str
    begin: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor: its message, and its bytes if it has such and not numbers in a field."""

    spec: TensorSpec
    type: Type
    place: Place
    raw: Place | External | None

    @property
    def packed(self) -> int:
        """Bytes of the elements, side by side."""
        return -(-self.spec.size * self.type.bits // 8)


def name_of(place: Place) -> str:
    """Return the name of the tensor at *place*."""
    names = [v for n, v in place.fields() if n == NAME]
    return as_place(names[-1], "the name of a tensor").text("the name of a tensor") if names else ""


def parse_tensor(name: str, place: Place) -> Tensor:
    """Return the tensor at *place* under *name*, proved to have as many bytes as it must."""
    sizes: list[int] = []
    external: dict[str, str] = {}
    number = numbers_nbytes = location = 0
    raw = None
    for field, value in place.fields():
        if field == SIZES:
            sizes += [value] if isinstance(value, int) else numbers_in(value)
        elif field == TYPE:
            number = as_number(value, "the type of a tensor")
        elif field == RAW:
            raw = as_place(value, "the bytes of a tensor")
        elif field == EXTERNAL:
            external |= entry(as_place(value, "a place of external data"))
        elif field == LOCATION:
            location = as_number(value, "the location of a tensor")
        elif field == SEGMENT:
            raise UnsupportedCheckpoint(f"{name!r} is a segment of a tensor, which is not read")
        elif field in (FLOATS, INT32S, STRINGS, INT64S, DOUBLES, UINT64S):
            numbers_nbytes += value.nbytes if isinstance(value, Place) else 8
    if number not in TYPES:
        raise UnsupportedCheckpoint(
            f"{name!r} has the unknown type {number}; known are 1 to {max(TYPES)}"
        )
    type_, shape = TYPES[number], tuple(map(signed, sizes))
    checked_nbytes(type_.dtype, shape)
    tensor = Tensor(TensorSpec(name, type_.dtype, shape), type_, place, raw)
    if location:
        return Tensor(tensor.spec, type_, place, parse_external(tensor, external))
    refuse_wrong_size(tensor, raw, numbers_nbytes)
    return tensor


def refuse_wrong_size(tensor: Tensor, raw: Place | None, numbers_nbytes: int) -> None:
    """Refuse a tensor that claims more, or less, than the bytes that are there."""
    spec, type_ = tensor.spec, tensor.type
    if type_.bits == 0 and raw is not None:
        raise CorruptCheckpoint(f"{spec.name!r} has strings in its bytes, which cannot be")
    if raw is not None and raw.nbytes != tensor.packed:
        raise CorruptCheckpoint(
            f"{spec.name!r} has {raw.nbytes} bytes; {spec} takes {tensor.packed}"
        )
    exact = type_.field in (FLOATS, DOUBLES)  # else each takes a byte at least
    least = tensor.packed if exact else spec.size * min(type_.bits or 8, 8) // 8
    if raw is None and numbers_nbytes < least:
        raise CorruptCheckpoint(
            f"{spec.name!r} has {numbers_nbytes} bytes of numbers; {spec} takes at least {least}"
        )


def numbers_in(place: Place) -> list[int]:
    """Return the numbers of a packed field."""
    raw, at, found = bytes(place.raw()), 0, []
    while at < len(raw):
        value, at = read_varint(raw, at)
        found.append(value)
    return found


def entry(place: Place) -> dict[str, str]:
    """Return a pair of texts as a dict."""
    parts = {n: as_place(v, "an entry").text("an entry") for n, v in place.fields() if n in (1, 2)}
    return {parts.get(1, ""): parts.get(2, "")}


def parse_external(tensor: Tensor, external: dict[str, str]) -> External:
    """Return where the values of *tensor* lie; a model must not name other people's files."""
    name = tensor.spec.name
    file = external.get("location", "")
    if not stays_inside(file):
        raise CorruptCheckpoint(f"{name!r} lies outside the folder of the model: {file!r}")
    numbers = {key: external.get(key, "0") for key in ("offset", "length")}
    wrong = [f"{key} {text!r}" for key, text in numbers.items() if not is_number(text)]
    if wrong:
        raise CorruptCheckpoint(f"{name!r} lies at no place in {file}: {', '.join(wrong)}")
    if "length" in external and int(numbers["length"]) != tensor.packed:
        raise CorruptCheckpoint(
            f"{name!r} has {numbers['length']} bytes in {file}; {tensor.spec} takes {tensor.packed}"
        )
    if tensor.type.bits == 0:
        raise CorruptCheckpoint(f"{name!r} has strings in {file}, which cannot be")
    return External(file, int(numbers["offset"]), tensor.packed)


def is_number(text: str) -> bool:
    """Return whether *text* is a number that can be a place in a file."""
    return text.isascii() and text.isdecimal() and len(text) < 20
