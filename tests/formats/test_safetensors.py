"""safetensors: the contract, and the reference as the judge."""

from pathlib import Path

from warmstart.formats import safetensors
from warmstart.formats.safetensors.header import CODES
from warmstart.testing import FormatContract


class TestSafetensors(FormatContract):
    format = safetensors
    dtypes = frozenset(dtype for dtype, _ in CODES.values())

    def petabyte(self, path: Path) -> None:
        header = (
            b'{"x":{"dtype":"F32","shape":[250000000000000],"data_offsets":[0,1000000000000000]}}'
        )
        path.write_bytes(len(header).to_bytes(8, "little") + header)
