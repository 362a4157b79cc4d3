"""`warmstart match`: plans, drafts, pages, and models from the command line."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import warmstart as ws
from warmstart.cli.models import QUIET
from warmstart.restore.stand_in import StandIn
from warmstart.source import DictSource

Run = Callable[..., Any]

MODEL = """
import torch
from torch import nn

print("noise")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 6)])
        self.head = nn.Linear(6, 5)


MODELS = []


def make():
    MODELS.append(Net())
    return MODELS[-1]


def trained():
    model = make()
    return model, torch.optim.Adam(model.parameters())


def empty():
    with torch.device("meta"):
        return make()


def broken():
    raise ValueError("no weights here")


def leaves():
    raise SystemExit(0)


def five():
    return 5


class Zoo:
    make = make


NUMBER = 3
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave nothing of what a command tells TensorFlow to later tests."""
    for variable in QUIET:
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)


@pytest.fixture(autouse=True)
def model_file(tmp_path: Path) -> Iterator[Path]:
    """Save a checkpoint `base.npz` with Keras' names and a file with models in PyTorch."""
    shapes = {"net/layer_1/kernel": (4, 4), "net/layer_2/kernel": (4, 6), "net/top/kernel": (6, 5)}
    arrays = {name: np.ones(shape, "f4") for name, shape in shapes.items()}
    arrays |= {n.replace("kernel", "bias"): np.ones(s[1], "f4") for n, s in shapes.items()}
    ws.save_vars(arrays, tmp_path / "base.npz")
    (tmp_path / "nets_of_a_test.py").write_text(MODEL)
    paths = [*sys.path]
    yield tmp_path / "nets_of_a_test.py"
    sys.path[:] = paths
    sys.modules.pop("nets_of_a_test", None)


def test_a_plan_and_a_draft_that_loads_all(warmstart: Run, tmp_path: Path) -> None:
    done = warmstart("match", "base.npz", "nets_of_a_test.py:make", "--draft", "d.toml")
    assert done.code == 1
    assert done.out.splitlines()[0] == "6 variables: 0 would be loaded, 6 missing"
    assert "  perhaps: rename net/top/kernel -> head.weight, then transpose 1 0" in done.out
    assert done.err == (
        "noise\nwrote d.toml; after reading it: "
        "warmstart match base.npz nets_of_a_test.py:make --rules d.toml\n"
    )
    done = warmstart("match", "base.npz", "nets_of_a_test:make", "--rules", "d.toml")
    assert done.code == 0
    assert done.out.splitlines()[0] == "6 variables: 6 would be loaded"


def test_the_draft_as_it_is_written(warmstart: Run, tmp_path: Path) -> None:
    warmstart("match", "base.npz", "nets_of_a_test.py:make", "--draft", "d.toml")
    lines = (tmp_path / "d.toml").read_text().splitlines()
    assert lines[:3] == [
        "# Drafted by warmstart match base.npz nets_of_a_test.py:make",
        "# 6 suggestions for 6 variables; guesses: 1. Read before use.",
        "rules = [",
    ]
    place = next(i for i, line in enumerate(lines) if "a guess" in line)
    assert lines[place : place + 3] == [
        "  # a guess: it is square, so that its shape does not tell which way it lies; "
        "others are turned around",
        '  "rename net/layer_1/kernel -> encoder.0.weight",',
        '  "transpose encoder.0.weight: 1 0",',
    ]


def test_tensorflow_is_told_to_say_errors_only(
    warmstart: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    warmstart("match", "base.npz", "nets_of_a_test.py:make")
    told = {variable: os.environ[variable] for variable in QUIET}
    assert told == {"TF_CPP_MIN_LOG_LEVEL": "0", "TF_ENABLE_ONEDNN_OPTS": "0"}


def test_no_variable_is_set(warmstart: Run) -> None:
    import torch

    warmstart("match", "base.npz", "nets_of_a_test.py:make", "--draft", "d.toml")
    warmstart("match", "base.npz", "nets_of_a_test.py:make", "--rules", "d.toml")
    (model,) = sys.modules["nets_of_a_test"].MODELS
    assert not any(torch.equal(p, torch.ones_like(p)) for p in model.parameters())


def test_a_draft_keeps_what_was_given(warmstart: Run, tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "own.toml").write_text('rules = ["scope net -> n"]\n')
    draft = ["--rules", "own.toml", "--rule", "drop n/top/*", "--draft", "rules/d.toml"]
    warmstart("match", "base.npz", "nets_of_a_test.py:make", *draft)
    text = (tmp_path / "rules/d.toml").read_text()
    assert 'include = ["../own.toml"]\nrules = [\n  "drop n/top/*",\n' in text
    assert '"rename n/layer_2/bias -> encoder.1.bias"' in text
    assert text.endswith("# Nothing is suggested for:\n#   head.{bias,weight}\n")
    done = warmstart("match", "base.npz", "nets_of_a_test.py:make", "--rules", "rules/d.toml")
    assert (done.code, done.out.splitlines()[0]) == (
        1,
        "6 variables: 4 would be loaded, 2 missing",
    )


def test_a_draft_overwrites_nothing(warmstart: Run, tmp_path: Path) -> None:
    (tmp_path / "d.toml").write_text("rules = []")
    done = warmstart("match", "base.npz", "nets_of_a_test.py:make", "--draft", "d.toml")
    assert done.code == 2
    assert "d.toml is there already and was not overwritten" in done.err
    assert (tmp_path / "d.toml").read_text() == "rules = []"


@pytest.mark.parametrize("option", ["--draft", "--html"])
def test_a_folder_that_is_not_there(option: str, warmstart: Run, tmp_path: Path) -> None:
    done = warmstart("match", "base.npz", "nets_of_a_test.py:make", option, "gone/d")
    message = f"error: {Path('gone/d')} cannot be written: there is no folder gone\n"
    assert (done.code, done.out, done.err) == (2, "", message)
    assert not (tmp_path / "gone").exists()


def test_json_holds_nothing_else(warmstart: Run) -> None:
    done = warmstart("match", "base.npz", "nets_of_a_test.py:make", "--json")
    told = json.loads(done.out)
    assert (done.code, told["complete"], told["done"]) == (1, False, False)
    assert told["suggestions"]["head.bias"] == {
        "tensor": "net/top/bias",
        "steps": [],
        "doubt": "",
    }


def test_a_page(warmstart: Run, tmp_path: Path) -> None:
    warmstart("match", "base.npz", "nets_of_a_test.py:make", "--html", "plan.html")
    assert "0 of 6 variables would be loaded" in (tmp_path / "plan.html").read_text()


@pytest.mark.parametrize("name", ["trained", "empty", "Zoo.make"])
def test_what_a_callable_may_return(name: str, warmstart: Run) -> None:
    done = warmstart("match", "base.npz", f"nets_of_a_test.py:{name}")
    assert done.out.startswith("6 variables: 0 would be loaded, 6 missing")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("nets_of_a_test.py:broken", "could not be made: ValueError: no weights here (line "),
        ("nets_of_a_test.py:leaves", "could not be made: SystemExit: 0 (line "),
        ("nets_of_a_test.py:five", "nets_of_a_test.py:five returned what is no model: no session"),
        ("nets_of_a_test.py:mak", "there is no 'mak' in nets_of_a_test; near it: make"),
        ("nets_of_a_test.py:NUMBER", "NUMBER is a int; expected what makes the model"),
        ("absent.py:make", "error: there is no file absent.py\n"),
        ("absent_module_of_a_test:make", "could not be made: ModuleNotFoundError: No module"),
        ("absent", "nothing is at absent, nor does a bundle have this prefix"),
        (
            "nets_of_a_test.py",
            "error: nets_of_a_test.py is a module, and a model is what a callable in it makes, as "
            "nets_of_a_test.py:CALLABLE; its functions: make, ",
        ),
        (
            "absent.py",
            "error: nothing is at absent.py, and it names no model: that is file.py:call",
        ),
        ("absent:make()", "and it names no model: that is file.py:callable or package.module:call"),
    ],
)
def test_what_is_no_model_cannot_be_done(model: str, message: str, warmstart: Run) -> None:
    done = warmstart("match", "base.npz", model)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_a_checkpoint_stands_in_for_a_model(warmstart: Run, tmp_path: Path) -> None:
    arrays = {"fc/kernel": np.ones((2, 3), "f4"), "fc/kernel/Adam": np.ones((2, 3), "f4")}
    ws.save_vars({**arrays, "global_step": np.int64(3)}, tmp_path / "m")
    ws.save_vars({"fc.weight": np.ones((3, 2), "f4")}, tmp_path / "n.npz")
    done = warmstart("match", "n.npz", "m")
    assert done.code == 1
    assert done.out.splitlines() == [
        "3 variables: 0 would be loaded, 1 missing, 2 kept",
        "  missing  fc/kernel",
        "  kept     fc/kernel/Adam",
        "  kept     global_step",
        "  unused   fc.weight       in n.npz",
        "  perhaps: rename fc.weight -> fc/kernel, then transpose 1 0",
    ]
    rules = ["--rename", "fc.weight=fc/kernel", "--rule", "transpose fc/kernel"]
    assert warmstart("match", "n.npz", "m", *rules).code == 0
    assert warmstart("match", "m", "m").code == 0


def test_a_rule_that_matches_nothing_cannot_be_done(warmstart: Run) -> None:
    done = warmstart("match", "base.npz", "base.npz", "--rule", "drop nothing/*")
    assert done.code == 2
    assert "these rules match nothing" in done.err


def test_what_stands_in_is_never_set() -> None:
    session = StandIn(DictSource({"w": np.ones(2, "f4")}))
    with pytest.raises(ws.CheckpointError, match="it can only be planned for"):
        ws.DictRestore({"w": np.zeros(2, "f4")}).init(session)
    with pytest.raises(ws.CheckpointError, match="it can only be planned for"):
        ws.freeze(session, "w")
    with pytest.raises(ws.CheckpointError, match="it can only be planned for"):
        session.predictor(None, None)
    assert session.read("w").tolist() == [1, 1]
