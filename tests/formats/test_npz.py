"""npz and npy: the contract, and NumPy as the judge."""

from pathlib import Path

import numpy as np

from warmstart.formats import npz
from warmstart.testing import FormatContract


class TestNpz(FormatContract):
    format = npz
    checksummed = True

    def petabyte(self, path: Path) -> None:
        self.save({"x": np.ones(5, np.float32)}, path.parent)
        whole = path.read_bytes()
        path.write_bytes(whole.replace(b"(5,), }    ", b"(250000000000000,), }"[:11]))
