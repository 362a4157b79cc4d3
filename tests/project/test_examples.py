"""The extensions in examples/ keep their contracts (its formats: tests/formats)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("folder", ["third_party_session", "callback_and_data"])
def test_it_keeps_its_contract(folder: str, tmp_path: Path) -> None:
    command = ["-m", "pytest", "-q", "-c", os.devnull, "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, *command, f"--basetemp={tmp_path / 'base'}", str(EXAMPLES / folder)],
        env=os.environ | {"PYTHONPATH": str(EXAMPLES / folder)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_fine_tuning_in_tensorflow_2_goes_on_where_it_was(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "tf2" / "finetune.py"), str(tmp_path)]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stdout.endswith("80 steps; the encoder is as it was\n"), done.stderr
