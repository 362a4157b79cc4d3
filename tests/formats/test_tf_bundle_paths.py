"""The bundle that a path means, as people type it."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from warmstart import formats
from warmstart.errors import (
    CheckpointError,
    CheckpointNotFound,
    CorruptCheckpoint,
    UnknownFormat,
    full_text,
)
from warmstart.formats import tf_bundle
from warmstart.formats.tf_bundle import latest, locate, write_state
from warmstart.formats.tf_bundle.paths import data_files
from warmstart.source import DictSource


def save(prefix: Path) -> Path:
    """Save a bundle that says where it was saved."""
    prefix.parent.mkdir(exist_ok=True)
    tf_bundle.save_source(DictSource({"name": np.array(prefix.name)}), prefix)
    return prefix


def opened(path: str | Path) -> str:
    """Return what the bundle that *path* means says."""
    with formats.open_source(path) as source:
        return str(source.read("name")[()].decode())


@pytest.mark.parametrize("suffix", ["", ".index", ".data-00000-of-00001"])
@pytest.mark.parametrize("name", ["m", "model.ckpt-100", "m.index.x", "ö ü'\"\\", "m-1.data-0"])
def test_the_files_of_a_bundle(name: str, suffix: str, tmp_path: Path) -> None:
    prefix = save(tmp_path / name)
    assert locate(tmp_path / (name + suffix)) == prefix
    assert opened(tmp_path / (name + suffix)) == name


def test_a_prefix_that_ends_as_an_index_does(tmp_path: Path) -> None:
    tf_bundle.save_source(DictSource({"name": np.array("m")}), tmp_path / "m.index")
    assert sorted(os.listdir(tmp_path)) == ["m.data-00000-of-00001", "m.index"]


def test_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "m")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert opened("~/m") == "m"


def test_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "m")
    monkeypatch.chdir(tmp_path)
    assert (opened("m"), opened("."), opened("m.index")) == ("m", "m", "m")


@pytest.mark.parametrize("name", ["model-9", "model-9.ckpt", "ö \"x\" 'y' \\ #;", "line\nbreak"])
def test_the_latest_that_the_file_points_to(name: str, tmp_path: Path) -> None:
    save(tmp_path / "model-10")
    save(tmp_path / name)
    write_state(tmp_path, tmp_path / name)
    assert (opened(tmp_path), opened(tmp_path / "checkpoint")) == (name, name)


def test_a_pointer_to_elsewhere(tmp_path: Path) -> None:
    elsewhere = save(tmp_path / "elsewhere" / "m")
    (tmp_path / "run").mkdir()
    write_state(tmp_path / "run", elsewhere)
    assert locate(tmp_path / "run") == elsewhere


def test_a_file_of_another_name_that_points(tmp_path: Path) -> None:
    save(tmp_path / "best-7")
    write_state(tmp_path, "best-7", name="checkpoint.best")
    assert opened(tmp_path / "checkpoint.best") == "best-7"


def test_a_folder_that_was_moved(tmp_path: Path) -> None:
    old = save(tmp_path / "old" / "m-1")
    (tmp_path / "old" / "checkpoint").write_text(f'model_checkpoint_path: "{old}"\n')
    shutil.move(tmp_path / "old", tmp_path / "new")
    assert locate(tmp_path / "new") == tmp_path / "new" / "m-1"


def test_a_folder_that_was_copied_does_not_stand_for_the_original(tmp_path: Path) -> None:
    old = save(tmp_path / "old" / "m-1")
    (tmp_path / "old" / "checkpoint").write_text(f'model_checkpoint_path: "{old}"\n')
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    assert locate(tmp_path / "new") == tmp_path / "new" / "m-1"


def test_a_pointer_to_nothing(tmp_path: Path) -> None:
    save(tmp_path / "m-1")
    write_state(tmp_path, "m-2")
    with pytest.raises(
        CheckpointNotFound, match="points to 'm-2', which is not there; bundles in its folder: m-1"
    ):
        formats.open_source(tmp_path)


def test_a_pointer_that_breaks_the_rules(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_text("model_checkpoint_path: unquoted")
    with pytest.raises(CorruptCheckpoint, match="where a path is expected") as caught:
        formats.open_source(tmp_path)
    assert f"while reading {tmp_path / 'checkpoint'}" in full_text(caught.value)


def test_without_the_file_the_highest_step(tmp_path: Path) -> None:
    for step in (9, 100, 20):
        save(tmp_path / f"model-{step}")
    assert opened(tmp_path) == "model-100"


def test_without_steps_the_newest(tmp_path: Path) -> None:
    for age, name in enumerate(("b", "c", "a")):
        os.utime(str(save(tmp_path / name)) + ".index", (1e9 - age, 1e9 - age))
    assert opened(tmp_path) == "b"


def test_a_checkpoint_file_of_another_library(tmp_path: Path) -> None:
    save(tmp_path / "m")
    (tmp_path / "checkpoint").write_bytes(b"\x81\xa6params")
    assert opened(tmp_path) == "m"
    assert locate(tmp_path / "checkpoint") is None


def test_a_folder_and_a_prefix_of_one_name(tmp_path: Path) -> None:
    save(tmp_path / "m" / "inner")
    save(tmp_path / "m")
    assert opened(tmp_path / "m") == "m"


def test_nothing_of_ours(tmp_path: Path) -> None:
    (tmp_path / "faiss.index").write_bytes(b"another kind of index")
    assert latest(tmp_path) is None
    assert locate(tmp_path / "absent") is None
    with pytest.raises(UnknownFormat, match="holds no checkpoint"):
        formats.open_source(tmp_path)


@pytest.mark.parametrize("typed", ["m", "m.index"])
def test_a_lone_index(typed: str, tmp_path: Path) -> None:
    save(tmp_path / "m")
    (tmp_path / "m.data-00000-of-00001").unlink()
    save(tmp_path / "m2")
    with pytest.raises(
        CheckpointNotFound, match=r"m\.index is there, but no data file .*m\.data-00000-of-00001"
    ):
        formats.open_source(tmp_path / typed)


@pytest.mark.parametrize("typed", ["m", "m.index", "m.data-00000-of-00001", "."])
def test_a_lone_data_file(typed: str, tmp_path: Path) -> None:
    save(tmp_path / "m")
    (tmp_path / "m.index").unlink()
    with pytest.raises(
        CheckpointNotFound, match=r"m\.data-00000-of-00001 is there, but .*m\.index, the index"
    ):
        formats.open_source(tmp_path / typed)


def test_a_folder_with_a_lone_index(tmp_path: Path) -> None:
    save(tmp_path / "m")
    (tmp_path / "m.data-00000-of-00001").unlink()
    with pytest.raises(CheckpointNotFound, match=r"m\.index is there, but no data file"):
        formats.open_source(tmp_path)


def test_data_of_another_count(tmp_path: Path) -> None:
    save(tmp_path / "m")
    os.rename(tmp_path / "m.data-00000-of-00001", tmp_path / "m.data-00000-of-00002")
    with pytest.raises(CheckpointNotFound, match=r"none of its 1 data files, such as .*of-00001"):
        formats.open_source(tmp_path / "m")


def test_prefixes_that_begin_alike(tmp_path: Path) -> None:
    save(tmp_path / "model-100")
    save(tmp_path / "model-1000")
    assert list(data_files(tmp_path / "model-100")) == [tmp_path / "model-100.data-00000-of-00001"]


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    write_state(tmp_path, "m")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CheckpointError, match="checkpoint cannot be read: Permission denied"):
        locate(tmp_path / "checkpoint")
