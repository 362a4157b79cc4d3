"""The values of arrays, chunk by chunk: which there are, and unpacking them by several threads.

box = the part that is asked for      room = where it goes, an array
pieces_of(held, box)                  every chunk that it touches, also those within shards
piece.fill(room, box)                 unpacks one, in a thread; whole ones straight into room
"""

import math
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...binary import zstd
from ...binary.checksum import crc32c
from ...binary.room import array_room
from ...boxes import Box, bounded, box_shape, common, moved, whole_box
from ...errors import CorruptCheckpoint, UnsupportedCheckpoint
from ...source import Index
from ...spec import ITEMSIZES, numpy_dtype
from ..arrays import array_over, bytes_of, settled
from ..slicing import part_of
from . import tensorstore_edge as edge
from .stores import Place, Store
from .zarr import FOREIGN, PLAIN, SHARD, ZSTD, Layout

if TYPE_CHECKING:
    import numpy as np

#: Bytes that any checkpoint may unpack to.
FREE = 64 << 20
#: Chunks below this size are not worth the way to another thread.
SMALL = 1 << 16
THREADS = min(8, os.cpu_count() or 1)
ABSENT = 2**64 - 1  # begin and size of a chunk that is not in its shard


@dataclass(frozen=True, slots=True)
class Held:
    """One array in an item: its layout and where it lies."""

    param: str
    layout: Layout
    store: Store
    sparse: bool  # whether a chunk that is not there stands for the fill value

    @property
    def native(self) -> bool:
        """Whether this library reads the values itself."""
        inner = self.layout.inner or self.layout
        if inner.packing == FOREIGN or (self.sparse and not inner.zeros):
            return False
        return inner.packing == PLAIN or zstd.library() is not None

    def foreign(self) -> edge.Array:
        """Return the array as tensorstore reads it."""
        spec = self.store.spec(self.param)
        return edge.Array(self.param, spec, self.layout.version, sparse=self.sparse)

    def nbytes(self) -> int:
        """Return the bytes that reading it may take: its own, or those of a larger chunk."""
        sizes = math.prod(self.layout.shape), math.prod(self.layout.chunks)
        return max(sizes) * ITEMSIZES[self.layout.dtype]


@dataclass(frozen=True, slots=True)
class Piece:
    """One chunk: what it is called, where it lies (None: nowhere) and its box, whole."""

    what: str
    place: Place | None
    box: Box
    layout: Layout

    def fill(self, room: "np.ndarray", box: Box) -> None:
        """Put into *room*, which is to be *box* of the array, what this piece has of it."""
        part = common(self.box, box)
        if part is None:
            return
        target = within(room, moved(part, box))
        if self.place is None:
            target[...] = 0
        elif self.layout.packing == ZSTD and part == self.box and target.flags.c_contiguous:
            zstd.unpack_into(self.place.whole(), bytes_of(target), self.what)
            if self.layout.big_endian:
                target.byteswap(inplace=True)
        else:
            target[...] = within(self.values(), moved(part, self.box))

    def values(self) -> "np.ndarray":
        """Return all values of the chunk; a view of the file if it can be."""
        if self.place is None or self.layout.packing == PLAIN:
            return self.elements(0, self.layout.chunks)
        import numpy as np

        room = np.empty(self.layout.chunk_nbytes, np.uint8)
        zstd.unpack_into(self.place.whole(), room.data, self.what)
        return array_over(room.data, self.stored(), self.layout.chunks)

    def elements(self, begin: int, shape: tuple[int, ...]) -> "np.ndarray":
        """Return the elements of an unpacked chunk from *begin* on, as an array of *shape*."""
        place, layout = self.place, self.layout
        if place is None or place.nbytes != layout.chunk_nbytes:
            raise CorruptCheckpoint(
                f"{self.what} has {place.nbytes if place else 0} bytes; {layout.dtype} "
                f"{layout.chunks} takes {layout.chunk_nbytes}"
            )
        itemsize = ITEMSIZES[layout.dtype]
        raw = place.part(begin * itemsize, math.prod(shape) * itemsize)
        array = array_over(raw, self.stored(), shape)
        return array if array.flags.aligned else array.copy()

    def stored(self) -> "np.dtype":
        """Return the dtype of the values in the file."""
        dtype = numpy_dtype(self.layout.dtype)
        return dtype.newbyteorder(">" if self.layout.big_endian else "<")


def read_part(held: Held, index: Index) -> "np.ndarray":
    """Return what *index* cuts out of an array, reading only the chunks that it touches."""
    import numpy as np

    layout = held.layout
    box, rest = bounded(index, layout.shape)
    if not held.native:
        refuse_bombs([held])
        read = edge.read_one(held.foreign(), lambda array: array[box] if box else array)
        return np.asarray(settled(read)[rest])
    if not math.prod(layout.shape):
        return np.asarray(np.zeros(layout.shape, numpy_dtype(layout.dtype))[index])
    if layout.packing == PLAIN and layout.chunks == layout.shape:
        piece = next(pieces_of(held, whole_box(layout.shape)))
        if piece.place is not None:
            part = part_of(index, layout.shape)
            return np.asarray(settled(piece.elements(part.begin, part.shape))[part.index])
    refuse_bombs([held])
    room = room_for(held, box)
    fill_all([(held, box, room)])
    return np.asarray(room[rest])


def read_whole(arrays: Sequence[Held]) -> "list[np.ndarray]":
    """Return all values of native *arrays*, unpacked side by side."""
    refuse_bombs(arrays)
    boxes = [whole_box(held.layout.shape) for held in arrays]
    rooms = [room_for(held, box) for held, box in zip(arrays, boxes, strict=True)]
    fill_all(list(zip(arrays, boxes, rooms, strict=True)))
    return rooms


def within(array: "np.ndarray", box: Box) -> "np.ndarray":
    """Return the view that *box* cuts out of *array*, which may have no dimensions."""
    index: Any = (*box, ...)
    view: np.ndarray = array[index]
    return view


def room_for(held: Held, box: Box) -> "np.ndarray":
    """Return room for the values of *box*."""
    try:
        return array_room(box_shape(box), numpy_dtype(held.layout.dtype))
    except (ValueError, MemoryError) as error:
        raise UnsupportedCheckpoint(
            f"{held.param!r}, {held.layout.dtype} {box_shape(box)}, does not fit: {error}"
        ) from error


def fill_all(rooms: "Iterable[tuple[Held, Box, np.ndarray]]") -> None:
    """Fill every room with the values of its box, those of large chunks in threads."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(THREADS) as pool:
        futures = []
        for held, box, room in rooms:
            for piece in pieces_of(held, box) if room.size else ():
                if piece.layout.chunk_nbytes < SMALL:
                    piece.fill(room, box)
                else:
                    futures.append(pool.submit(piece.fill, room, box))
        for future in futures:
            future.result()


def pieces_of(held: Held, box: Box) -> Iterator[Piece]:
    """Yield every chunk that *box* touches."""
    layout = held.layout
    for place, whole in layout.places(box):
        key = layout.key(place)
        piece = Piece(
            f"the chunk {key!r} of {held.param!r}",
            held.store.place(f"{held.param}/{key}"),
            whole,
            layout,
        )
        if piece.place is None and not held.sparse:
            raise CorruptCheckpoint(f"{piece.what} is missing")
        if layout.packing == SHARD and piece.place is not None:
            yield from pieces_in_shard(piece, piece.place, box)
        else:
            yield piece


def pieces_in_shard(shard: Piece, place: Place, box: Box) -> Iterator[Piece]:
    """Yield the chunks in a shard that *box* touches; those that are not there have no place."""
    inner, part = shard.layout.inner, common(shard.box, box)
    if inner is None or part is None:
        return
    index = index_of(shard, place, math.prod(inner.grid))
    for at, whole in inner.places(moved(part, shard.box)):
        number = number_in(inner.grid, at)
        begin, nbytes = index[2 * number : 2 * number + 2]
        what = f"chunk {number} in {shard.what}"
        own = moved(whole, tuple(slice(-side.start, 0) for side in shard.box))
        if begin == nbytes == ABSENT:
            yield Piece(what, None, own, inner)
            continue
        if begin + nbytes > place.nbytes:
            raise CorruptCheckpoint(
                f"{what} is to lie at bytes {begin} to {begin + nbytes} of {place.nbytes}"
            )
        yield Piece(what, Place(place.file, place.begin + begin, nbytes), own, inner)


def number_in(grid: Sequence[int], place: Sequence[int]) -> int:
    """Return which one in C order *place* is.

    >>> number_in((2, 3), (1, 2))
    5
    """
    number = 0
    for at, count in zip(place, grid, strict=True):
        number = number * count + at
    return number


def index_of(shard: Piece, place: Place, count: int) -> Sequence[int]:
    """Return begin and size of each of the *count* chunks in a shard, one after another."""
    nbytes = 16 * count + 4
    if nbytes > place.nbytes:
        raise CorruptCheckpoint(
            f"{shard.what} has {place.nbytes} bytes; the index of its {count} chunks takes {nbytes}"
        )
    raw = place.part(0 if shard.layout.index_first else place.nbytes - nbytes, nbytes)
    if crc32c(raw[:-4]) != int.from_bytes(raw[-4:], "little"):
        raise CorruptCheckpoint(f"the CRC-32C of the index of {shard.what} is wrong")
    return struct.unpack(f"<{2 * count}Q", raw[:-4])


def refuse_bombs(arrays: Sequence[Held]) -> None:
    """Refuse arrays that claim more than all files of their item can unpack to."""
    for store in {id(held.store): held.store for held in arrays}.values():
        claims = [(held.nbytes(), held) for held in arrays if held.store is store]
        for _, held in claims:
            if math.prod(held.layout.grid) > store.nbytes:
                raise CorruptCheckpoint(
                    f"{held.param!r} claims {math.prod(held.layout.grid)} chunks, in files of "
                    f"{store.nbytes} bytes"
                )
        if sum(nbytes for nbytes, _ in claims) > FREE + zstd.MAX_RATIO * store.nbytes:
            largest = max(claims, key=lambda claim: claim[0])[1]
            raise CorruptCheckpoint(
                f"the arrays claim more than the {store.nbytes} bytes of the checkpoint can hold; "
                f"the largest is {largest.param!r}, {largest.layout.dtype} {largest.layout.shape} "
                f"in chunks of {largest.layout.chunks}"
            )


def fitting(array: "np.ndarray", held: Held) -> "np.ndarray":
    """Return what tensorstore read, if it is what the JSON of the array says."""
    expected = numpy_dtype(held.layout.dtype)
    if array.dtype != expected or array.shape != held.layout.shape:
        raise CorruptCheckpoint(
            f"{held.param!r} was read as {array.dtype} {array.shape}; its JSON says "
            f"{held.layout.dtype} {held.layout.shape}"
        )
    return settled(array)
