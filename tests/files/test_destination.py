"""Where a checkpoint may be written."""

from pathlib import Path
from shutil import copyfile

import numpy as np
import pytest

from warmstart.errors import SaveError
from warmstart.files.convert import convert
from warmstart.files.destination import check_destination, format_like
from warmstart.files.dump import dump
from warmstart.files.variables import save_vars

V1 = Path(__file__).parents[1] / "golden" / "tf_v1" / "model-7"


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


def test_a_folder_of_a_format_of_folders(tmp_path: Path) -> None:
    save_vars({"w": np.zeros(3)}, tmp_path / "run", "dcp")
    (tmp_path / "empty").mkdir()
    for name in ("run", "empty", "new"):
        assert check_destination(tmp_path / name, "dcp") == "dcp"
    with pytest.raises(SaveError, match="is a folder; give the name to save under"):
        check_destination(tmp_path / "run", "npz")


@pytest.mark.parametrize("name", ["file", "folder"])
def test_what_is_no_folder_of_the_format(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("minutes of a meeting")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("minutes of a meeting")
    with pytest.raises(SaveError, match="exists and is not dcp; remove it or save under another"):
        check_destination(tmp_path / name, "dcp")


def test_a_file_inside_a_checkpoint_is_not_replaced_by_a_folder(tmp_path: Path) -> None:
    save_vars({"w": np.zeros(3)}, tmp_path / "run", "dcp")
    with pytest.raises(SaveError, match="exists and is not dcp; remove it or save under another"):
        check_destination(tmp_path / "run" / ".metadata", "dcp")


def test_an_empty_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").touch()
    assert check_destination(tmp_path / "m.safetensors") == "safetensors"


def test_a_broken_checkpoint_is_replaced(tmp_path: Path) -> None:
    save_vars({"w": np.zeros(3)}, tmp_path / "m")
    (tmp_path / "m.data-00000-of-00001").unlink()
    assert check_destination(tmp_path / "m") == "tf-bundle"
    assert check_destination(tmp_path / "m.index") == "tf-bundle"


@pytest.mark.parametrize(
    ("src", "dst", "format"),
    [
        ("last.ckpt", "copy.ckpt", "torch"),  # as Lightning calls them
        ("model_best.pth.tar", "b.PTH.TAR", "torch"),
        ("model.bin", "model.ckpt", None),
        ("model.bin", "model.npz", None),
        ("model", "copy", None),
    ],
)
def test_what_ends_like_the_source_is_of_its_format(
    src: str, dst: str, format: str | None, tmp_path: Path
) -> None:
    save_vars({"w": np.zeros(3)}, tmp_path / src, "torch")
    assert format_like(tmp_path / src, tmp_path / dst) == format


def test_a_format_that_is_only_read_is_not_written(tmp_path: Path) -> None:
    copyfile(V1, tmp_path / "a.ckpt")
    assert format_like(tmp_path / "a.ckpt", tmp_path / "b.ckpt") is None


def test_converting_and_dumping_keep_the_format_of_a_name_that_ends_alike(tmp_path: Path) -> None:
    save_vars({"w": np.zeros(3), "global_step": np.int64(1)}, tmp_path / "a.ckpt", "torch")
    assert convert(tmp_path / "a.ckpt", tmp_path / "b.ckpt").format == "torch"
    assert dump(tmp_path / "a.ckpt", tmp_path / "c.ckpt").format == "torch"
