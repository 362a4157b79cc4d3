from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from warmstart.files.variables import save_vars
from warmstart.train.leftovers import delete_bundle, left_in, sweep_folder

ONE, TWO = "model-3.data-00000-of-00001", "model-3.data-00000-of-00002"
SECOND = "model-3.data-00001-of-00002"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_deleting_one_touches_no_other(tmp_path: Path) -> None:
    mine = ["model-100.index", "model-100.data-00000-of-00002", "model-100.data-00001-of-00002"]
    others = ["model-1000.index", "model-1000.data-00000-of-00001", "model-10.index", "model-100"]
    for name in (*mine, *others):
        (tmp_path / name).touch()
    delete_bundle(tmp_path / "model-100")
    assert names(tmp_path) == set(others)


def test_a_folder_in_the_place_of_an_index_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / ONE).touch()
    (tmp_path / "model-3.index").mkdir()
    delete_bundle(tmp_path / "model-3")
    (message,) = caplog.messages
    assert "model-3.index was to be deleted and cannot be: Is a directory" in message
    assert (tmp_path / ONE).exists()


def test_data_without_an_index_are_swept_in_every_shard(tmp_path: Path) -> None:
    others = {"other.data-00000-of-00001", "model-3.dat", "model-x.data-00000-of-00001"}
    for name in (ONE, TWO, SECOND, ".model-3.index.1-2.warmstart-tmp", *others):
        (tmp_path / name).touch()
    sweep_folder(tmp_path)
    assert names(tmp_path) == others


def test_data_that_a_save_has_replaced_are_swept(tmp_path: Path) -> None:
    save_vars({"w": np.ones(3)}, tmp_path / "model-3")
    for name in (TWO, SECOND):
        (tmp_path / name).touch()
    assert {path.name for path in left_in(tmp_path)} == {TWO, SECOND}
    sweep_folder(tmp_path)
    assert names(tmp_path) == {"model-3.index", ONE}


@pytest.mark.parametrize(
    "spoil",
    [lambda index: index.write_bytes(b""), lambda index: (index.unlink(), index.mkdir())],
    ids=["empty", "a folder"],
)
def test_data_of_an_index_that_cannot_be_read_are_left_alone(
    spoil: Callable[[Path], object], tmp_path: Path
) -> None:
    save_vars({"w": np.ones(3)}, tmp_path / "model-3")
    (tmp_path / TWO).touch()
    spoil(tmp_path / "model-3.index")
    sweep_folder(tmp_path)
    assert names(tmp_path) == {"model-3.index", ONE, TWO}


def test_what_is_left_of_a_linked_pointer_is_swept_and_nothing_beside_it(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "log"
    elsewhere.mkdir()
    folder.mkdir()
    others = {".other.1-2.warmstart-tmp", "model-3.data-00000-of-00001", "latest"}
    for name in (".latest.1-2.warmstart-tmp", *others):
        (elsewhere / name).touch()
    (folder / "checkpoint").symlink_to("../elsewhere/latest")
    sweep_folder(folder)
    assert names(elsewhere) == others
    (folder / "checkpoint").unlink()
    (folder / "checkpoint").symlink_to("../gone/latest")
    sweep_folder(folder)
    assert (folder / "checkpoint").is_symlink()
