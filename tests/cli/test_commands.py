"""The other commands, and what all have in common."""

import importlib
import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

import warmstart as ws
from warmstart.cli import BROKEN_PIPE, COMMANDS, cli, output, run

Run = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("checkpoint")


def test_diff_of_the_same(warmstart: Run) -> None:
    warmstart("convert", "m", "m.npz")
    done = warmstart("diff", "m", "m.npz", "--all")
    assert (done.code, done.err) == (0, "")
    assert done.out == "5 tensors are the same, 0 differ, 0 only in m, 0 only in m.npz\n"


def test_diff_under_renames_rules_and_tolerances(warmstart: Run, tmp_path: Path) -> None:
    kernel = np.arange(6, dtype="f4").reshape(2, 3) + np.float32(0.01)
    ws.save_vars({"dense/kernel": kernel}, tmp_path / "b.npz")
    rules = ["--rename", "fc/*=dense/*", "--rule", "keep dense/kernel", "--rule", "drop */Adam"]
    assert warmstart("diff", "m", "b.npz", *rules, "--atol", "0.1").code == 0
    done = warmstart("diff", "m", "b.npz", *rules)
    assert done.code == 1
    assert "dense/kernel: float32 (2, 3), 6 of 6 values differ; max abs 0.01" in done.out


def test_diff_as_json(warmstart: Run, tmp_path: Path) -> None:
    ws.save_vars({"bn/mean": np.array([np.nan, 0, 1], "f4")}, tmp_path / "b.npz")
    done = warmstart("diff", "m", "b.npz", "--json")
    assert done.code == 1
    assert json.loads(done.out)["changed"][0]["name"] == "bn/mean"


@pytest.mark.parametrize("rename", ["fc", "=fc", "fc="])
def test_no_rename(rename: str, warmstart: Run) -> None:
    done = warmstart("diff", "m", "m", "--rename", rename)
    assert done.code == 2
    assert f"{rename!r} is not OLD=NEW" in done.err


def test_convert(warmstart: Run) -> None:
    done = warmstart("convert", "m", "n", "--roles", "trainable, model", "--format", "npz")
    assert (done.code, done.out) == (0, "wrote n (npz): 2 tensors, 3 left out\n")
    loaded = ws.load_vars("n")
    assert (loaded.keys(), loaded.aliases) == (
        {"fc/kernel", "bn/mean"},
        {"out/kernel": "fc/kernel"},
    )


def test_convert_as_json(warmstart: Run) -> None:
    value = json.loads(warmstart("convert", "m", "n", "--rule", "keep fc/*", "--json").out)
    assert (value["tensors"], value["left_out"]) == (3, ["bn/mean", "names"])


def test_dump_says_by_which_rule(warmstart: Run) -> None:
    done = warmstart("dump", "m", "n.npz")
    assert done.out == (
        "wrote n.npz (npz): 3 tensors, 2 left out by the roles recorded in the checkpoint\n"
    )
    assert warmstart("dump", "n.npz", "o", "--json").code == 0


def test_verify(warmstart: Run, tmp_path: Path) -> None:
    done = warmstart("verify", "m")
    assert done.code == 0
    assert done.out.splitlines()[0] == "note   bn/mean: 1 NaN and 1 Inf of 3 values"
    data = tmp_path / "m.data-00000-of-00001"
    data.write_bytes(data.read_bytes().replace(b"bc", b"bd"))
    done = warmstart("verify", "m", "--json")
    assert done.code == 1
    assert json.loads(done.out)["faults"][0]["name"] == "names"


def test_the_module_is_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["warmstart", "--version"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("warmstart", run_name="__main__")
    assert capsys.readouterr().out == f"warmstart {ws.__version__}\n"


def test_without_a_command_there_is_help(warmstart: Run) -> None:
    assert warmstart() == warmstart("--help")
    assert warmstart().code == 0


@pytest.mark.parametrize(
    ("command", "said"),
    [("covert", "'covert'; near it: convert\n"), ("info", "'info'; the commands: ls, show, ")],
)
def test_a_command_that_there_is_not(command: str, said: str, warmstart: Run) -> None:
    done = warmstart(command, "x")
    assert done.code == 2
    assert f"error: no command is called {said}" in done.err


def test_verify_a_folder_and_put_it_in_order(warmstart: Run, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    ws.save_vars({"w": np.ones(3)}, tmp_path / "run" / "model-5")
    (tmp_path / "run" / "model-7.data-00000-of-00001").touch()
    done = warmstart("verify", "--deep", "run")
    assert (done.code, done.err) == (0, "")
    assert "note   run state: none: it holds variables alone" in done.out
    expected = "remove model-7.data-00000-of-00001: no index refers to it: a save was stopped"
    done = warmstart("verify", "run", "--repair", "--dry-run")
    assert (done.code, done.out.splitlines()[0]) == (0, expected)
    assert json.loads(warmstart("verify", "run", "--repair", "--json").out)["done"] is True
    assert (
        warmstart("verify", "run", "--repair").out
        == "run: it was in order; a run goes on from run/model-5\n"
    )
    assert json.loads(warmstart("verify", "run", "--deep", "--json").out)["notes"] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dry-run"], "--dry-run goes with --repair"),
        (["--deep", "--repair"], "--deep and --repair do not go together: --repair, then"),
    ],
    ids=str,
)
def test_options_of_verify_that_do_not_go_together(
    options: list[str], message: str, warmstart: Run
) -> None:
    done = warmstart("verify", "m", *options)
    assert done.code == 2
    assert message in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("ls", "gone"),
        ("show", "gone"),
        ("diff", "m", "gone"),
        ("verify", "gone"),
        ("convert", "gone", "n"),
        ("dump", "gone", "n"),
        ("ls", "text"),
        ("convert", "m", "n", "--format", "hdf6"),
        ("convert", "m", "n", "--rule", "forget x"),
        ("convert", "m", "n.safetensors"),
        ("dump", "m", "n", "--meta", "text"),
        ("ls",),
        ("lst", "m"),
        ("ls", "m", "--sort", "colour"),
        ("diff", "m", "m", "--atol", "-1"),
    ],
    ids=" ".join,
)
def test_what_could_not_be_done(arguments: tuple[str, ...], warmstart: Run, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("minutes of a meeting")
    before = sorted(tmp_path.iterdir())
    done = warmstart(*arguments)
    assert (done.code, done.out) == (2, "")
    assert re.search("^[Ee]rror: ", done.err, re.MULTILINE)
    assert "Traceback" not in done.err
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_that_may_not_be_read(warmstart: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "m.index")

    monkeypatch.setattr("warmstart.cli.listing.locate", refuse)
    done = warmstart("ls", "m")
    assert (done.code, done.err) == (2, "error: [Errno 13] Permission denied: 'm.index'\n")


def test_an_interrupt(warmstart: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("warmstart.cli.listing.locate", interrupt)
    done = warmstart("ls", "m")
    assert (done.code, done.err.strip()) == (130, "stopped")


def test_a_broken_pipe_is_quiet(tmp_path: Path) -> None:
    ws.save_vars({f"w{i}": np.zeros(1, "f4") for i in range(5000)}, tmp_path / "many")
    command = [sys.executable, "-c", "from warmstart.cli import main; main()", "ls"]
    buffered = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        [*command, str(tmp_path / "many")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=buffered,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == BROKEN_PIPE


def test_it_is_a_module_to_run_too() -> None:
    command = [sys.executable, "-m", "warmstart", "--version"]
    assert subprocess.check_output(command, text=True) == f"warmstart {ws.__version__}\n"


def test_version_and_help(warmstart: Run) -> None:
    assert warmstart("--version").out == f"warmstart {ws.__version__}\n"
    assert "Compare two checkpoints tensor by tensor." in warmstart("--help").out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_helps_with_an_example(name: str, warmstart: Run) -> None:
    done = warmstart(name, "--help")
    assert done.code == 0
    assert f"Example: warmstart {name} " in done.out


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "demo"])
def test_every_inspecting_command_has_json(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert "as_json" in [parameter.name for parameter in command.params]


@pytest.mark.parametrize(("held", "code"), [(True, 0), (False, 1)])
def test_demo_is_passed_on(held: bool, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, str] = {}

    def tell(**options: str) -> bool:
        asked.update(options)
        return held

    monkeypatch.setattr(importlib.import_module("warmstart.demo"), "run", tell)
    assert run(["demo", "--engine", "tf", "--folder", "here"]) == code
    assert asked == {"engine": "tf", "folder": "here"}


def test_a_bar_where_somebody_watches(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with output.progress_bar("reading") as progress:
        assert progress is None
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with output.progress_bar("reading") as progress:
        assert progress is not None
        progress(5, 10)
    assert "reading" in capsys.readouterr().err


LIGHT = """
import sys
from warmstart.cli import run
assert run(["ls", sys.argv[1]]) == 0
heavy = {"numpy", "ml_dtypes", "rich", "importlib.metadata", "difflib", "socket", "fsspec"}
heavy &= sys.modules.keys()
assert not heavy, heavy
assert run(["show", sys.argv[1]]) == 0
assert "numpy" in sys.modules
"""


def test_a_listing_starts_without_numpy_and_rich(checkpoint: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, str(checkpoint)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("option", ["--atol=-1.0", "--rtol=nan"])
def test_a_tolerance_that_is_none(option: str, warmstart: Run) -> None:
    done = warmstart("diff", "m", "m", option)
    name, value = option.split("=")
    assert done.code == 2
    assert f"Invalid value for '{name}': {value} is not a number from 0 up" in done.err


def test_half_a_surrogate_pair_is_printed_as_json_has_it(tmp_path: Path) -> None:
    # PyTorch writes such a key; the stream would raise UnicodeEncodeError.
    key = b"X\x03\0\0\0\xed\xa0\x80"
    np.save(tmp_path / "odd.npy", np.array(None), allow_pickle=True)
    head = (tmp_path / "odd.npy").read_bytes().partition(b"\n")[0] + b"\n"
    (tmp_path / "odd.npy").write_bytes(head + b"\x80\x02}" + key + b"K\x01s.")
    command = [sys.executable, "-c", "from warmstart.cli import main; main()"]
    command += ["ls", "odd.npy", "--all", "--json"]
    environment = {**os.environ, "PYTHONUTF8": "1"}
    printed = subprocess.check_output(command, cwd=tmp_path, env=environment)
    assert json.loads(printed)["metadata"]["\ud800"] == "1"


def test_an_error_cannot_move_the_cursor(warmstart: Run) -> None:
    done = warmstart("ls", "no\x1b[2Jsuch")
    assert done.code == 2
    assert "\x1b" not in done.err
    assert r"no\x1b[2Jsuch" in done.err
