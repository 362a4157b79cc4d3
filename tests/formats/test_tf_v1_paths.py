"""The checkpoint of version 1 that a path means, as people type it."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from warmstart import formats
from warmstart.errors import CheckpointNotFound, UnknownFormat
from warmstart.files.folder import survey
from warmstart.formats import tf_bundle
from warmstart.source import DictSource

GOLDEN = Path(__file__).parents[1] / "golden" / "tf_v1"
SHARDS = ["-00000-of-00002", "-00001-of-00002"]


def put(folder: Path, name: str, *suffixes: str) -> Path:
    """Copy a golden checkpoint, or shards of it, into *folder* under *name*."""
    for suffix in suffixes or [""]:
        shutil.copy(
            GOLDEN / f"{'sharded' if suffix else 'model'}-7{suffix}", folder / f"{name}{suffix}"
        )
    return folder / name


def located(path: Path) -> tuple[str, str]:
    """Return the format of what is at *path*, and its name."""
    name, found = formats.locate(path)
    return name, found.name


@pytest.mark.parametrize("typed", ["m-7", "m-7-00001-of-00002", "m-7-?????-of-00002"])
def test_the_files_of_a_sharded_one(typed: str, tmp_path: Path) -> None:
    put(tmp_path, "m-7", *SHARDS)
    assert located(tmp_path / typed) == ("tf-v1", "m-7-?????-of-00002")


def test_one_file(tmp_path: Path) -> None:
    assert located(put(tmp_path, "model.ckpt-7")) == ("tf-v1", "model.ckpt-7")


def test_the_latest_that_the_file_points_to(tmp_path: Path) -> None:
    put(tmp_path, "a-9")
    put(tmp_path, "b-3", *SHARDS)
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "/gone/b-3-?????-of-00002"')
    assert located(tmp_path) == ("tf-v1", "b-3-?????-of-00002")
    assert located(tmp_path / "checkpoint") == ("tf-v1", "b-3-?????-of-00002")


def test_without_the_file_the_highest_step(tmp_path: Path) -> None:
    put(tmp_path, "m-9")
    put(tmp_path, "m-10", *SHARDS)
    put(tmp_path, "m-8")
    assert located(tmp_path) == ("tf-v1", "m-10-?????-of-00002")


def test_without_steps_the_newest(tmp_path: Path) -> None:
    os.utime(put(tmp_path, "a"), (2, 2))
    os.utime(put(tmp_path, "b"), (1, 1))
    assert located(tmp_path) == ("tf-v1", "a")


def test_a_bundle_beside_it_comes_first(tmp_path: Path) -> None:
    put(tmp_path, "m-9")
    tf_bundle.save_source(DictSource({"x": np.zeros(1)}), tmp_path / "m-1")
    assert located(tmp_path) == ("tf-bundle", "m-1")


def test_a_pointer_to_nothing(tmp_path: Path) -> None:
    put(tmp_path, "m-9")
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "m-8"')
    with pytest.raises(CheckpointNotFound, match="m-8', which is not there; bundles in its folder"):
        formats.locate(tmp_path)


def test_a_prefix_of_two(tmp_path: Path) -> None:
    put(tmp_path, "m", *SHARDS)
    shutil.copy(tmp_path / "m-00000-of-00002", tmp_path / "m-00000-of-00003")
    with pytest.raises(
        CheckpointNotFound, match="prefix of 2 sharded checkpoints; open one of the"
    ):
        formats.locate(tmp_path / "m")
    assert located(tmp_path / "m-00000-of-00003") == ("tf-v1", "m-?????-of-00003")


@pytest.mark.parametrize("name", ["data.ldb", "m-00003-of-00002", "notes"])
def test_other_files_in_a_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"none of ours")
    shutil.copy(GOLDEN / "model-7", tmp_path / "a.sst")
    with pytest.raises(UnknownFormat, match="says which checkpoint is meant; give its path"):
        formats.locate(tmp_path)


def test_a_shard_beyond_its_count_is_a_file_by_itself(tmp_path: Path) -> None:
    assert formats.locate(put(tmp_path, "m-00002-of-00002"))[0] == "tf-v1"


def test_a_count_beyond_all_measure(tmp_path: Path) -> None:
    # A name alone would have made a list of a hundred million missing files.
    put(tmp_path, "m-00000-of-99999999")
    with (
        formats.open_source(tmp_path / "m") as source,
        pytest.raises(CheckpointNotFound, match="1000 of 1001 files are not there"),
    ):
        source.read_all()


def test_a_folder_lists_shards_as_one(tmp_path: Path) -> None:
    put(tmp_path, "m-9", *SHARDS)
    put(tmp_path, "m-8")
    found = survey(tmp_path)
    assert [(entry.name, entry.format, entry.nbytes) for entry in found.checkpoints] == [
        ("m-8", "tf-v1", 701),
        ("m-9-?????-of-00002", "tf-v1", 477 + 328),
    ]
    assert found.stands_for == str(tmp_path / "m-9-?????-of-00002")
