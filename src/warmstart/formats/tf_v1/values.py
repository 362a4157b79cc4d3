"""The values of a piece: a TensorProto that has no dtype and no shape, only values.

    4 tensor_content    the bytes of the array, as they lie in memory
    5 float   6 double   9 complex64   10 int64   11 bool   12 complex128
    7 int32, int16, int8, uint16, uint8     16 uint32   17 uint64
    8 string  13 half and bfloat16, the bits of each as an integer

Each but the first and the strings is a repeated number, packed or not: fixed-width ones (5, 6, 9,
12; a complex number is two) as they lie in memory, the rest as varints.  The last value stands for
all that are left out.
Source: TensorFlow 2.21, core/framework/tensor.proto, tensor.cc.
"""

import math
from array import array
from collections.abc import Iterator

import numpy as np

from ...binary.varints import count_varints, decode_varints
from ...binary.wire import as_bytes, fields
from ...errors import CorruptCheckpoint, UnsupportedCheckpoint
from ...spec import ITEMSIZES, numpy_dtype
from ..arrays import bytes_of

CONTENT, STRING = 4, 8
FIXED = {"float32": 5, "float64": 6, "complex64": 9, "complex128": 12}
VARINTS = {
    "int32": 7, "int16": 7, "int8": 7, "uint16": 7, "uint8": 7, "int64": 10, "bool": 11,
    "float16": 13, "bfloat16": 13, "uint32": 16, "uint64": 17,
}  # fmt: skip

#: Values may take this many times the bytes that say them.  A varint of one byte is eight as int64;
#: the rest is for values that are left out: without a bound a small file could fill the memory.
MAX_EXPANSION = 16


def decode_values(message: memoryview, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the array of *dtype* and *shape* that *message* holds, over its bytes if it can be."""
    count = math.prod(shape)
    check_room(dtype, shape, len(message))
    flat = strings_in(message) if dtype == "string" else numbers_in(message, dtype)
    if len(flat) > count or (count and not len(flat)):
        raise CorruptCheckpoint(f"{len(flat)} values are stored, where {dtype} {shape} has {count}")
    if len(flat) < count:
        flat = np.concatenate([flat, np.repeat(flat[-1:], count - len(flat))])
    try:
        return flat.reshape(shape)
    except ValueError as error:  # too many dimensions, or an empty one of astronomical sides
        raise UnsupportedCheckpoint(f"NumPy cannot hold the shape {shape}") from error


def check_room(dtype: str, shape: tuple[int, ...], stored: int) -> None:
    """Refuse *dtype* and *shape* when the values take far more than the *stored* bytes say."""
    nbytes = math.prod(shape) * (ITEMSIZES[dtype] or 8)  # a string takes a pointer at least
    if nbytes > MAX_EXPANSION * (stored + 1):
        raise CorruptCheckpoint(
            f"{dtype} {shape} takes {nbytes} bytes, where {stored} are stored for it"
        )


def strings_in(message: memoryview) -> np.ndarray:
    """Return the strings in *message*."""
    found = [bytes(as_bytes(v, "a string")) for number, v in fields(message) if number == STRING]
    strings = np.empty(len(found), object)
    strings[:] = found
    return strings


def numbers_in(message: memoryview, dtype: str) -> np.ndarray:
    """Return the numbers in *message*."""
    if dtype not in FIXED and dtype not in VARINTS:
        raise UnsupportedCheckpoint(f"a checkpoint of version 1 has no place for {dtype}")
    native = numpy_dtype(dtype)
    contents = [as_bytes(v, "the content") for number, v in fields(message) if number == CONTENT]
    if contents and len(contents[-1]):
        return over(contents[-1], native)
    if dtype in FIXED:
        parts = [fixed(stretch, native) for stretch in stretches(message, FIXED[dtype])]
    else:
        parts = [integers(stretch, native) for stretch in stretches(message, VARINTS[dtype])]
    return parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, native), *parts])


def stretches(message: memoryview, wanted: int) -> "Iterator[memoryview | array[int]]":
    """Yield the numbers of the field *wanted*: packed ones as bytes, others as whole numbers."""
    loose = array("Q")
    for number, value in fields(message):
        if number == wanted and isinstance(value, int):
            loose.append(value)
        elif number == wanted:
            if loose:
                yield loose
                loose = array("Q")
            yield as_bytes(value, "numbers")
    if loose:
        yield loose


def fixed(stretch: "memoryview | array[int]", dtype: np.dtype) -> np.ndarray:
    """Return numbers of a fixed width as *dtype*."""
    if isinstance(stretch, memoryview):
        return over(stretch, dtype)
    component = np.dtype(f"u{dtype.itemsize // (2 if dtype.kind == 'c' else 1)}")
    return over(bytes_of(cast(np.frombuffer(stretch, np.uint64), component)), dtype)


def over(data: memoryview, dtype: np.dtype) -> np.ndarray:
    """Return *data*, little-endian, as an aligned array of *dtype*."""
    if len(data) % dtype.itemsize:
        raise CorruptCheckpoint(f"{len(data)} bytes of values are no whole number of {dtype}")
    values = np.frombuffer(data, dtype.newbyteorder("<") if dtype.kind in "fiuc" else dtype)
    native = values.astype(dtype, copy=False)
    return native if native.flags.aligned else native.copy()


def integers(stretch: "memoryview | array[int]", dtype: np.dtype) -> np.ndarray:
    """Return varints as *dtype*; floating ones are given by their bits."""
    stored = dtype if dtype.kind in "biu" else np.dtype(f"u{dtype.itemsize}")
    if isinstance(stretch, array):
        return cast(np.frombuffer(stretch, np.uint64), stored).view(dtype)
    values, done = np.empty(count_varints(stretch), stored), 0
    for part in decode_varints(stretch):
        values[done : done + part.size] = cast(part, stored)
        done += part.size
    return values.view(dtype)


def cast(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return *values*, uint64, as *dtype*, refusing integers that it does not have."""
    if dtype.kind == "b":
        return values.astype(bool)
    values = values.view(np.int64) if dtype.kind == "i" else values
    narrow = values.astype(dtype)
    if (narrow != values).any():
        wrong = values[narrow != values][0]
        raise CorruptCheckpoint(f"the value {wrong} is stored where {dtype} is stated")
    return narrow
