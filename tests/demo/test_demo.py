"""The whole story, once an engine, as a person would run it."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["torch", "tf"])
def test_every_proof_holds(engine: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from warmstart.cli import main; main()",
         "demo", "--engine", engine, "--folder", "here"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
    assert (tmp_path / "here" / engine / "mnist_ext.npz").is_file()
