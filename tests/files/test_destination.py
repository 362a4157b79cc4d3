"""Where a checkpoint may be written."""

from pathlib import Path

import numpy as np
import pytest

from warmstart.errors import SaveError
from warmstart.files.destination import check_destination
from warmstart.files.variables import save_vars


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match=r"is a folder; give the name to save under, as .*/model"):
        check_destination(tmp_path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match=r"cannot be saved: there is no folder .*gone"):
        check_destination(tmp_path / "gone" / "m.npz")


@pytest.mark.parametrize("format", ["npz", "safetensors", "tf-bundle"])
def test_a_file_of_another_kind_is_kept(format: str, tmp_path: Path) -> None:
    (tmp_path / "m").write_text("minutes of a meeting")
    with pytest.raises(SaveError, match=r"exists and is not .*; remove it or save under another"):
        save_vars({"w": np.zeros(3)}, tmp_path / "m", format)
    assert (tmp_path / "m").read_text() == "minutes of a meeting"


def test_an_empty_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").touch()
    assert check_destination(tmp_path / "m.safetensors") == "safetensors"


def test_a_broken_checkpoint_is_replaced(tmp_path: Path) -> None:
    save_vars({"w": np.zeros(3)}, tmp_path / "m")
    (tmp_path / "m.data-00000-of-00001").unlink()
    assert check_destination(tmp_path / "m") == "tf-bundle"
    assert check_destination(tmp_path / "m.index") == "tf-bundle"
