"""The whole story, once an engine, as a person would run it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
FROZEN = {
    "torch": 7,
    "tf": 6,
    "keras": 6,
    "jax": 6,
}  # variables of the pretrained layer and its batch norm


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["torch", "tf", "keras", "jax"])
def test_every_proof_holds(engine: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from warmstart.cli import main; main()",
         "demo", "--engine", engine, "--folder", "here"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
    compared = subprocess.run(
        ["sh", "diff.sh"], cwd=tmp_path / "here" / engine, capture_output=True, text=True,
        check=False, env=os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert compared.returncode == 0, compared.stdout + compared.stderr
    assert compared.stdout.splitlines()[-1].startswith(f"{FROZEN[engine]} tensors are the same, 0")
