"""The header of one array, in the three versions NumPy writes; NumPy is not imported to read it."""

import ast
import math
import re
from dataclasses import dataclass
from functools import lru_cache

from ...errors import CorruptCheckpoint, UnsupportedCheckpoint
from ...spec import NUMPY_NAMES, checked_nbytes, shape_text

MAGIC = b"\x93NUMPY"
MAX_HEADER = 10_000  # bytes; NumPy's own limit for files it does not trust
MAX_HEAD = 12 + MAX_HEADER
KEYS = {"descr", "fortran_order", "shape"}
DESCR = re.compile(r"([<>|=])([a-zA-Z?])(\d*)(.*)", re.DOTALL)
PYTHON_2_LONG = re.compile(r"(?<=\d)L(?=[,)])")  # it wrote the shape (3L,)

#: kind and size -> dtype
NUMBERS = {
    "b1": "bool", "i1": "int8", "i2": "int16", "i4": "int32", "i8": "int64",
    "u1": "uint8", "u2": "uint16", "u4": "uint32", "u8": "uint64",
    "f2": "float16", "f4": "float32", "f8": "float64", "c8": "complex64", "c16": "complex128",
    "f1": "float8_e5m2",  # of ml_dtypes' types NumPy saves only this under a name
}  # fmt: skip

#: dtypes that a header can state so that NumPy reads it; it cannot read its own "f1"
STATED = {*NUMPY_NAMES, "string"}

#: What an array of Python objects is called.
OBJECTS = ("|O", "|O8", "|O4")

#: kind -> what is said of an array that cannot be read
REFUSED = {
    "M": "dates, for which checkpoints have no dtype",
    "m": "time spans, for which checkpoints have no dtype",
}


@dataclass(frozen=True, slots=True)
class Npy:
    """What a header says; `dtype` is None for raw bytes ('V'), whose meaning is not in it."""

    dtype: str | None
    descr: str
    itemsize: int
    shape: tuple[int, ...]
    fortran_order: bool
    begin: int  # of the values, from the start of the .npy
    pickled: bool = False  # the values are a pickle of the whole array

    @property
    def nbytes(self) -> int:
        """Bytes the values take."""
        return self.itemsize * math.prod(self.shape)


def parse_npy(head: bytes, size: int) -> Npy:
    """Return the header of an .npy of *size* bytes; *head* is its first `MAX_HEAD` bytes or all."""
    text, begin = header_text(head, size)
    descr, fortran_order, shape = parse_header(text)
    if descr in OBJECTS:
        return Npy(None, descr, 0, shape, fortran_order, begin, pickled=True)
    dtype, itemsize = parse_descr(descr)
    checked_nbytes("uint8", shape)
    npy = Npy(dtype, descr, itemsize, shape, fortran_order, begin)
    if npy.nbytes != size - begin:
        raise CorruptCheckpoint(
            f"{descr!r} {shape_text(shape)} takes {npy.nbytes} bytes; {size - begin} are there"
        )
    return npy


def header_text(head: bytes, size: int) -> tuple[str, int]:
    """Return the text of the header and the offset where the values begin."""
    if not head.startswith(MAGIC) or len(head) < 12:
        raise CorruptCheckpoint(f"an .npy begins {MAGIC!r}, not {head[:12]!r}")
    version = (head[6], head[7])
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise UnsupportedCheckpoint(f"the .npy is of version {version}; (1, 0) to (3, 0) are known")
    start = 10 if version == (1, 0) else 12
    n = int.from_bytes(head[8:start], "little")
    if n > min(MAX_HEADER, size - start):
        raise CorruptCheckpoint(
            f"the .npy header claims {n} bytes; {size - start} are left, {MAX_HEADER} allowed"
        )
    try:
        return head[start : start + n].decode(
            "utf-8" if version == (3, 0) else "latin-1"
        ), start + n
    except UnicodeDecodeError as error:
        raise CorruptCheckpoint("the .npy header is not UTF-8") from error


@lru_cache(maxsize=64)  # an archive tends to hold many arrays alike
def parse_header(text: str) -> tuple[str, bool, tuple[int, ...]]:
    """Return descr, fortran_order and shape."""
    try:
        if "\\" in text:  # nothing that can be read needs an escape, and Python warns of odd ones
            raise ValueError("a backslash")
        value = ast.literal_eval(PYTHON_2_LONG.sub("", text.strip()))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise CorruptCheckpoint(
            f"the .npy header is not a Python literal: {text[:80]!r}"
        ) from error
    match value:
        case {"descr": [*fields], **rest} if rest.keys() | {"descr"} == KEYS:
            raise UnsupportedCheckpoint(
                f"it is a structured array with {len(fields)} fields; save each field by itself"
            )
        case {"descr": str(descr), "fortran_order": bool(order), "shape": tuple(shape), **rest}:
            if not rest and all(type(n) is int and n >= 0 for n in shape):
                return descr, order, shape
    raise CorruptCheckpoint(f"the .npy header does not describe an array: {text[:80]!r}")


def parse_descr(descr: str) -> tuple[str | None, int]:
    """Return dtype and bytes an element takes; dtype None for raw bytes."""
    match = DESCR.fullmatch(descr)
    if match is None:
        raise CorruptCheckpoint(f"{descr!r} is not a NumPy dtype")
    _, kind, digits, rest = match.groups()
    if kind in REFUSED:
        raise UnsupportedCheckpoint(f"it holds {REFUSED[kind]}")
    if not digits or rest:
        raise CorruptCheckpoint(f"{descr!r} is not a NumPy dtype")
    if len(digits) > 10 or not 0 < int(digits) < 2**31:
        raise CorruptCheckpoint(f"{descr!r} has elements of no possible size")
    itemsize = int(digits)
    if kind in "SU":
        return "string", itemsize * (4 if kind == "U" else 1)
    if kind == "V":
        return None, itemsize
    if kind + digits not in NUMBERS:
        raise UnsupportedCheckpoint(f"NumPy's dtype {descr!r} has no counterpart in a checkpoint")
    return NUMBERS[kind + digits], itemsize


def npy_head(descr: str, shape: tuple[int, ...]) -> bytes:
    """Return the header of a C-ordered array, byte for byte as NumPy writes it.

    NumPy leaves room for the first dimension to grow to 21 digits, and aligns the values to 64.
    """
    room = " " * (21 - len(repr(shape[0]))) if shape else ""
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}{room}"
    n = len(text) + 1
    n += -(10 + n) % 64
    return MAGIC + b"\1\0" + n.to_bytes(2, "little") + text.ljust(n - 1).encode() + b"\n"
