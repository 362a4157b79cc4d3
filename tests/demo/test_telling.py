"""The demo shows what it runs, and remembers what did not hold."""

from pathlib import Path

import pytest

from warmstart.demo.telling import MAX_LINES, Telling, shown


def test_a_command_is_shown_run_and_its_output_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = Telling(tmp_path).type("python -c 'print(6 * 7)'")
    assert (done.code, done.output) == (0, "42\n")
    assert capsys.readouterr().out == "  $ python -c 'print(6 * 7)'\n    42\n"


def test_it_runs_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "here.txt").write_text("it is")
    assert Telling(tmp_path).type("cat here.txt").output == "it is"


def test_a_command_that_is_killed_ends_with_the_signal(tmp_path: Path) -> None:
    command = "python -c 'import os; os.kill(os.getpid(), 9)'"
    assert Telling(tmp_path).type(command).code == -9


def test_claims_are_remembered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    telling = Telling(tmp_path)
    telling.prove("water is wet", True)
    telling.prove("fire is cold", False)
    assert (telling.proved, telling.failed) == (["water is wet"], ["fire is cold"])
    assert capsys.readouterr().out == "  proved: water is wet\n  FAILED: fire is cold\n"


def test_the_middle_of_a_long_output_is_left_out() -> None:
    lines = shown("\n".join(f"line {n}" for n in range(100))).splitlines()
    assert len(lines) == MAX_LINES + 1
    assert lines[0] == "    line 0"
    assert f"{100 - MAX_LINES} more lines" in lines[MAX_LINES // 2]
    assert lines[-1] == "    line 99"


def test_an_excerpt_of_a_script_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "job.py").write_text("a = 1\ndef f():\n    b = [\n        2,\n    ]\n    c = 3\n")
    Telling(tmp_path).excerpt("job.py", "b =", "]")
    assert capsys.readouterr().out == "  # in job.py\n    b = [\n        2,\n    ]\n"
