"""`warmstart ls` of a folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from warmstart.cli.folder import age_text
from warmstart.files.variables import save_vars

Run = Callable[..., Any]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    for name in ("model-9", "model-100", "epoch_3.npz"):
        save_vars({"w": np.zeros(3)}, folder / name)
    (folder / "checkpoint").write_text('model_checkpoint_path: "model-100"\n')
    return folder


@pytest.mark.usefixtures("runs")
def test_a_folder_lists_its_checkpoints(warmstart: Run) -> None:
    done = warmstart("ls", "runs")
    assert (done.code, done.err) == (0, "")
    header, first, _, last, *_, total = done.out.splitlines()
    assert header.split() == ["NAME", "FORMAT", "STEP", "MODIFIED", "SIZE", "TENSORS", "STATE"]
    assert first.split()[:3] == ["epoch_3.npz", "npz", "3"]
    assert last.split()[:3] == ["model-100", "tf-bundle", "100"]
    assert last.endswith("  1        sound (latest)")
    assert total.startswith("3 checkpoints, ")


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize("arguments", [("runs/checkpoint",), ("runs", "w"), ("runs/model-9",)])
def test_one_of_them_lists_its_tensors(arguments: tuple[str, ...], warmstart: Run) -> None:
    assert "w     float64  (3,)   -     24" in warmstart("ls", *arguments).out


@pytest.mark.usefixtures("runs")
def test_for_people(warmstart: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    header, *_ = warmstart("ls", "runs").out.splitlines()
    assert header.split() == ["NAME", "FORMAT", "STEP", "AGE", "SIZE", "TENSORS", "STATE"]


def test_reasons_are_cut_for_people_only(
    runs: Path, warmstart: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (runs / "model-9.index").unlink()
    assert "both are needed" in warmstart("ls", "runs").out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert "both are needed" not in warmstart("ls", "runs").out


def test_a_folder_that_stands_for_nothing_says_so(runs: Path, warmstart: Run) -> None:
    (runs / "checkpoint").write_text('model_checkpoint_path: "model-8"\n')
    (runs / "m.npz.tmp").write_bytes(b"half")
    done = warmstart("ls", "runs")
    assert "runs stands for none of them: runs/checkpoint points to '" in done.err
    left = "m.npz.tmp is left over from a save by an unknown program that was stopped, 4 B"
    assert left in done.out


@pytest.mark.usefixtures("runs")
def test_json(warmstart: Run) -> None:
    value = json.loads(warmstart("ls", "runs", "--json").out)
    assert value["latest"] == "runs/model-100"
    assert [entry["latest"] for entry in value["checkpoints"]] == [False, False, True]


def test_a_folder_of_one_or_none(warmstart: Run, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    done = warmstart("ls", "one")
    assert (done.code, done.out) == (2, "")
    assert "the folder one holds no checkpoint of a known format" in done.err
    save_vars({"w": np.zeros(3)}, tmp_path / "one" / "m")
    assert "1 tensor, 3 parameters" in warmstart("ls", "one").out


def test_ages() -> None:
    ages = [3, 61, 7200, 86_400, 3 * 86_400, 31_557_600, 2.5 * 31_557_600, -1]
    words = ["3 s", "1 min", "2 h", "1 day", "3 days", "1 year", "2 years", "0 s"]
    assert list(map(age_text, ages)) == words
