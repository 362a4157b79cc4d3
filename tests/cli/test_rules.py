"""Rules on the command line: in files, taken back, and for what is dumped."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import warmstart as ws
from warmstart.restore.grammar import VERBS

Run = Callable[..., Any]

RULES = """
rules = ["scope enc/l* -> layers.*.", "rename *.kernel -> *.weight", "transpose *.weight: 1 0"]
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    arrays = {"enc/l0/kernel": np.arange(6.0).reshape(2, 3), "enc/l0/bias": np.ones(3)}
    ws.save_vars(arrays | {"head": np.ones(3)}, tmp_path / "a.npz")
    (tmp_path / "r.toml").write_text(RULES)
    return tmp_path


def test_there_and_back(warmstart: Run, files: Path) -> None:
    assert warmstart("convert", "a.npz", "b.safetensors", "--rules", "r.toml").code == 0
    assert ws.load_vars(files / "b.safetensors")["layers.0.weight"].shape == (3, 2)
    assert warmstart("diff", "a.npz", "b.safetensors", "--rules", "r.toml").code == 0
    back = ("convert", "b.safetensors", "c.npz", "--rules", "r.toml", "--inverse")
    assert warmstart(*back).code == 0
    assert warmstart("diff", "a.npz", "c.npz").code == 0


def test_what_only_an_original_can_take_back(warmstart: Run, files: Path) -> None:
    rules = ("--rules", "r.toml", "--rule", "reshape head: 3 1")
    assert warmstart("convert", "a.npz", "b.npz", *rules).code == 0
    done = warmstart("convert", "b.npz", "c.npz", *rules, "--inverse")
    assert done.code == 2
    assert "reshape head: 3 1: what it was before is not known" in done.err
    assert not (files / "c.npz").exists()
    back = ("convert", "b.npz", "c.npz", *rules, "--inverse", "--original", "a.npz")
    assert warmstart(*back).code == 0
    assert warmstart("diff", "a.npz", "c.npz").code == 0


def test_what_was_dropped_comes_from_the_original(warmstart: Run, files: Path) -> None:
    rules = ("--rules", "r.toml", "--rule", "drop head")
    assert warmstart("convert", "a.npz", "b.npz", *rules).code == 0
    back = ("convert", "b.npz", "c.npz", *rules, "--inverse", "--original", "a.npz")
    assert warmstart(*back).out == "wrote c.npz (npz): 3 tensors, 1 from the original\n"
    assert warmstart("diff", "a.npz", "c.npz").code == 0
    done = warmstart("convert", "b.npz", "a.npz", *rules, "--inverse", "--original", "a.npz")
    assert (done.code, "a.npz is the checkpoint to read from" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--inverse",), "error: --inverse takes renames and rules back, and there are none: say "),
        (
            ("--rules", "r.toml", "--original", "a.npz"),
            "error: --original is for taking rules back",
        ),
        (("--original", "a.npz"), "error: --original is for taking rules back: it goes with --inv"),
    ],
)
def test_options_that_mean_nothing_alone(
    options: tuple[str, ...], message: str, warmstart: Run, files: Path
) -> None:
    done = warmstart("convert", "a.npz", "c.npz", *options)
    assert (done.code, message in done.err) == (2, True), done.err
    assert not (files / "c.npz").exists()


def test_the_help_names_every_rule(warmstart: Run) -> None:
    said = " ".join(warmstart("convert", "--help").out.split())
    assert f"1 0': {', '.join(VERBS)}; applied after" in said


def test_renames_come_first_and_rules_last(warmstart: Run, files: Path) -> None:
    options = ("--rule", "drop *.bias", "--rules", "r.toml", "--rename", "head=enc/l1/kernel")
    done = warmstart("convert", "a.npz", "b.npz", *options)
    assert done.code == 2
    assert "transpose *.weight: 1 0: transpose 1 0 needs 2 axes; 'head' is (3,)" in done.err
    options = ("--rule", "drop *.bias", "--rules", "r.toml", "--rename", "head=enc/l1/b")
    assert warmstart("convert", "a.npz", "b.npz", *options).code == 0
    assert ws.load_vars(files / "b.npz").keys() == {"layers.0.weight", "layers.1.b"}


def test_what_is_dumped_may_be_renamed(warmstart: Run, files: Path) -> None:
    done = warmstart("dump", "a.npz", "d.npz", "--rules", "r.toml", "--rule", "drop head")
    assert (done.code, "2 tensors, 1 left out" in done.out) == (0, True)
    assert ws.load_vars(files / "d.npz").keys() == {"layers.0.weight", "layers.0.bias"}


def test_a_rule_file_that_is_not_there(warmstart: Run, files: Path) -> None:
    done = warmstart("convert", "a.npz", "b.npz", "--rules", "bert-tf-to-torhc")
    assert done.code == 2
    assert "no rule file bert-tf-to-torhc (near it: bert-tf-to-torch)" in done.err
