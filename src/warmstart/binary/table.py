"""Sorted tables of bytes to bytes, LevelDB's sstables: blocks of entries, then an index of them.

    block*  | metaindex block | index block | footer (48 bytes)
    block   = entry* | u32 restart offset * n | u32 n | u8 compression | u32 masked CRC-32C
    entry   = varint shared | varint fresh | varint length | fresh key bytes | value
    footer  = two handles (varint offset, varint size), zeros up to byte 40, magic

An entry's key is the first *shared* bytes of the key before it, then its fresh ones; at a restart
nothing is shared.  The index block has an entry for each block: a key not below any in it and below
all of the next, and the block's handle.  Keys are strictly increasing.
Source: TensorFlow 2.21, tsl/lib/io/{format,block_builder,table_builder}.
"""

import sys
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import islice
from operator import lt

from ..errors import CorruptCheckpoint, noting
from . import snappy
from .checksum import crc32c, crc32c_of, mask
from .mapped import Mapped
from .window import FileBytes, PlainFile
from .wire import read_varint, varint

MAGIC = bytes.fromhex("57fb808b247547db")
FOOTER = 48
TRAILER = 5  # after each block: its compression and checksum
BLOCK_SIZE = 256 << 10
RESTART_INTERVAL = 16

#: Keys written out in full may take this many times their block's bytes.  A writer that restarts
#: every 16 entries stays under 17; without a bound a small file could fill the memory.
MAX_EXPANSION = 64
SNAPPY = 1  # the only compression there is beside none

#: A block up to this size is kept for the next look-up, which is nearly always in the same one.
MAX_KEPT = 4 * BLOCK_SIZE

Items = list[tuple[bytes, bytes]]
Columns = tuple[list[bytes], list[bytes]]
Buffer = bytes | memoryview


class Table:
    """A table of which only the blocks that are asked for are read."""

    def __init__(self, data: Mapped | FileBytes, *, verify: bool) -> None:
        """Take *data*, a whole file; with *verify* each block's checksum is checked."""
        self._data = data if isinstance(data, PlainFile) else memoryview(data)
        self._verify = verify
        self._sound: set[int] = set()  # offsets of the blocks already checked
        self._recent: tuple[int, memoryview] = -1, memoryview(b"")  # offset, what is in the block
        footer = self._footer()
        *self._meta, at = read_handle(footer, 0)
        *self._index, end = read_handle(footer, at)
        self._padding = footer[end:]
        self._last_keys, handles = columns(bytes(self._block(*self._index)), self._index[1])
        self._handles = [read_handle(value, 0)[:2] for value in handles]

    def get(self, key: bytes) -> bytes | None:
        """Return the value of *key*, or None; one block is looked into."""
        value = self.find(key)
        return None if value is None else bytes(value)

    def find(self, key: bytes) -> memoryview | None:
        """Return the value of *key*, which may be large, without a copy if it can be; or None."""
        at = bisect_left(self._last_keys, key)
        if at == len(self._handles):
            return None
        block = self._block(*self._handles[at])
        for found, value in entries(block, restart_before(block, key)):
            if found >= key:
                return value if found == key else None
        return None

    def blocks(self) -> Iterator[Columns]:
        """Yield the keys and the values of each block, in the order of keys.

        Two lists, not one of pairs: for a million entries the pairs would keep the garbage
        collector busy.
        """
        last = b""
        for (offset, size), bound in zip(self._handles, self._last_keys, strict=True):
            keys, values = columns(bytes(self._block(offset, size)), size)
            if not keys:
                continue
            check_order(offset, last, keys[0], keys[-1], bound)
            last = keys[-1]
            yield keys, values

    def keys(self) -> Iterator[bytes]:
        """Yield every key in order; the values, which may be large, are not looked at."""
        last = b""
        for (offset, size), bound in zip(self._handles, self._last_keys, strict=True):
            for key, _ in entries(self._block(offset, size), 0):
                check_order(offset, last, key, key, bound)
                last = key
                yield key

    def unclaimed(self) -> Iterator[str]:
        """Yield each run of bytes that is in no block, in words."""
        self._block(*self._meta)
        end = 0
        for offset, size in sorted([*self._handles, tuple(self._meta), tuple(self._index)]):
            if offset > end:
                yield f"bytes {end} to {offset} of the table are in no block"
            end = max(end, offset + size + TRAILER)
        if end < len(self._data) - FOOTER:
            yield f"bytes {end} to {len(self._data) - FOOTER} of the table are in no block"
        if self._padding.strip(b"\0"):
            yield f"the footer of the table ends in {self._padding.hex()}, where zeros should be"

    def _footer(self) -> bytes:
        size = len(self._data)
        if size < FOOTER:
            raise CorruptCheckpoint(f"the table has {size} bytes; its footer alone takes {FOOTER}")
        footer = bytes(self._data[size - FOOTER : size])
        if not footer.endswith(MAGIC):
            raise CorruptCheckpoint(
                f"the table ends in {footer[-8:].hex()}, not {MAGIC.hex()}: it is cut short or "
                "no table at all"
            )
        return footer[:-8]

    def _block(self, offset: int, size: int) -> memoryview:
        """Return what is in a block, refusing one that the file does not hold or is damaged."""
        if offset == self._recent[0]:
            return self._recent[1]
        end = offset + size
        if end + TRAILER > len(self._data) - FOOTER:
            raise CorruptCheckpoint(
                f"a block of the table ends at byte {end} of {len(self._data)}, beyond its place"
            )
        stored = self._data[offset : end + TRAILER]
        if self._verify and offset not in self._sound:
            check_sum(stored, offset)
        self._sound.add(offset)
        block = contents(stored, offset)
        if len(block) <= MAX_KEPT:
            self._recent = offset, block
        return block


def check_sum(stored: memoryview, offset: int) -> None:
    """Refuse the block *stored* at *offset*, with its trailer, whose checksum is another."""
    found = mask(crc32c_of(stored[: 1 - TRAILER]))
    stated = int.from_bytes(stored[1 - TRAILER :], "little")
    if found != stated:
        raise CorruptCheckpoint(
            f"the checksum of the table's block at byte {offset} is {found:#010x}, "
            f"where {stated:#010x} was written: the file is damaged"
        )


def contents(stored: memoryview, offset: int) -> memoryview:
    """Return what is in the block *stored* at *offset*, with its trailer."""
    compression = stored[-TRAILER]
    if compression == SNAPPY:
        with noting(f"in the table's block at byte {offset}"):
            return memoryview(snappy.decompressed(bytes(stored[:-TRAILER])))
    if compression:
        raise CorruptCheckpoint(
            f"the table's block at byte {offset} has the unknown compression {compression}"
        )
    return stored[:-TRAILER]


def check_order(offset: int, last: bytes, first: bytes, end: bytes, bound: bytes) -> None:
    """Refuse the block at *offset*, whose keys are not behind *last* or not below its *bound*."""
    if (last and first <= last) or end > bound:
        raise CorruptCheckpoint(f"the block at byte {offset} of the table is out of order")


def read_handle(data: bytes, at: int) -> tuple[int, int, int]:
    """Return offset and size of the block whose handle stands at *at*, and where that ends."""
    offset, at = read_varint(data, at)
    size, at = read_varint(data, at)
    return offset, size, at


def entries_end(block: Buffer) -> int:
    """Return where the entries of *block* end and its restart offsets begin."""
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 - 4 * restarts
    if len(block) < 4 or end < 0:
        raise CorruptCheckpoint(
            f"a block of {len(block)} bytes of the table claims {restarts} restarts"
        )
    return end


def entries(block: memoryview, at: int) -> Iterator[tuple[bytes, memoryview]]:
    """Yield (key, value) of *block* from byte *at* on, where a restart stands."""
    end, key = entries_end(block), b""
    while at < end:
        shared, at = read_varint(block, at)
        fresh, at = read_varint(block, at)
        length, at = read_varint(block, at)
        middle = at + fresh
        if shared > len(key) or middle + length > end:
            raise CorruptCheckpoint(f"an entry before byte {at} of a block of the table is broken")
        key = key[:shared] + bytes(block[at:middle])
        at = middle + length
        yield key, block[middle:at]


def columns(block: bytes, stored: int) -> Columns:
    """Return the keys of *block* and their values: what `entries` yields, three times as fast.

    *stored* is the bytes that the block takes in the file.
    """
    end, at, key, room = entries_end(block), 0, b"", MAX_EXPANSION * stored
    keys: list[bytes] = []
    values: list[bytes] = []
    while at < end:
        # Each of the three numbers nearly always is one byte.  The four bytes of the restart count
        # lie behind the entries, so looking three bytes ahead stays inside the block.
        shared, fresh, length = block[at : at + 3]
        at += 3
        if shared > 0x7F or fresh > 0x7F or length > 0x7F:
            shared, at = read_varint(block, at - 3)
            fresh, at = read_varint(block, at)
            length, at = read_varint(block, at)
        middle = at + fresh
        begin, at = at, middle + length
        room -= shared
        if shared > len(key) or at > end or room < 0:
            raise CorruptCheckpoint(
                f"an entry before byte {at} of a block of the table is broken, or the keys of the "
                f"block take more than {MAX_EXPANSION} times its size"
            )
        key = key[:shared] + block[begin:middle]
        keys.append(key)
        values.append(block[middle:at])
    if not all(map(lt, keys, islice(keys, 1, None))):
        raise CorruptCheckpoint("the keys of a block of the table do not increase")
    return keys, values


def restart_before(block: memoryview, key: bytes) -> int:
    """Return the offset of the last restart of *block* whose key is not above *key*."""
    end = entries_end(block)
    low, high = 0, (len(block) - 4 - end) // 4
    while high - low > 1:
        middle = (low + high) // 2
        if restart_key(block, end, middle) <= key:
            low = middle
        else:
            high = middle
    return restart_offset(block, end, low) if low else 0


def restart_offset(block: memoryview, end: int, number: int) -> int:
    """Return where the restart *number* of *block* begins; its entries end at *end*."""
    at = end + 4 * number
    return int.from_bytes(block[at : at + 4], "little")


def restart_key(block: memoryview, end: int, number: int) -> bytes:
    """Return the key at restart *number* of *block*, which must be written out in full."""
    for key, _ in entries(block, restart_offset(block, end, number)):
        return key
    raise CorruptCheckpoint(f"restart {number} of a block of the table lies behind its entries")


def write_table(items: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the table of *items*, which are sorted by key, each key once."""
    out = bytearray()
    index: Items = []
    left = iter(items)
    while True:
        block, last_key = next_block(left, RESTART_INTERVAL, BLOCK_SIZE)
        if last_key is None:
            break
        index.append((last_key, handle(len(out), len(block))))
        out += sealed(block)
    meta = handle(len(out), len(block))  # the metaindex block is one of nothing
    out += sealed(block)
    index_block = build_block(index, 1)
    footer = meta + handle(len(out), len(index_block))
    out += sealed(index_block)
    return bytes(out + footer.ljust(FOOTER - 8, b"\0") + MAGIC)


def build_block(items: Items, interval: int) -> bytes:
    """Return a block of all *items* with a restart every *interval* entries."""
    return next_block(iter(items), interval, sys.maxsize)[0]


def next_block(
    items: Iterator[tuple[bytes, bytes]], interval: int, room: int
) -> tuple[bytes, bytes | None]:
    """Return a block of the next *items*, ended by the one that fills *room*, and its last key."""
    parts: list[bytes] = []
    restarts = [0]
    size = shared = 0
    last = None
    for number, (key, value) in enumerate(items):
        if last is not None and number % interval:
            end = shared + 1
            if key[:shared] != last[:shared] or key[shared:end] == last[shared:end]:
                shared = shared_prefix(last, key)  # nearly always as many as the one before
            fresh = key[shared:]
        else:
            if number:
                restarts.append(size)
            shared, fresh = 0, key
        if len(key) < 128 and len(value) < 128:
            numbers = bytes((shared, len(fresh), len(value)))
        else:
            numbers = varint(shared) + varint(len(fresh)) + varint(len(value))
        parts += numbers, fresh, value
        size += len(numbers) + len(fresh) + len(value)
        last = key
        if size >= room:
            break
    restarts.append(len(restarts))
    return b"".join((*parts, *(offset.to_bytes(4, "little") for offset in restarts))), last


def shared_prefix(a: bytes, b: bytes) -> int:
    """Return how many leading bytes *a* and *b* share.

    >>> shared_prefix(b"layer1/w", b"layer12/w")
    6
    """
    length = min(len(a), len(b))
    differing = int.from_bytes(a[:length]) ^ int.from_bytes(b[:length])
    return length - (differing.bit_length() + 7) // 8


def sealed(block: bytes) -> bytes:
    """Return *block* with its compression (none) and checksum behind it."""
    block += b"\0"
    return block + mask(crc32c(block)).to_bytes(4, "little")


def handle(offset: int, size: int) -> bytes:
    """Return where a block stands, as the index and the footer say it."""
    return varint(offset) + varint(size)
