"""`warmstart show`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from warmstart.binary.table import Table
from warmstart.files.variables import save_vars

pytestmark = pytest.mark.usefixtures("checkpoint")
Run = Callable[..., Any]


def test_values_and_statistics(warmstart: Run) -> None:
    assert warmstart("show", "m", "fc/kernel").out == (
        "fc/kernel  float32 (2, 3)  trainable  24 B\n"
        "min 0  max 5  mean 2.5  std 1.70783\n"
        "[[0., 1., 2.],\n [3., 4., 5.]]\n\n"
    )


def test_what_is_not_finite(warmstart: Run) -> None:
    assert "min 0.5  max 0.5  mean 0.5  std 0  NaN 1  Inf 1" in warmstart("show", "m", "bn/*").out


@pytest.mark.parametrize("name", ["fc/kernel", "out/kernel"])
def test_one_name_is_found_without_a_look_at_all(
    name: str, warmstart: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(table: Table) -> None:
        raise AssertionError("all blocks of the table were asked for")

    monkeypatch.setattr(Table, "blocks", refuse)
    assert warmstart("show", "m", name).out.startswith(f"{name}  float32 (2, 3)  trainable")


def test_a_tied_name(warmstart: Run) -> None:
    assert warmstart("show", "m", "out/kernel").out.startswith("out/kernel  float32 (2, 3)")


def test_without_a_pattern_a_tied_tensor_is_shown_once(warmstart: Run) -> None:
    out = warmstart("show", "m").out
    assert out.count("kernel  float32 (2, 3)  trainable") == 1


def test_all_of_them(warmstart: Run) -> None:
    out = warmstart("show", "m").out
    assert "names  string (2,)  2 strings\nlength min 1  max 2  mean 1.5  std 0.5\n" in out
    assert "_RUN/" not in out


@pytest.mark.parametrize(
    ("dtype", "shown"),
    [("bool", "[ True, False]"), ("c8", "[1.+0.j, 0.+0.j]"), (ml_dtypes.bfloat16, "[1, 0]")],
)
def test_dtypes(dtype: str, shown: str, warmstart: Run, tmp_path: Path) -> None:
    save_vars({"x": np.array([1, 0], dtype)}, tmp_path / "x")
    assert shown in warmstart("show", "x", "x").out
    assert warmstart("show", "x", "x", "--json").code == 0


def test_many_values_are_shortened(warmstart: Run, tmp_path: Path) -> None:
    save_vars({"x": np.arange(2000)}, tmp_path / "x")
    assert "..." in warmstart("show", "x", "x").out
    assert "..." not in warmstart("show", "x", "x", "--full").out
    assert json.loads(warmstart("show", "x", "x", "--json").out)[0]["values"] is None
    assert len(json.loads(warmstart("show", "x", "x", "--json", "--full").out)[0]["values"]) == 2000


@pytest.mark.parametrize(
    ("index", "shown"),
    [
        ("0", "[0., 1., 2.]"),
        (":,-1", "[2., 5.]"),
        ("...,0:1", "[[0.],\n [3.]]"),
        ("1,::2", "[3., 5.]"),
    ],
)
def test_slices(index: str, shown: str, warmstart: Run) -> None:
    assert shown in warmstart("show", "m", "fc/kernel", "--slice", index).out


@pytest.mark.parametrize("index", ["x", "0:1:2:3", "::0", "", "1.5"])
def test_no_slice(index: str, warmstart: Run) -> None:
    done = warmstart("show", "m", "fc/kernel", "--slice", index)
    assert done.code == 2
    assert f"{index!r} is no index; expected integers, slices and ..." in done.err


@pytest.mark.parametrize("index", ["5", "0,0,0"])
def test_a_slice_that_does_not_fit(index: str, warmstart: Run) -> None:
    done = warmstart("show", "m", "fc/kernel", "--slice", index)
    assert done.code == 2
    assert "error: the slice does not fit fc/kernel, float32 (2, 3): " in done.err


def test_json(warmstart: Run) -> None:
    (value,) = json.loads(warmstart("show", "m", "bn/mean", "--json").out)
    assert value["values"] == [0.5, "nan", "inf"]
    assert value["statistics"]["nans"] == 1
    (value,) = json.loads(warmstart("show", "m", "names", "--json").out)
    assert value["values"] == ["a", "bc"]
