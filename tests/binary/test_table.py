"""Sorted tables: round trips, lookups, and tables that break the rules."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import snappy
from hypothesis import given
from hypothesis import strategies as st

from warmstart.binary import table
from warmstart.binary.checksum import crc32c, mask
from warmstart.binary.table import FOOTER, MAGIC, Table, build_block, handle, sealed, write_table
from warmstart.binary.window import file_bytes
from warmstart.binary.wire import varint
from warmstart.errors import CorruptCheckpoint, full_text

Compress = Callable[[bytes], bytes]

MANY = {f"layer{i:05}/kernel".encode(): b"v%d" % i * (i % 50) for i in range(30_000)}


def everything(data: bytes, *, verify: bool = True) -> dict[bytes, bytes]:
    """Return all that is in the table *data*."""
    return {
        key: value
        for keys, values in Table(data, verify=verify).blocks()
        for key, value in zip(keys, values, strict=True)
    }


def table_of(block: bytes, last_key: bytes = b"\xff", *, kind: int = 0, gap: bytes = b"") -> bytes:
    """Return a table whose only block is *block*, said to be of *kind*, and then a *gap*."""
    meta = build_block([], 1)
    index = build_block([(last_key, handle(0, len(block)))], 1)
    stored = block + bytes([kind])
    stored += mask(crc32c(stored)).to_bytes(4, "little") + gap
    footer = handle(len(stored), len(meta)) + handle(len(stored) + len(sealed(meta)), len(index))
    return stored + sealed(meta) + sealed(index) + footer.ljust(FOOTER - 8, b"\0") + MAGIC


@given(st.dictionaries(st.binary(max_size=300), st.binary(max_size=300), max_size=60))
def test_round_trip(items: dict[bytes, bytes]) -> None:
    data = write_table(sorted(items.items()))
    assert everything(data) == items
    opened = Table(data, verify=True)
    assert {key: opened.get(key) for key in items} == items


def test_many_blocks() -> None:
    data = write_table(MANY.items())
    assert everything(data) == MANY
    assert len(list(Table(data, verify=True).blocks())) > 3


@pytest.mark.parametrize("key", [b"", b"layer", b"layer00000/kernel\0", b"layer3", b"z"])
def test_a_key_that_is_not_there(key: bytes) -> None:
    assert Table(write_table(MANY.items()), verify=True).get(key) is None


def test_one_name_is_found_in_one_block() -> None:
    damaged = bytearray(write_table(MANY.items()))
    damaged[400_000] ^= 1
    opened = Table(bytes(damaged), verify=True)
    assert opened.get(b"layer00007/kernel") == MANY[b"layer00007/kernel"]
    with pytest.raises(CorruptCheckpoint, match="checksum of the table's block at byte"):
        list(opened.blocks())


def test_too_short() -> None:
    with pytest.raises(CorruptCheckpoint, match="the table has 3 bytes; its footer alone takes 48"):
        Table(b"abc", verify=True)


def test_another_ending() -> None:
    with pytest.raises(CorruptCheckpoint, match=r"ends in 0{16}, not 57fb808b247547db"):
        Table(bytes(100), verify=True)


def test_a_block_beyond_the_file() -> None:
    footer = (handle(0, 8) + handle(1 << 40, 8)).ljust(FOOTER - 8, b"\0") + MAGIC
    with pytest.raises(CorruptCheckpoint, match="ends at byte 1099511627784 of 61, beyond its pl"):
        Table(bytes(13) + footer, verify=True)


def test_an_unknown_compression() -> None:
    with pytest.raises(CorruptCheckpoint, match="block at byte 0 has the unknown compression 7"):
        everything(table_of(build_block([(b"a", b"b")], 16), kind=7))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x05\x01\x01ab", "an entry before byte 5 of a block of the table is broken"),
        (b"\x00\x01\x7fab", "an entry before byte"),
        (b"\x00\x01\x01ab\x00\x01\x01ab", "keys of a block of the table do not increase"),
        (b"\x00\x01\x01bb\x00\x01\x01ab", "keys of a block of the table do not increase"),
        (b"\x00\x80\x80", "an entry before byte"),
    ],
)
def test_broken_entries(content: bytes, message: str) -> None:
    block = content + bytes(4) + (1).to_bytes(4, "little")
    with pytest.raises(CorruptCheckpoint, match=message):
        everything(table_of(block))


def test_a_broken_entry_met_by_a_lookup() -> None:
    block = b"\x05\x01\x01ab" + bytes(4) + (1).to_bytes(4, "little")
    with pytest.raises(
        CorruptCheckpoint, match="an entry before byte 3 of a block of the table is"
    ):
        Table(table_of(block), verify=True).get(b"a")


def test_more_restarts_than_bytes() -> None:
    block = bytes(4) + (99).to_bytes(4, "little")
    with pytest.raises(CorruptCheckpoint, match="a block of 8 bytes of the table claims 99 restar"):
        everything(table_of(block))


def test_a_restart_behind_the_entries() -> None:
    block = b"\0\x01\x01ab" + b"".join(n.to_bytes(4, "little") for n in (0, 99, 2))
    with pytest.raises(CorruptCheckpoint, match="restart 1 of a block of the table lies behind"):
        Table(table_of(block), verify=True).get(b"b")


def test_blocks_out_of_order() -> None:
    block = build_block([(b"b", b"")], 16)
    with pytest.raises(CorruptCheckpoint, match="block at byte 0 of the table is out of order"):
        everything(table_of(block, last_key=b"a"))


def test_keys_that_would_fill_the_memory() -> None:
    key = b"k" * 20_000
    entries = b"\0" + varint(len(key)) + b"\0" + key
    entries += b"".join(varint(len(key) + i) + b"\x01\0" + b"k" for i in range(20_000))
    with pytest.raises(CorruptCheckpoint, match="the keys of the block take more than 64 times"):
        everything(table_of(entries + bytes(4) + (1).to_bytes(4, "little")))


def test_unverified_damage_is_not_looked_for() -> None:
    data = bytearray(write_table([(b"a", b"value")]))
    data[6] ^= 1
    assert everything(bytes(data), verify=False) != {b"a": b"value"}


def test_the_layout_of_a_small_table() -> None:
    block = b"\0\x01\x01ab" + bytes(4) + b"\x01\0\0\0"
    assert write_table([(b"a", b"b")]).startswith(sealed(block))
    assert table.entries_end(block) == 5


@given(st.dictionaries(st.binary(max_size=300), st.binary(max_size=300), min_size=1, max_size=60))
def test_compressed_blocks(compressed: Compress, items: dict[bytes, bytes]) -> None:
    data = compressed(write_table(sorted(items.items())))
    assert everything(data) == items
    opened = Table(data, verify=True)
    assert {key: opened.get(key) for key in items} == items
    assert list(opened.keys()) == sorted(items)
    assert list(opened.unclaimed()) == []


def test_many_compressed_blocks(compressed: Compress) -> None:
    data = compressed(write_table(MANY.items()))
    assert len(data) < len(write_table(MANY.items())) / 2
    assert everything(data) == MANY


def test_a_compressed_block_that_cannot_be_right() -> None:
    with pytest.raises(CorruptCheckpoint, match="compressed bytes hold 0 bytes, where 5") as caught:
        everything(table_of(b"\x05", kind=1))
    assert "in the table's block at byte 0" in full_text(caught.value)


def test_keys_that_would_fill_the_memory_compressed() -> None:
    # 2 MB of keys that all share 20 kB, in a block of zeros that takes 100 kB when compressed.
    key = bytes(20_000)
    entries = b"\0" + varint(len(key)) + b"\0" + key
    entries += b"".join(varint(len(key) + i) + b"\x01\0\0" for i in range(20_000))
    block = snappy.compress(entries + bytes(4) + (1).to_bytes(4, "little"))
    with pytest.raises(CorruptCheckpoint, match="the keys of the block take more than 64 times"):
        everything(table_of(block, kind=1))


def test_a_large_value_is_not_copied() -> None:
    data = write_table([(b"a", bytes(5_000_000)), (b"b", b"x")])
    value = Table(memoryview(data), verify=True).find(b"a")
    assert value is not None
    assert np.shares_memory(np.frombuffer(value, np.uint8), np.frombuffer(data, np.uint8))


def test_read_plainly_it_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(write_table(MANY.items()))
    opened = Table(file_bytes(tmp_path / "t", mmap=False), verify=True)
    assert {key: opened.get(key) for key in list(MANY)[::1000]}.items() <= MANY.items()
    assert list(opened.keys()) == list(MANY)


def test_keys_out_of_order() -> None:
    block = build_block([(b"b", b"")], 16)
    with pytest.raises(CorruptCheckpoint, match="block at byte 0 of the table is out of order"):
        list(Table(table_of(block, last_key=b"a"), verify=True).keys())


def test_bytes_in_no_block() -> None:
    whole = table_of(build_block([(b"a", b"b")], 16), gap=b"hidden")
    assert list(Table(whole, verify=True).unclaimed()) == [
        "bytes 18 to 24 of the table are in no block"
    ]
    wide = whole[:-FOOTER] + b"???" + whole[-FOOTER:-9] + b"!" + MAGIC
    assert list(Table(wide, verify=True).unclaimed())[1:] == [
        f"bytes {len(whole) - FOOTER} to {len(whole) - FOOTER + 3} of the table are in no block",
        f"the footer of the table ends in {'00' * 35}21, where zeros should be",
    ]
