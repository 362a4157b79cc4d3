"""The tests of this folder again, on the backends that this process has not."""

import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import pytest

OTHERS = sorted({"jax", "tensorflow", "torch"} - {keras.config.backend()})


@pytest.mark.slow
@pytest.mark.parametrize("backend", OTHERS)
def test_they_pass_on(backend):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
    command += [str(Path(__file__).parent), "--ignore", __file__]
    environment = {key: value for key, value in os.environ.items() if "PYTEST" not in key}
    done = subprocess.run(
        command,
        env={**environment, "KERAS_BACKEND": backend},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.search(r"\n\d+ passed", done.stdout), done.stdout[-5000:] + done.stderr[-2000:]
    assert "failed" not in done.stdout.splitlines()[-1]
