"""Runs on the real engines, killed for real and started again by the same command."""

import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from warmstart.proving.results import compare_runs

STEPS = 21  # of a whole run, 7 an epoch
PROGRAMS = {
    path.stem.removeprefix("run_"): path for path in sorted(Path(__file__).parent.glob("run_*.py"))
}


def run(engine: str, folder: Path, kill_at: int = 0) -> int:
    """Run the program of *engine* and return how it ended."""
    command = [sys.executable, str(PROGRAMS[engine]), str(folder), str(kill_at)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    # No pipe: the workers of a killed one hold it for the seconds until they see that it is gone.
    with tempfile.TemporaryFile() as said:
        done = subprocess.run(command, env=environment, stdout=said, stderr=said, check=False)
        said.seek(0)
        assert done.returncode in (0, -signal.SIGKILL), said.read().decode()
    return done.returncode


@pytest.fixture(scope="module", params=PROGRAMS)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was never killed, called after its engine."""
    folder = tmp_path_factory.mktemp("whole") / str(request.param)
    assert run(request.param, folder) == 0
    return folder


def test_a_run_killed_again_and_again_ends_with_the_same_bits(whole: Path, tmp_path: Path) -> None:
    kills = sorted(random.Random(0).sample(range(1, STEPS), 3))
    folder = tmp_path / whole.name
    for step in kills:
        assert run(whole.name, folder, step) == -signal.SIGKILL
    assert run(whole.name, folder) == 0
    found = compare_runs(whole, folder)
    assert {f"model-{STEPS}", "min-loss", "stats.jsonl"}.issubset(found.compared)
    assert list(found.lines()) == []
    assert names_in(folder) == names_in(whole)


def names_in(folder: Path) -> list[str]:
    """Return the files there; one written over its elder has another data file each time."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("min-"))
