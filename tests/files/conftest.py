"""Checkpoints that the tests of files look at."""

from pathlib import Path

import numpy as np
import pytest

from warmstart.files.variables import save_vars
from warmstart.source import DictSource


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """Return a bundle with every role, a tied tensor, run state and metadata."""
    source = DictSource(
        {
            "fc/kernel": np.arange(6, dtype="f4").reshape(2, 3),
            "fc/kernel/Adam": np.ones((2, 3), "f4"),
            "bn/mean": np.zeros(3, "f4"),
            "global_step": np.int64(7),
            "_RUN/random": np.arange(4, dtype="u4"),
        },
        roles={
            "fc/kernel": "trainable",
            "fc/kernel/Adam": "slot",
            "bn/mean": "model",
            "global_step": "run",
        },
        aliases={"out/kernel": "fc/kernel"},
        metadata={"run": "{}", "note": "kept"},
    )
    save_vars(source, tmp_path / "trained")
    return tmp_path / "trained"
