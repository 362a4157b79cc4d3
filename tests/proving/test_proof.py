"""Commands are killed for real, and what they leave is compared."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from warmstart.cli import run as run_command
from warmstart.cli.prove import ending_with_the_terminal
from warmstart.proving import proof
from warmstart.proving.kills import Pace
from warmstart.proving.processes import ProofError
from warmstart.proving.proof import Proof, Trial, prove
from warmstart.proving.results import compare_runs

PROGRAM = [sys.executable, str(Path(__file__).with_name("program.py")), "anywhere"]
FOREIGN = [sys.executable, str(Path(__file__).with_name("foreign.py")), "{dir}"]


def proved(command: list[str], folder: Path, **arguments: Any) -> tuple[Proof, list[str]]:
    """Return what came out, and what was said meanwhile."""
    said: list[str] = []
    return prove(command, folder, **{"seed": 3, "say": said.append, **arguments}), said


def test_a_run_that_goes_on_exactly_is_proved(tmp_path: Path) -> None:
    found, said = proved(PROGRAM, tmp_path / "runs", kills=3)
    assert found.proved, found.lines()
    assert {"model-30", "min-loss", "stats.jsonl"} <= set(found.comparison.compared)
    assert found.lines()[-1].startswith("PROVED (seed 3): ")
    assert found.lines()[-1].endswith("; the results are the same, bit for bit")
    assert said[0] == "seed 3"
    assert "save" in {kill.where for kill in found.kills}, said
    assert sorted(path.name for path in (tmp_path / "runs").glob("*/")) == ["killed", "straight"]


def test_what_a_resume_loses_is_named(tmp_path: Path) -> None:
    found, said = proved([*PROGRAM, "--forget"], tmp_path, kills=3)
    assert not found.proved
    assert said[-1].startswith("the results differ; the command runs unkilled once more")
    lines = found.lines()
    assert lines[-1].startswith("NOT PROVED (seed 3): 3 kills hit, ")
    assert lines[-1].endswith(" in a save, and the results differ")
    (weights,) = [line for line in lines if line.startswith("differs: model-30: w: ")]
    assert "at [0]; 3 of 3 values differ" in weights
    assert any(line.startswith("differs: stats.jsonl: line ") for line in lines)
    but = ["_RUN/*", "w*", "run state *", "*.jsonl"]
    assert compare_runs(tmp_path / "straight", tmp_path / "killed", but).differences == ()


def test_a_generator_that_nobody_seeds_or_uses_is_left_out(tmp_path: Path) -> None:
    found, _ = proved([*PROGRAM, "--unused"], tmp_path, kills=1)
    assert found.proved
    assert found.lines()[1] == (
        "not compared, as no two runs have it in common: _RUN/random/python/internal"
    )


def test_a_command_that_is_never_twice_the_same_proves_nothing(tmp_path: Path) -> None:
    found, _ = proved([*FOREIGN, "--unseeded"], tmp_path, kills=1)
    assert not found.proved
    assert "two runs that were not killed differ as well" in found.verdict()
    assert "seed all generators" in found.verdict()


def test_a_command_that_cannot_go_on_is_not_proved(tmp_path: Path) -> None:
    found, _ = proved([*FOREIGN, "--fragile"], tmp_path, seed=8, kills=3)
    assert not found.proved
    assert found.failure.startswith("killed after ")
    assert "and started again, the command ended with 1:\n    this program cannot" in found.failure


def test_a_command_that_is_not_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--seed", "5", "--kills", "2", "--json", "--folder", str(tmp_path / "runs")]
    code = run_command(["prove", *arguments, "--", *FOREIGN])
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert (code, found["proved"], found["seed"]) == (0, True, 5), captured.err
    assert found["compared"] == ["last.npz"]
    assert found["kills"][0].keys() == {"seconds", "cut_short", "where"}
    assert captured.err.startswith("seed 5\nthe unkilled run takes ")


def test_a_command_that_ends_too_fast_is_not_proved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "import sys, numpy; numpy.savez(sys.argv[1] + '/a.npz', w=1)"
    assert run_command(["prove", "--seed", "1", sys.executable, "-c", code, "{dir}"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("NOT PROVED (seed 1): no kill hit, since the command works for 0.")
    assert out.endswith(" s only: give it more steps\n")


def test_a_pace_that_was_too_slow_is_corrected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "pace_of", lambda watch, end: Pace(0.0, 20 * end, 0.0))
    found, said = proved(FOREIGN, tmp_path, kills=1)
    assert found.proved
    assert "the command ended before kill 1 of 1" in said


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["no-such-program", "{dir}"], "no-such-program .*/run cannot be started: No such file"),
        ([sys.executable, "-c", "print('a'); exit(3)"],
         r"ended with 3 before anything was killed:\n    a$"),
        ([sys.executable, "-c", "exit(3)"], r"was killed:\n    \(nothing printed\)$"),
        ([sys.executable, "-c", "pass"],
         "left no checkpoint in .*/run; tell it where with {dir} in the command, or let it write "
         "where WARMSTART_LOGGER_DIR says"),
    ],
)  # fmt: skip
def test_what_cannot_be_proved_is_an_error(
    tmp_path: Path, command: list[str], message: str
) -> None:
    with pytest.raises(ProofError, match=message):
        prove(command, tmp_path / "runs")


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(ProofError, match="has files in it; the proof needs an empty folder"):
        prove(["true"], tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ProofError, match="file cannot be made for the runs: File exists"):
        prove(["true"], tmp_path / "file")


def test_a_command_may_go_to_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    copy = "import os, shutil, sys; os.chdir('/'); shutil.copy(*sys.argv[1:])"
    np.savez(tmp_path / "a.npz", a=1)
    found, _ = proved([sys.executable, "-c", copy, str(tmp_path / "a.npz"), "{dir}"], Path("runs"))
    assert found.verdict().startswith("NOT PROVED (seed 3): no kill hit, since the command works")


def test_a_command_that_removes_its_folder_is_not_proved(tmp_path: Path) -> None:
    trial = Trial(["rmdir", "{dir}"], tmp_path, 60, print)
    failure = f"the command left no folder {tmp_path / 'run'} at its end"
    assert trial.interrupted(Pace(0, 1, 0), []) == ([], failure)


def test_a_command_that_never_ends_is_killed(tmp_path: Path) -> None:
    with pytest.raises(ProofError, match=r"did not end within 0.5 s; .*(\n.*)*a longer --timeout"):
        prove(["sleep", "60"], tmp_path, timeout=0.5)


def test_the_command_line_says_what_could_not_be_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_command(["prove", "no-such-program"]) == 2
    assert "error: no-such-program cannot be started: No such file" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_runs_on_after_an_interrupt(tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "runs"
    code = "from warmstart.cli import main\nimport sys\nmain(['prove', *sys.argv[1:]])"
    command = [sys.executable, "-c", code, "--folder", str(folder), *PROGRAM, "--hang"]
    proving = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_until((folder / "run/stats.jsonl").exists)
    assert running(str(folder))
    proving.send_signal(number)
    _, said = proving.communicate(timeout=20)
    assert (proving.returncode, said.splitlines()[-1]) == (130, "stopped")
    assert not running(str(folder))


def test_a_terminal_that_is_closed_interrupts_but_under_nohup() -> None:
    before = signal.getsignal(signal.SIGHUP)
    with pytest.raises(KeyboardInterrupt), ending_with_the_terminal():
        os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) == before
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with ending_with_the_terminal():
        os.kill(os.getpid(), signal.SIGHUP)
    signal.signal(signal.SIGHUP, before)


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def running(word: str) -> bool:
    """Return whether any process has *word* in its command or its environment."""
    said = b""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            said += (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
    return word.encode() in said
