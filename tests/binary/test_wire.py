"""Protocol buffers on the wire: round trips, and messages that break the rules."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmstart.binary import wire
from warmstart.errors import CheckpointError, CorruptCheckpoint


@given(st.integers(0, 2**64 - 1))
def test_varint_round_trip(value: int) -> None:
    raw = wire.varint(value)
    assert wire.read_varint(b"xx" + raw + b"yy", 2) == (value, 2 + len(raw))


@given(st.integers(-(2**63), 2**63 - 1))
def test_signed_is_twos_complement(value: int) -> None:
    assert wire.signed(value % 2**64) == value


def test_fields_of_every_kind() -> None:
    message = (
        wire.number_field(1, 300)
        + wire.number_field(2, 0)
        + wire.bytes_field(3, b"text")
        + b"\x25\x01\x00\x00\x00"
        + b"\x29\x02\x00\x00\x00\x00\x00\x00\x00"
    )
    assert list(wire.fields(message)) == [(1, 300), (3, b"text"), (4, 1), (5, 2)]


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (b"\x08", "a number is cut off at byte 1"),
        (b"\x08\x80", "a number is cut off at byte 2"),
        (b"\x08" + b"\xff" * 10, "a number takes more than 10 bytes, before byte 11"),
        (b"\x0a\x05ab", "field 1 claims 5 bytes, where 2 are left"),
        (b"\x0d\x01", "field 1 claims 4 bytes, where 1 are left"),
        (b"\x0b", "field 1 of a message has the unknown kind 3"),
    ],
)
def test_broken_messages(message: bytes, fault: str) -> None:
    with pytest.raises(CorruptCheckpoint, match=fault):
        list(wire.fields(message))


def test_a_field_of_the_wrong_kind() -> None:
    with pytest.raises(CorruptCheckpoint, match="a size is bytes where a number is expected"):
        wire.as_number(b"x", "a size")
    with pytest.raises(CorruptCheckpoint, match="a name is a number where bytes are expected"):
        wire.as_bytes(1, "a name")


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(message: bytes) -> None:
    with suppress(CheckpointError):
        assert all(number < 1 << 61 for number, _ in wire.fields(message))
