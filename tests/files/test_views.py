"""Sources under rules."""

from pathlib import Path

import numpy as np
import pytest

from warmstart.errors import CheckpointError
from warmstart.files.variables import save_vars
from warmstart.files.views import label, opened, ruled, tied_view
from warmstart.restore.recipe import Taken
from warmstart.source import DictSource

TIED = DictSource({"w": np.ones(2), "v": np.zeros(2)}, aliases={"a": "w", "b": "w"})


def test_what_was_passed_open_stays_open(tmp_path: Path) -> None:
    with opened(TIED) as source:
        assert source is TIED
    save_vars(TIED, tmp_path / "m")
    with opened(tmp_path / "m") as source:
        assert set(source.specs) == {"v", "w"}


def test_a_fault_names_the_file(tmp_path: Path) -> None:
    save_vars(TIED, tmp_path / "m")
    with pytest.raises(CheckpointError) as caught, opened(tmp_path / "m") as source:
        source.read("x")
    assert f"while reading {tmp_path}/m" in caught.value.__notes__


def test_labels() -> None:
    assert [label("m.npz"), label({}), label(TIED)] == ["m.npz", "dict", "DictSource"]


def test_aliases_follow_their_tensor() -> None:
    view = ruled(TIED, "rename w -> kernel")
    assert (set(view.specs), view.aliases) == ({"kernel", "v"}, {"a": "kernel", "b": "kernel"})
    assert view.read("a").tolist() == [1, 1]


def test_the_first_alias_stands_in_for_a_dropped_name() -> None:
    view = ruled(TIED, "drop w")
    assert (set(view.specs), view.aliases) == ({"a", "v"}, {"b": "a"})


def test_one_tensor_under_two_new_names() -> None:
    view = tied_view(TIED, {"x": Taken("v"), "y": Taken("v")})
    assert (view.specs.keys(), view.aliases) == ({"x", "y"}, {})


def test_no_rules_change_nothing() -> None:
    view = ruled(TIED)
    assert (set(view.specs), view.aliases) == ({"v", "w"}, {"a": "w", "b": "w"})
