"""Snappy's raw form: what the library itself writes, and bytes that break the rules."""

import pytest
import snappy
from hypothesis import given
from hypothesis import strategies as st

from warmstart.binary.snappy import MAX_EXPANSION, decompressed
from warmstart.binary.wire import varint
from warmstart.errors import CheckpointError, CorruptCheckpoint

TEXTS = st.lists(st.sampled_from([b"a", b"layer/kernel", b"\0" * 70, b"x" * 3000])).map(b"".join)


@given(st.binary(max_size=500) | TEXTS)
def test_what_snappy_writes(data: bytes) -> None:
    assert decompressed(snappy.compress(data)) == data


@pytest.mark.parametrize("size", [60, 61, 256, 257, 65_536, 65_537, 1 << 20])
def test_literals_of_any_length(size: int) -> None:
    data = b"".join(n.to_bytes(4, "big") for n in range(size // 4 + 1))[:size]
    assert decompressed(snappy.compress(data)) == data


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        (b"\x01\x04", b"abcdabcd"),  # four bytes from four back
        (b"\x05\x01", b"abcdddddd"),  # five from one back: a copy of what it writes itself
        (b"\x1a\x03\x00", b"abcdbcdbcdb"),
        (b"\x1b\x03\x00\x00\x00", b"abcdbcdbcdb"),
        (b"\xf0\x03wxyz", b"abcdwxyz"),
        (b"\xfc\x03\x00\x00\x00wxyz", b"abcdwxyz"),
    ],
)
def test_each_kind_of_element(element: bytes, expected: bytes) -> None:
    data = varint(len(expected)) + b"\x0cabcd" + element
    assert decompressed(data) == expected == snappy.uncompress(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        # A header that would have reserved a petabyte.
        (varint(1 << 50) + b"\x0cabcd", "13 compressed bytes claim to hold 1125899906842624; at"),
        # Copies that would have gone on for ever, were the length not watched.
        (b"\x08\x0cabcd" + b"\xfe\x01\x00" * 999, "hold 68 bytes, where 8 are stated"),
        (b"\x09\x0cabcd", "compressed bytes hold 4 bytes, where 9 are stated"),
        (b"\x03\x0cabcd", "compressed bytes hold 4 bytes, where 3 are stated"),
        # References to what came before the start: other memory, in a careless reader.
        (b"\x08\x0cabcd\x01\x05", "copy from 5 bytes back, where 4 came before"),
        (b"\x08\x0cabcd\x01\x00", "copy from 0 bytes back, where 4 came before"),
        (b"\x08\x0cabcd\x03\xff\xff\xff\xff", "copy from 4294967295 bytes back"),
        (b"\x08\x0cabcd\x02\x04", "compressed bytes break off in a copy"),
        (b"\x08\x0cabc", "compressed bytes break off in a literal of 4 bytes"),
        (b"\x08\xfc\xff\xff", "compressed bytes break off in a literal of 65536 bytes"),
        (b"", "a number is cut off at byte 0"),
    ],
)
def test_bytes_that_break_the_rules(data: bytes, message: str) -> None:
    with pytest.raises(CorruptCheckpoint, match=message):
        decompressed(data)


@given(st.binary(max_size=60))
def test_anything_is_read_or_refused(data: bytes) -> None:
    try:
        assert len(decompressed(data)) <= MAX_EXPANSION * len(data)
    except CheckpointError:
        return
