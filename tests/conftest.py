"""Settings of every test, and what tests of several layers need."""

import os
import tempfile
from collections.abc import Callable

import pytest
import snappy
from hypothesis import settings

from warmstart.binary.checksum import crc32c, mask
from warmstart.binary.table import FOOTER, MAGIC, Table, build_block, handle

#: Keras has one backend in a process; whoever tests another does so in a process of its own.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

settings.register_profile("warmstart", deadline=None, print_blob=True)
settings.load_profile("warmstart")


#: Where JAX keeps what it has compiled, and that it is to keep all of it.
PROGRAMS = "JAX_COMPILATION_CACHE_DIR"
KEEP_ALL = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


def pytest_configure(config: pytest.Config) -> None:
    """Let JAX compile a program once for all processes of these tests, which takes half as long."""
    if PROGRAMS not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="warmstart-programs-")
        config.add_cleanup(folder.cleanup)
        os.environ |= {PROGRAMS: folder.name, **KEEP_ALL}


@pytest.fixture(scope="session")
def compressed() -> Callable[[bytes], bytes]:
    """Return what writes a table anew with its blocks compressed, as old writers did."""
    return with_compressed_blocks


def with_compressed_blocks(table: bytes) -> bytes:
    """Return *table* with its blocks, and the index of these, compressed."""
    out, index = bytearray(), []
    for keys, values in Table(table, verify=True).blocks():
        block = snappy.compress(build_block(list(zip(keys, values, strict=True)), 16))
        index.append((keys[-1], handle(len(out), len(block))))
        out += stored(block)
    footer = b""
    for last in (build_block([], 1), build_block(index, 1)):
        block = snappy.compress(last)
        footer += handle(len(out), len(block))
        out += stored(block)
    return bytes(out) + footer.ljust(FOOTER - 8, b"\0") + MAGIC


def stored(block: bytes) -> bytes:
    """Return a compressed *block* with its trailer."""
    block += b"\1"
    return block + mask(crc32c(block)).to_bytes(4, "little")
