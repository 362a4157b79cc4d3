"""CRC-32C: known values, parts combined, and the extension loaded in either way."""

import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmstart.binary import checksum
from warmstart.binary.checksum import (
    combine,
    crc32,
    crc32_of,
    crc32c,
    crc32c_of,
    find_crc32,
    mask,
    masked,
)


def test_known_values() -> None:
    assert crc32c(b"") == 0
    assert crc32c(b"123456789") == 0xE3069283
    assert mask(0xE3069283) == 0xC78AB0E5


def test_masking_an_array_is_masking_each() -> None:
    crcs = np.array([0, 1, 0xE3069283, 0xFFFFFFFF], np.uint32)
    assert masked(crcs).tolist() == [mask(crc) for crc in crcs.tolist()]


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_combined_is_that_of_both_in_a_row(first: bytes, second: bytes) -> None:
    assert combine(crc32c(first), crc32c(second), len(second)) == crc32c(first + second)


@pytest.mark.parametrize("nbytes", [0, 1, 1000, 1001, 4096])
def test_parts_in_threads_give_the_same(nbytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksum, "WORTH_A_THREAD", 100)
    monkeypatch.setattr(checksum, "threads", lambda: 3)
    data = np.random.default_rng(0).integers(0, 256, nbytes, np.uint8)
    assert crc32c_of(data) == crc32c(data)
    assert crc32_of(data) == zlib.crc32(data)


def run(code: str) -> str:
    """Return what *code* prints in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_the_package_is_not_imported() -> None:
    code = "import sys, warmstart.binary.checksum; print('crc32c' in sys.modules)"
    assert run(code) == "False"


def test_the_package_is_used_where_it_is_loaded_already() -> None:
    code = "import crc32c; from warmstart.binary.checksum import crc32c as ours; print(ours is {})"
    assert run(code.format("crc32c.crc32c")) == "True"


def test_the_package_is_imported_where_its_extension_is_not_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checksum, "EXTENSION_SUFFIXES", [])
    assert checksum.find_crc32c()(b"123456789") == 0xE3069283


def test_the_checksum_of_zip_archives_needs_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytes(range(256)) * 1000
    with_isal = crc32(data, 7)
    monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
    find_crc32.cache_clear()
    assert find_crc32() is zlib.crc32
    assert crc32(data, 7) == with_isal
    find_crc32.cache_clear()
