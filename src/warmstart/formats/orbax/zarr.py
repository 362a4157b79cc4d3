"""The JSON of one array in zarr's layout, version 2 (".zarray") or 3 ("zarr.json").

    {"zarr_format": 2, "shape": [2, 3], "chunks": [2, 3], "dtype": "<f4", "order": "C",
     "compressor": null, "filters": null, "fill_value": null, "dimension_separator": "."}

A chunk is a value of its own, called by its place in the grid: "0.0", "c/0/0" in version 3.  Chunks
at the edge are as large as the others.
Source: https://zarr-specs.readthedocs.io/en/latest/specs.html.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from ...errors import CorruptCheckpoint, UnsupportedCheckpoint
from ...spec import ITEMSIZES, checked_nbytes
from ..boxes import Box
from ..notes import parse_object

#: NumPy's codes, without the byte order; other dtypes go by their names.
CODES = {
    "b1": "bool", "i1": "int8", "i2": "int16", "i4": "int32", "i8": "int64",
    "u1": "uint8", "u2": "uint16", "u4": "uint32", "u8": "uint64",
    "f2": "float16", "f4": "float32", "f8": "float64", "c8": "complex64", "c16": "complex128",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Layout:
    """How one array is stored; `plain` if its chunks are nothing but values in C order."""

    version: int
    dtype: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    plain: bool
    big_endian: bool
    separator: str

    @property
    def grid(self) -> tuple[int, ...]:
        """How many chunks there are in each dimension."""
        return tuple(-(-n // c) for n, c in zip(self.shape, self.chunks, strict=True))

    @property
    def chunk_nbytes(self) -> int:
        """Bytes a chunk takes when it is not compressed."""
        return math.prod(self.chunks) * ITEMSIZES[self.dtype]

    def pieces(self) -> Iterator[tuple[str, Box]]:
        """Yield the key of every chunk, and what part of the array it holds."""
        for place in product(*map(range, self.grid)):
            sides = zip(place, self.chunks, self.shape, strict=True)
            yield self.key(place), tuple(slice(i * c, min(i * c + c, n)) for i, c, n in sides)

    def key(self, place: tuple[int, ...]) -> str:
        """Return what the chunk at *place* is called."""
        numbers = self.separator.join(map(str, place))
        if self.version == 2:
            return numbers or "0"
        return f"c{self.separator}{numbers}" if numbers else "c"


def parse_layout(raw: bytes | memoryview, version: int, param: str) -> Layout:
    """Return the layout that the JSON in *raw* describes; *param* is the array's name there."""
    what = f"the JSON of {param!r}"
    said = parse_object(raw, what)
    try:
        layout = (layout_2 if version == 2 else layout_3)(said)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise CorruptCheckpoint(f"{what} does not describe an array of zarr {version}") from error
    if layout.dtype not in ITEMSIZES:
        raise UnsupportedCheckpoint(f"{param!r} has dtype {layout.dtype!r}, which is not known")
    if len(layout.chunks) != len(layout.shape) or not all(n > 0 for n in layout.chunks):
        raise CorruptCheckpoint(
            f"{param!r} has shape {layout.shape} in chunks of {layout.chunks}, which cannot be"
        )
    checked_nbytes(layout.dtype, layout.shape)
    checked_nbytes(layout.dtype, layout.chunks)
    return layout


def layout_2(said: dict[str, Any]) -> Layout:
    """Return what a `.zarray` says; anything out of place raises some error of Python's."""
    code = text(said["dtype"])
    return Layout(
        version=2,
        dtype=CODES.get(code[1:], code) if code[0] in "<>|" else code,
        shape=sizes(said["shape"]),
        chunks=tuple(max(n, 1) for n in sizes(said["chunks"])),
        plain=not said["compressor"] and not said["filters"] and said["order"] == "C",
        big_endian=code[0] == ">",
        separator=separator(said.get("dimension_separator", ".")),
    )


def layout_3(said: dict[str, Any]) -> Layout:
    """Return what a `zarr.json` says; anything out of place raises some error of Python's."""
    encoding, codecs = said["chunk_key_encoding"], said["codecs"]
    if said["node_type"] != "array" or said["chunk_grid"]["name"] != "regular":
        raise ValueError
    last = codecs[-1].get("configuration", {})
    default = "/" if encoding["name"] == "default" else "."
    return Layout(
        version=3,
        dtype=text(said["data_type"]),
        shape=sizes(said["shape"]),
        chunks=sizes(said["chunk_grid"]["configuration"]["chunk_shape"]),
        plain=[codec["name"] for codec in codecs] == ["bytes"] and encoding["name"] == "default",
        big_endian=last.get("endian") == "big",
        separator=separator(encoding.get("configuration", {}).get("separator", default)),
    )


def sizes(value: Any) -> tuple[int, ...]:
    """Return a shape, which is a list of numbers that are not negative."""
    if not isinstance(value, list) or not all(type(n) is int and n >= 0 for n in value):
        raise ValueError
    return tuple(value)


def text(value: Any) -> str:
    """Return the name of a dtype."""
    if not isinstance(value, str):
        raise ValueError
    return value


def separator(value: Any) -> str:
    """Return what stands between the numbers of a chunk's key."""
    if value not in (".", "/"):
        raise ValueError
    return str(value)
