"""The values of a tensor: numbers in a field, and elements smaller than a byte."""

import numpy as np

from ...binary.varints import count_varints, decode_varints
from ...binary.wire import varint
from ...errors import CorruptCheckpoint
from ..arrays import array_over
from .places import Place, as_place
from .tensors import DOUBLES, FLOATS, STRINGS, Tensor

#: Elements that are taken apart at once.
AT_ONCE = 1 << 18


def values_of(tensor: Tensor) -> np.ndarray:
    """Return the values of a tensor that has them as numbers in a field."""
    spec, type_ = tensor.spec, tensor.type
    if type_.field == STRINGS:
        return strings_of(tensor)
    if type_.field in (FLOATS, DOUBLES):
        size = 4 if type_.field == FLOATS else 8
        raw = packed_field(tensor.place, type_.field, size)
        refuse_count(tensor, len(raw), tensor.packed, "bytes of numbers")
        return array_over(raw, spec.numpy_dtype.newbyteorder("<"), spec.shape)
    raw = packed_field(tensor.place, type_.field, 0)
    if type_.bits >= 8:
        found = varints(raw, np.dtype(f"u{type_.bits // 8}"))
        refuse_count(tensor, len(found), spec.size, "numbers")
        return array_over(found.data, spec.numpy_dtype, spec.shape)
    found = varints(raw, np.dtype("u1"))
    if type_.bits == 6:  # the only narrow ones of which each takes a number of its own
        refuse_count(tensor, len(found), spec.size, "numbers")
        return array_over((found & 63).data, spec.numpy_dtype, spec.shape)
    refuse_count(tensor, len(found), tensor.packed, "numbers")
    return narrow(found, tensor)


def refuse_count(tensor: Tensor, found: int, expected: int, what: str) -> None:
    """Raise unless a tensor has as many *what* as its shape takes."""
    if found != expected:
        name, spec = tensor.spec.name, tensor.spec
        raise CorruptCheckpoint(f"{name!r} has {found} {what}; {spec} takes {expected}")


def packed_field(place: Place, number: int, size: int) -> memoryview:
    """Return the numbers of a repeated field, side by side, whichever way they are written.

    Each takes *size* bytes, or is a varint for 0.
    """
    parts: list[memoryview | bytes] = []
    for n, value in place.fields():
        if n == number and isinstance(value, Place):
            parts.append(value.raw())
        elif n == number and isinstance(value, int):
            parts.append(value.to_bytes(8, "little")[:size] if size else varint(value))
    return memoryview(parts[0] if len(parts) == 1 else b"".join(parts))


def varints(raw: memoryview, dtype: np.dtype) -> np.ndarray:
    """Return the varints in *raw*, their low bits as *dtype*."""
    found, at = np.empty(count_varints(raw), dtype), 0
    for part in decode_varints(raw):
        found[at : at + len(part)] = part.astype(dtype)
        at += len(part)
    return found


def strings_of(tensor: Tensor) -> np.ndarray:
    """Return the strings of a tensor."""
    fields = tensor.place.fields()
    items = [as_place(v, "a string").raw().tobytes() for n, v in fields if n == STRINGS]
    refuse_count(tensor, len(items), tensor.spec.size, "strings")
    array = np.empty(len(items), object)
    array[:] = items
    return array.reshape(tensor.spec.shape)


def narrow(packed: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Return the elements in *packed* bytes, of 2, 4 or 6 bits each, the lowest bits first."""
    bits, spec = tensor.type.bits, tensor.spec
    values = np.empty(spec.size, np.uint8)
    for at in range(0, spec.size, AT_ONCE):  # a multiple of 8: it begins with a byte
        count = min(AT_ONCE, spec.size - at)
        ones = np.unpackbits(packed[at * bits // 8 :], count=count * bits, bitorder="little")
        byte = np.packbits(ones.reshape(count, bits), axis=1, bitorder="little")
        values[at : at + count] = byte[:, 0]
    return array_over(values.data, spec.numpy_dtype, spec.shape)
