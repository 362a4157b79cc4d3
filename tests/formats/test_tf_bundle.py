"""Tensor bundles: the contract of a format, and what only bundles have."""

from pathlib import Path

from warmstart.binary.table import write_table
from warmstart.formats import tf_bundle
from warmstart.formats.tf_bundle.protos import NUMBERS, Entry, Header, encode_entry, encode_header
from warmstart.testing import FormatContract


class TestTensorBundle(FormatContract):
    format = tf_bundle
    dtypes = frozenset(NUMBERS)
    checksummed = True

    def petabyte(self, path: Path) -> None:
        """Claim a tensor of so many bytes, in pieces that are not there."""
        entry = Entry("float32", (1 << 48,), size=1 << 50)
        items = [(b"", encode_header(Header(1))), (b"x", encode_entry(entry))]
        path.write_bytes(write_table(items))
        path.with_name("whole.data-00000-of-00001").write_bytes(b"")
