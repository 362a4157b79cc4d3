"""The JSON of one array in zarr's layout, version 2 (".zarray") or 3 ("zarr.json").

    {"zarr_format": 2, "shape": [2, 3], "chunks": [2, 3], "dtype": "<f4", "order": "C",
     "compressor": null, "filters": null, "fill_value": null, "dimension_separator": "."}

A chunk is a value of its own, called by its place in the grid: "0.0", "c/0/0" in version 3.  Chunks
at the edge are as large as the others.  Its values in C order may be one zstd frame.  In version 3
it may be a shard of smaller chunks, whose places stand at its end (or its begin):

    shard = chunks | (begin u64le, nbytes u64le) * n | CRC-32C u32le       both 2**64-1: not there

Source: https://zarr-specs.readthedocs.io/en/latest/specs.html.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from operator import mod
from typing import Any

from ...boxes import Box
from ...errors import CorruptCheckpoint, UnsupportedCheckpoint
from ...spec import ITEMSIZES, NUMPY_CODES, checked_nbytes
from ..notes import parse_object

#: How a chunk is stored: as its values, as a zstd frame, as a shard, or as only tensorstore knows.
PLAIN, ZSTD, SHARD, FOREIGN = "plain", "zstd", "shard", "foreign"
INDEX_CODECS = [
    {"name": "bytes", "configuration": {"endian": "little"}},
    {"name": "crc32c"},
]


@dataclass(frozen=True, slots=True)
class Layout:
    """How one array is stored; of shards, `inner` is how the chunks lie in one of them."""

    version: int
    dtype: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    packing: str
    big_endian: bool = False
    separator: str = "."
    zeros: bool = True  # stand for what is not there
    inner: "Layout | None" = None
    index_first: bool = False

    @property
    def grid(self) -> tuple[int, ...]:
        """How many chunks there are in each dimension."""
        return tuple(-(-n // c) for n, c in zip(self.shape, self.chunks, strict=True))

    @property
    def chunk_nbytes(self) -> int:
        """Bytes a chunk takes when it is not compressed."""
        return math.prod(self.chunks) * ITEMSIZES[self.dtype]

    def places(self, box: Box) -> Iterator[tuple[tuple[int, ...], Box]]:
        """Yield every place in the grid that *box* touches, and the box of its chunk, whole."""
        sides = zip(box, self.chunks, strict=True)
        for place in product(*(range(s.start // c, -(-s.stop // c)) for s, c in sides)):
            starts = [i * c for i, c in zip(place, self.chunks, strict=True)]
            yield place, tuple(slice(n, n + c) for n, c in zip(starts, self.chunks, strict=True))

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
    packing = {None: PLAIN, "zstd": ZSTD}.get(said["compressor"] and said["compressor"]["id"])
    simple = not said["filters"] and said["order"] == "C"
    return Layout(
        version=2,
        dtype=NUMPY_CODES.get(code[1:], code) if code[0] in "<>|" else code,
        shape=sizes(said["shape"]),
        chunks=tuple(max(n, 1) for n in sizes(said["chunks"])),
        packing=packing if packing and simple else FOREIGN,
        big_endian=code[0] == ">",
        separator=separator(said.get("dimension_separator", ".")),
        zeros=said.get("fill_value") in (None, 0),
    )


def layout_3(said: dict[str, Any]) -> Layout:
    """Return what a `zarr.json` says; anything out of place raises some error of Python's."""
    encoding, grid = said["chunk_key_encoding"], said["chunk_grid"]
    if said["node_type"] != "array" or grid["name"] != "regular":
        raise ValueError
    default = "/" if encoding["name"] == "default" else "."
    layout = Layout(
        version=3,
        dtype=text(said["data_type"]),
        shape=sizes(said["shape"]),
        chunks=sizes(grid["configuration"]["chunk_shape"]),
        packing=FOREIGN,
        separator=separator(encoding.get("configuration", {}).get("separator", default)),
        zeros=said.get("fill_value") in (None, 0),
    )
    return with_codecs(layout, said["codecs"]) if encoding["name"] == "default" else layout


def with_codecs(layout: Layout, codecs: list[dict[str, Any]]) -> Layout:
    """Return *layout* with the packing that *codecs* amount to."""
    names, said = [codec["name"] for codec in codecs], codecs[0].get("configuration", {})
    if names == ["sharding_indexed"]:
        chunks = sizes(said["chunk_shape"])
        bare = replace(layout, shape=layout.chunks, chunks=chunks)
        inner = with_codecs(bare, said["codecs"])
        even = all(chunks) and not any(map(mod, layout.chunks, chunks))
        simple = inner.packing in (PLAIN, ZSTD) and said["index_codecs"] == INDEX_CODECS
        index_first = said.get("index_location", "end") == "start"
        if len(chunks) == len(layout.chunks) and even and simple:
            return replace(layout, packing=SHARD, inner=inner, index_first=index_first)
        return layout
    packing = {("bytes",): PLAIN, ("bytes", "zstd"): ZSTD}.get(tuple(names), FOREIGN)
    return replace(layout, packing=packing, big_endian=said.get("endian") == "big")


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
