"""What a tensor is without its values, and the dtypes every part of the library speaks of.

A dtype is a name: NumPy's for the types NumPy has ("float32", "bool", "complex64"), ml_dtypes' for
the rest ("bfloat16", "float8_e4m3fn", "int4"), and "string" for byte strings of any length, which
NumPy holds as objects (`bytes`).  NumPy is imported only when an array is needed, so that a
checkpoint can be listed without it.
"""

import math
from collections.abc import Callable, Iterable
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple

from .errors import CorruptCheckpoint, UnsupportedCheckpoint

if TYPE_CHECKING:
    import numpy as np

#: Bytes one element takes in memory.  Types under a byte take one in NumPy, as ml_dtypes has them;
#: a format that packs them says so itself.  Strings have no size of their own.
ITEMSIZES: dict[str, int] = {
    "bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4,
    "int64": 8, "uint64": 8, "float16": 2, "float32": 4, "float64": 8,
    "complex64": 8, "complex128": 16, "bfloat16": 2,
    "float8_e3m4": 1, "float8_e4m3": 1, "float8_e4m3b11fnuz": 1, "float8_e4m3fn": 1,
    "float8_e4m3fnuz": 1, "float8_e5m2": 1, "float8_e5m2fnuz": 1, "float8_e8m0fnu": 1,
    "float6_e2m3fn": 1, "float6_e3m2fn": 1, "float4_e2m1fn": 1,
    "int2": 1, "int4": 1, "uint2": 1, "uint4": 1,
    "string": 0,
}  # fmt: skip

#: The types that NumPy has: its code without the byte order -> name.
NUMPY_CODES = {
    "b1": "bool", "i1": "int8", "i2": "int16", "i4": "int32", "i8": "int64",
    "u1": "uint8", "u2": "uint16", "u4": "uint32", "u8": "uint64",
    "f2": "float16", "f4": "float32", "f8": "float64", "c8": "complex64", "c16": "complex128",
}  # fmt: skip
NUMPY_NAMES = frozenset(NUMPY_CODES.values())

#: What a variable is for; None where a file does not say.
ROLES = ("trainable", "model", "slot", "run")

#: Names that begin so hold run state and belong to this library, in every format.
RUN_PREFIX = "_RUN/"

MAX_NBYTES = 2**63 - 1
MAX_RANK = 254  # TensorFlow's limit; NumPy's own, 64, is met when an array is made


class TensorSpec(NamedTuple):
    """What a tensor is, without its values.  (A tuple: there may be a million.)"""

    name: str
    dtype: str
    shape: tuple[int, ...]
    role: str | None = None

    @property
    def size(self) -> int:
        """How many elements there are."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes the values take in memory, packed in C order; 0 for strings (reading tells)."""
        return math.prod(self.shape) * ITEMSIZES[self.dtype]

    @property
    def numpy_dtype(self) -> "np.dtype":
        """The NumPy dtype of the values in memory, in native byte order."""
        return numpy_dtype(self.dtype)

    def renamed(self, name: str) -> "TensorSpec":
        """Return the same spec under another name."""
        return spec_of_fields((name, self.dtype, self.shape, self.role))

    def like(self, other: "TensorSpec") -> "TensorSpec":
        """Return a spec of the same name and role with the dtype and the shape of *other*."""
        return spec_of_fields((self.name, other.dtype, other.shape, self.role))

    def __str__(self) -> str:
        """Return the dtype and the shape, as every table and message shows them."""
        return f"{self.dtype} {shape_text(self.shape)}"


#: Makes a spec of its fields, in half the time.
spec_of_fields: Callable[[tuple[str, str, tuple[int, ...], str | None]], TensorSpec]
spec_of_fields = partial(tuple.__new__, TensorSpec)


def shape_text(shape: Iterable[int]) -> str:
    """Return *shape* as Python writes it.

    >>> shape_text((3,)), shape_text((3, 4)), shape_text(())
    ('(3,)', '(3, 4)', '()')
    """
    return str(tuple(shape))


def size_text(nbytes: int) -> str:
    """Return a size as people read it.

    >>> size_text(512), size_text(80_000_000), size_text(4 * 1024)
    ('512 B', '80.0 MB', '4.1 kB')
    """
    size, units = float(nbytes), ["B", "kB", "MB", "GB", "TB", "PB"]
    while size >= 999.95 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{nbytes} B" if units[0] == "B" else f"{size:.1f} {units[0]}"


@cache
def numpy_dtype(name: str) -> "np.dtype":
    """Return the NumPy dtype called *name* here; "string" is the object dtype."""
    import numpy as np

    if name in NUMPY_NAMES:
        return np.dtype(name)
    if name == "string":
        return np.dtype(object)
    if name not in ITEMSIZES:
        raise UnsupportedCheckpoint(f"dtype {name!r} is not known; known: {', '.join(ITEMSIZES)}")
    import ml_dtypes

    try:
        dtype: np.dtype = np.dtype(getattr(ml_dtypes, name))
    except AttributeError as error:
        raise UnsupportedCheckpoint(
            f"dtype {name!r} needs a newer ml_dtypes than {ml_dtypes.__version__}: "
            "pip install -U ml_dtypes"
        ) from error
    return dtype


@lru_cache(256)  # NumPy takes 3 microseconds to say the name of a dtype
def dtype_name(dtype: "np.dtype") -> str:
    """Return this library's name for a NumPy dtype of either byte order.

    Objects, NumPy strings ("S") and NumPy text ("U") are all "string".
    """
    if dtype.kind in "OSUT":
        return "string"
    if dtype.name in ITEMSIZES:
        return str(dtype.name)
    raise UnsupportedCheckpoint(f"NumPy's dtype {dtype} has no counterpart in a checkpoint")


def spec_of(name: str, array: "np.ndarray", role: str | None = None) -> TensorSpec:
    """Return the spec of *array* under *name*."""
    return TensorSpec(name, dtype_name(array.dtype), array.shape, role)


def checked_nbytes(dtype: str, shape: Iterable[int]) -> int:
    """Return the bytes that values of *dtype* and *shape* take, refusing what no file can hold.

    Shapes come from outside: a negative or an astronomical one is refused before anything is made
    of it.
    """
    shape = tuple(shape)
    if len(shape) > MAX_RANK:
        raise CorruptCheckpoint(f"a shape has {len(shape)} dimensions; at most {MAX_RANK} can be")
    if any(n < 0 for n in shape):
        raise CorruptCheckpoint(f"shape {shape_text(shape)} has a negative dimension")
    sides = [n for n in shape if n] if 0 in shape else shape  # NumPy's limit ignores the empty ones
    nbytes = math.prod(sides) * max(ITEMSIZES[dtype], 1)
    if nbytes > MAX_NBYTES:
        beside = " but for the dimension of 0" if 0 in shape else ""
        size = nbytes if nbytes < 2**256 else "2**256 or more"  # Python refuses to write it out
        raise CorruptCheckpoint(f"{dtype} {shape_text(shape)} would take {size} bytes{beside}")
    return math.prod(shape) * ITEMSIZES[dtype]
