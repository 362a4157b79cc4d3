"""Checkpoints as dictionaries."""

from pathlib import Path

import numpy as np
import pytest

from warmstart.errors import CheckpointNotFound
from warmstart.files import variables
from warmstart.files.variables import load_vars, save_vars


@pytest.mark.parametrize("name", ["m", "m.npz", "m.safetensors"])
def test_variables_come_back(name: str, tmp_path: Path) -> None:
    save_vars({"fc/w": np.arange(6).reshape(2, 3), "step": np.int64(3)}, tmp_path / name)
    loaded = load_vars(tmp_path / name)
    assert {n: a.tolist() for n, a in loaded.items()} == {"fc/w": [[0, 1, 2], [3, 4, 5]], "step": 3}


def test_run_state_is_left_out_and_tied_names_are_not(trained: Path) -> None:
    loaded = load_vars(trained)
    assert not [name for name in loaded if name.startswith("_RUN/")]
    assert loaded["out/kernel"] is loaded["fc/kernel"]
    assert ("out/kernel" in loaded, "out/kernel" in [*loaded]) == (True, False)


def test_what_was_loaded_is_saved_once_with_its_other_names(trained: Path, tmp_path: Path) -> None:
    save_vars(load_vars(trained), tmp_path / "copy.npz")
    with variables.open(tmp_path / "copy.npz") as copy:
        assert dict(copy.aliases) == {"out/kernel": "fc/kernel"}


def test_a_tensor_is_changed_and_removed_under_any_name(trained: Path) -> None:
    loaded = load_vars(trained)
    loaded["out/kernel"] = np.zeros(2)
    assert loaded["fc/kernel"].tolist() == loaded.get("out/kernel").tolist() == [0, 0]
    del loaded["out/kernel"]
    assert "fc/kernel" not in loaded
    assert loaded.get("out/kernel", "gone") == "gone"
    with pytest.raises(KeyError, match="'out/kernel'"):
        loaded["out/kernel"]


@pytest.mark.parametrize("name", ["m", "m.npz", "m.safetensors"])
def test_arrays_may_be_changed_and_the_file_does_not(name: str, tmp_path: Path) -> None:
    save_vars({"w": np.zeros(3)}, tmp_path / name)
    load_vars(tmp_path / name)["w"][0] = 5
    assert load_vars(tmp_path / name)["w"].tolist() == [0, 0, 0]


def test_what_was_loaded_outlives_a_new_file(tmp_path: Path) -> None:
    save_vars({"w": np.zeros(3)}, tmp_path / "m")
    before = load_vars(tmp_path / "m")
    save_vars({"w": np.ones(3)}, tmp_path / "m")
    assert before["w"].tolist() == [0, 0, 0]


def test_no_extension_is_a_bundle_without_a_pointer_file(tmp_path: Path) -> None:
    save_vars({"w": np.zeros(3)}, tmp_path / "m")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.data-00000-of-00001", "m.index"]


def test_a_format_may_be_asked_for(tmp_path: Path) -> None:
    save_vars({"w": np.zeros(3)}, tmp_path / "weights", "npz")
    with np.load(tmp_path / "weights") as archive:
        assert archive.files == ["w"]


def test_an_open_checkpoint_is_saved_as_it_is(trained: Path, tmp_path: Path) -> None:
    with variables.open(trained) as source:
        save_vars(source, tmp_path / "copy.npz")
    with variables.open(tmp_path / "copy.npz") as copy:
        assert copy.specs["bn/mean"].role == "model"
        assert copy.metadata == {"run": "{}", "note": "kept"}


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"no session is known for a list; expected"):
        save_vars([1, 2], tmp_path / "m")  # type: ignore[arg-type]


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound, match=r"nothing is at .*gone"):
        load_vars(tmp_path / "gone")


def test_the_reference_names() -> None:
    assert variables.load_chkpt_vars is variables.load_checkpoint_vars is load_vars
    assert variables.save_chkpt_vars is variables.save_checkpoint_vars is save_vars
