"""Packed varints: what the reader of single ones gives, and bytes that break the rules."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmstart.binary import varints
from warmstart.binary.varints import count_varints, decode_varints
from warmstart.binary.wire import varint
from warmstart.errors import CorruptCheckpoint

NUMBERS = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 300), max_size=200)


def everything(data: bytes) -> np.ndarray:
    """Return all numbers in *data*."""
    count = count_varints(memoryview(data))
    found = np.concatenate([np.zeros(0, np.uint64), *decode_varints(memoryview(data))])
    assert found.size == count
    return found


@given(NUMBERS)
def test_what_is_packed(numbers: list[int]) -> None:
    found = everything(b"".join(map(varint, numbers)))
    np.testing.assert_array_equal(found, np.array(numbers, np.uint64), strict=True)


def test_chunks_end_between_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(varints, "CHUNK", 16)
    numbers = [1 << (7 * n) for n in range(9)] * 20
    assert everything(b"".join(map(varint, numbers))).tolist() == numbers


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x01\x80", "2 bytes of packed numbers end inside a number"),
        (b"\x80" * 10 + b"\x01", "a packed number takes 11 bytes, where 10 is the most"),
        (b"\x80" * 99 + b"\x01", "a packed number takes more than 10 bytes, before byte 64"),
    ],
)
def test_bytes_that_break_the_rules(
    data: bytes, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(varints, "CHUNK", 64)
    with pytest.raises(CorruptCheckpoint, match=message):
        everything(data)
