"""Runs on the real engines, stopped while they save; `engines.py ENGINE` tries every point."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("engines.py")
ENVIRONMENT = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}


@pytest.mark.parametrize(
    ("engine", "stride", "way"),
    [
        ("torch", 9, "at once"),
        ("torch", 33, "beside"),
        ("jax", 61, "at once"),
        ("keras", 61, "at once"),
        ("tf2", 61, "at once"),
        ("tf_graph", 37, "at once"),
    ],
)
def test_a_run_stopped_while_it_saves_ends_with_the_same_bits(
    engine: str, stride: int, way: str
) -> None:
    pytest.importorskip({"tf2": "tensorflow", "tf_graph": "tensorflow"}.get(engine, engine))
    command = [sys.executable, str(PROGRAM), engine, str(stride), way]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["failed"] == []
    assert found["tried"] >= 2
