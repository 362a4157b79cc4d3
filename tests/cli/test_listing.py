"""`warmstart ls`."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from warmstart.files.variables import save_vars
from warmstart.source import DictSource

pytestmark = pytest.mark.usefixtures("checkpoint")
Run = Callable[..., Any]

LISTING = """\
NAME            DTYPE    SHAPE   ROLE       SIZE  ALSO CALLED
bn/mean         float32  (3,)    model      12
fc/kernel       float32  (2, 3)  trainable  24    out/kernel
fc/kernel/Adam  float32  (2, 3)  slot       24
names           string   (2,)    -          -

model: 1 tensor, 3 parameters, 12 B
trainable: 1 tensor, 6 parameters, 24 B
slot: 1 tensor, 6 parameters, 24 B
no role: 1 tensor, 2 parameters, 0 B
4 tensors, 17 parameters, 60 B
"""


def test_listing(warmstart: Run) -> None:
    done = warmstart("ls", "m")
    assert (done.code, done.out) == (0, LISTING)
    assert done.err == "1 tensor of run state is not shown; --all shows it\n"


def test_all(warmstart: Run) -> None:
    done = warmstart("ls", "m", "--all")
    assert "_RUN/random     uint32   (4,)    run        16" in done.out
    assert "metadata run: {}" in done.out
    assert done.err == ""


@pytest.mark.parametrize(
    ("order", "first"),
    [("name", "bn/mean"), ("size", "fc/kernel "), ("shape", "names"), ("dtype", "bn/mean")],
)
def test_sort(order: str, first: str, warmstart: Run) -> None:
    assert warmstart("ls", "m", "--sort", order).out.splitlines()[1].startswith(first)


def test_patterns(warmstart: Run) -> None:
    done = warmstart("ls", "m", "fc/*", "re:bn/m.*", "_RUN/*")
    names = [line.partition(" ")[0] for line in done.out.splitlines()[1:5]]
    assert names == ["_RUN/random", "bn/mean", "fc/kernel", "fc/kernel/Adam"]
    assert done.err == ""


def test_a_pattern_finds_a_tensor_under_each_of_its_names_once(warmstart: Run) -> None:
    done = warmstart("ls", "m", "out/*", "fc/kernel")
    assert done.out.splitlines()[1] == "fc/kernel  float32  (2, 3)  trainable  24    out/kernel"
    assert done.out.endswith("\n1 tensor, 6 parameters, 24 B\n")


def test_without_other_names_there_is_no_column_for_them(warmstart: Run) -> None:
    assert warmstart("ls", "m", "bn/*").out.splitlines()[0].endswith("  SIZE")


def test_patterns_that_match_nothing(warmstart: Run) -> None:
    done = warmstart("ls", "m", "fc/kernal", "bn/*", "zzz")
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[:2] == [
        "error: no tensor matches 'fc/kernal'; near it: fc/kernel, fc/kernel/Adam, out/kernel",
        "no tensor matches 'zzz'",
    ]


def test_json(warmstart: Run) -> None:
    value = json.loads(warmstart("ls", "m", "--json", "fc/*").out)
    assert (value["path"], value["format"]) == ("m", "tf-bundle")
    assert value["tensors"][0] == {
        "name": "fc/kernel", "dtype": "float32", "shape": [2, 3], "role": "trainable", "nbytes": 24,
    }  # fmt: skip
    assert value["aliases"] == {"out/kernel": "fc/kernel"}
    assert value["totals"]["roles"]["slot"]["parameters"] == 6


def test_sizes_are_for_people_on_a_terminal(
    warmstart: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert "fc/kernel       float32  (2, 3)  trainable  24 B" in warmstart("ls", "m").out


def test_names_cannot_move_the_cursor(warmstart: Run, tmp_path: Path) -> None:
    save_vars({"a\n\x1b[2J": np.zeros(1)}, tmp_path / "odd.npz")
    assert r"a\n\x1b[2J" in warmstart("ls", "odd.npz").out
    assert r"a\n\x1b[2J  float64" in warmstart("show", "odd.npz").out
    assert r"a\n\x1b[2J" in warmstart("diff", "odd.npz", "m").out


def test_a_listing_of_nothing(warmstart: Run, tmp_path: Path) -> None:
    (tmp_path / "empty.safetensors").write_bytes(b"\x02" + bytes(7) + b"{}")
    done = warmstart("ls", "empty.safetensors")
    assert done.out.splitlines()[-1] == "0 tensors, 0 parameters, 0 B"


def test_long_metadata_are_cut_for_people_only(
    warmstart: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "x" * 5000
    save_vars(DictSource({"w": np.zeros(1)}, metadata={"config": long}), tmp_path / "long.npz")
    assert f"metadata config: {long}\n" in warmstart("ls", "long.npz", "--all").out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    shown = f"metadata config: {long[:200]}... (5,000 characters)\n"
    assert shown in warmstart("ls", "long.npz", "--all").out
    assert json.loads(warmstart("ls", "long.npz", "--all", "--json").out)["metadata"] == {
        "config": long
    }


class Quantised(DictSource):
    """A source that tells how its tensors are stored, as quantised ones are."""

    @property
    def stored(self) -> Mapping[str, str]:
        return {"w": "Q4_K (256,)"}


def test_how_tensors_are_stored(warmstart: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Quantised({"w": np.zeros(144, "u1"), "b": np.zeros(2, "f4")})
    monkeypatch.setattr("warmstart.cli.listing.open_as", lambda *_, **__: source)
    assert warmstart("ls", "m").out.splitlines()[:3] == [
        "NAME  DTYPE    SHAPE   ROLE  SIZE  STORED AS",
        "b     float32  (2,)    -     8",
        "w     uint8    (144,)  -     144   Q4_K (256,)",
    ]
    assert json.loads(warmstart("ls", "m", "--json").out)["stored"] == {"w": "Q4_K (256,)"}


def test_a_name_far_longer_than_most_stands_out_of_its_column(
    warmstart: Run, tmp_path: Path
) -> None:
    save_vars({"w": np.zeros(3), "v": np.zeros(3), "long" * 30: np.zeros(3)}, tmp_path / "long.npz")
    lines = warmstart("ls", "long.npz").out.splitlines()
    assert lines[0].startswith("NAME  DTYPE    SHAPE")
    assert lines[2:4] == ["v     float64  (3,)   -     24", "w     float64  (3,)   -     24"]


@pytest.mark.parametrize("command", ["ls", "show"])
def test_metadata_that_is_asked_for_as_a_tensor(
    command: str, warmstart: Run, tmp_path: Path
) -> None:
    save_vars(DictSource({"w": np.zeros(3)}, metadata={"epoch": "3"}), tmp_path / "m.npz")
    done = warmstart(command, "m.npz", "epoch")
    assert done.code == 2
    assert "no tensor matches 'epoch'; it is metadata, which ls --all shows" in done.err
