"""MessagePack by structure, with the reference as the judge."""

import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmstart.binary import msgpack as module
from warmstart.binary.msgpack import Place, packed, parse
from warmstart.errors import CheckpointError, CorruptCheckpoint, UnsupportedCheckpoint

KEYS = st.text(max_size=40) | st.integers(-(2**63), 2**64 - 1)
VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda some: st.lists(some, max_size=20) | st.dictionaries(KEYS, some, max_size=20),
    max_leaves=30,
)  # fmt: skip


@given(VALUES)
def test_what_the_reference_packs_is_parsed(value: Any) -> None:
    assert parse(memoryview(msgpack.packb(value))) == value


@given(VALUES)
def test_what_is_packed_is_as_the_reference_packs_it(value: Any) -> None:
    assert packed(value) == msgpack.packb(value)


@pytest.mark.parametrize("count", [15, 16, 31, 32, 255, 256, 65535, 65536])
def test_lengths_at_the_edge_of_a_kind(count: int) -> None:
    for value in ("x" * count, [1] * count, {str(i): 0 for i in range(count)}):
        assert packed(value) == msgpack.packb(value)
        assert parse(memoryview(packed(value))) == value


def test_single_precision_numbers() -> None:
    assert parse(memoryview(msgpack.packb(0.5, use_single_float=True))) == 0.5


@pytest.mark.parametrize("nbytes", [0, 1, 2, 4, 5, 8, 16, 17, 255, 256, 65536])
def test_bytes_and_extensions_are_places(nbytes: int) -> None:
    raw = msgpack.packb([bytes(nbytes), msgpack.ExtType(-5 % 128, b"x" * nbytes)])
    data, extension = parse(memoryview(raw))
    assert raw[data.begin : data.end] == bytes(nbytes)
    assert raw[extension.begin : extension.end] == b"x" * nbytes
    assert (data.code, extension.code) == (None, 123)


def test_a_part_of_a_file() -> None:
    assert parse(memoryview(b"\xff\x91\x05\xff"), 1, 3) == [5]


def test_hooks_stand_for_maps_and_extensions() -> None:
    raw = msgpack.packb({"a": msgpack.ExtType(7, b"abc")})
    assert parse(memoryview(raw), on_map=sorted, on_extension=str) == ["a"]
    assert parse(memoryview(raw), on_extension=lambda p: p.code) == {"a": 7}
    assert parse(memoryview(raw))["a"] == Place(6, 9, 7)


BROKEN = {
    "nothing": (b"", "1 bytes are to follow byte 0, where 0 are left"),
    "no kind": (b"\xc1", "byte 0 is c1, which begins no value"),
    "more": (b"\x01\x02", "the value ends at byte 1, and 1 bytes follow it"),
    "text cut off": (b"\xa5ab", "5 bytes are to follow byte 1, where 2 are left"),
    # An allocation by the claim would take 4 GiB of memory for six bytes.
    "text of 4 GiB": (b"\xdb\xff\xff\xff\xffa", "4294967295 bytes are to follow byte 5"),
    "bytes of 4 GiB": (b"\xc6\xff\xff\xff\xffa", "4294967295 bytes are to follow byte 5"),
    "extension of 4 GiB": (b"\xc9\xff\xff\xff\xff\1a", "4294967295 bytes are to follow byte 6"),
    "list of 4 billion": (b"\xdd\xff\xff\xff\xff", "4294967295 values are to follow byte 5"),
    "map of 4 billion": (b"\xdf\xff\xff\xff\xff", "4294967295 values are to follow byte 5"),
    # A recursive parser would overflow the stack of the process.
    "deep lists": (b"\x91" * 10_000, "values lie more than 100 deep in one another"),
    "deep maps": (b"\x81\xa0" * 10_000, "values lie more than 100 deep in one another"),
    # Readers differ on which of the two counts, so that what one shows another does not load.
    "twice": (b"\x82\xa1a\x01\xa1a\x02", "the key 'a' stands twice in one map, at byte 4"),
    "list as key": (b"\x81\x91\x01\x02", "the key at byte 1 is no text and no number"),
    "NaN as key": (b"\x81\xcb\x7f\xf8" + bytes(6) + b"\1", "the key at byte 1 is no text and no"),
    "bytes as key": (b"\x81\xc4\x01a\x01", "the key at byte 1 is no text and no number"),
    "no UTF-8": (b"\xa1\xff", "the text before byte 2 is not UTF-8"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_bytes(fault: str) -> None:
    raw, message = BROKEN[fault]
    with pytest.raises(CorruptCheckpoint, match=message):
        parse(memoryview(raw))


def test_values_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gigabyte of one-byte values would take two hundred of memory."""
    monkeypatch.setattr(module, "MAX_VALUES", 10)
    with pytest.raises(UnsupportedCheckpoint, match="the file holds more than 10 values"):
        parse(memoryview(packed([0] * 11)))


def test_bytes_are_not_copied() -> None:
    raw = memoryview(msgpack.packb({"a": bytes(50_000_000)}))
    tracemalloc.start()
    try:
        parse(raw)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(raw: bytes) -> None:
    assert parsed_or_refused(raw)


def parsed_or_refused(raw: bytes) -> bool:
    """Return True; anything but CheckpointError that comes out of *raw* fails the test."""
    try:
        parse(memoryview(raw))
    except CheckpointError:
        return True
    return True


def test_what_has_no_place() -> None:
    with pytest.raises(TypeError, match="a set has no place in MessagePack"):
        packed({1, 2})
    with pytest.raises(OverflowError, match=f"{2**64} takes more than 64 bits"):
        packed(2**64)
