"""The checkpoints of a folder."""

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from warmstart.errors import CheckpointNotFound, MissingDependency
from warmstart.files.folder import LEFTOVERS, Entry, step_in, survey
from warmstart.files.variables import save_vars

ARRAYS = {"w": np.arange(3, dtype="f4")}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Return a folder of training: bundles, other files, halves and what was left behind."""
    folder = tmp_path / "runs"
    for name in ("exp", "assets"):
        (folder / name).mkdir(parents=True)
    for step in (9, 100):
        save_vars(ARRAYS, folder / f"model-{step}")
    save_vars(ARRAYS, folder / "epoch_3.npz")
    save_vars(ARRAYS, folder / "exp" / "inner-7")
    (folder / "checkpoint").write_text('model_checkpoint_path: "model-9"\n')
    (folder / "notes.txt").write_text("minutes of a meeting")
    (folder / ".m.1-ab.warmstart-tmp").write_bytes(bytes(50))
    return folder


def states(folder: Path) -> Mapping[str, str]:
    """Return the state of each checkpoint by name, the latest last."""
    return {entry.name: entry.state for entry in survey(folder).checkpoints}


def test_every_kind_is_found_the_latest_step_last(runs: Path) -> None:
    assert list(states(runs).items()) == [
        ("epoch_3.npz", "sound"),
        ("exp/inner-7", "sound"),
        ("model-9", "sound"),
        ("model-100", "sound"),
    ]


def test_an_entry(runs: Path) -> None:
    os.utime(runs / "model-100.index", (0, 1_700_000_000.5))
    os.utime(runs / "model-100.data-00000-of-00001", (0, 1_600_000_000))
    size = sum(file.stat().st_size for file in runs.glob("model-100.*"))
    assert survey(runs).checkpoints[-1] == Entry(
        name="model-100", path=f"{runs}/model-100", format="tf-bundle", step=100,
        modified=1_700_000_000.5, nbytes=size, tensors=1, sound=True, reason="", latest=False,
    )  # fmt: skip


def test_the_latest_is_what_the_folder_stands_for(runs: Path) -> None:
    found = survey(runs)
    assert [entry.name for entry in found.checkpoints if entry.latest] == ["model-9"]
    assert (found.stands_for, found.warning) == (f"{runs}/model-9", "")


def test_what_is_no_checkpoint(runs: Path) -> None:
    found = survey(runs)
    assert found.others == ("assets", "checkpoint", "notes.txt")
    (left,) = found.leftovers
    expected = ".m.1-ab.warmstart-tmp is left over from a save by warmstart that was stopped"
    assert (str(left), left.nbytes) == (expected, 50)


def test_torn_ones_say_why(runs: Path) -> None:
    (runs / "model-9.index").unlink()
    (runs / "model-100.data-00000-of-00001").unlink()
    (runs / "epoch_3.npz").write_bytes((runs / "epoch_3.npz").read_bytes()[:-1])
    save_vars({"w": np.zeros(9)}, runs / "cut-1")
    os.truncate(runs / "cut-1.data-00000-of-00001", 8)
    found = states(runs)
    assert "torn: model-9.data-00000-of-00001 is there, but" in found["model-9"]
    assert "torn: model-100.index is there, but no data file" in found["model-100"]
    assert "torn: the zip archive has no end record" in found["epoch_3.npz"]
    assert "cut-1.data-00000-of-00001, which has 8: the file was cut short" in found["cut-1"]
    assert "model-9', which is not there" in survey(runs).warning


def test_one_that_cannot_be_read_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("model-1", "model-2"):
        save_vars({"w": np.ones(3)}, tmp_path / name)

    def refuse(self: Path, mode: str = "r") -> IO[Any]:
        if self.name.startswith("model-2.data"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return open(self, mode)

    monkeypatch.setattr(Path, "open", refuse)
    found = {entry.name: entry for entry in survey(tmp_path).checkpoints}
    assert found.keys() == {"model-1", "model-2"}
    assert found["model-1"].sound


def test_shards_that_an_index_joins_are_one(tmp_path: Path) -> None:
    save_vars({"a": np.zeros(3)}, tmp_path / "m-00001-of-00002.safetensors")
    save_vars({"b": np.zeros(3)}, tmp_path / "m-00002-of-00002.safetensors")
    files = {"a": "m-00001-of-00002.safetensors", "b": "m-00002-of-00002.safetensors"}
    index = tmp_path / "m.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": files}))
    (entry,) = survey(tmp_path).checkpoints
    assert (entry.name, entry.tensors, entry.step) == (index.name, 2, None)
    assert entry.nbytes == sum(file.stat().st_size for file in tmp_path.iterdir())
    assert survey(tmp_path).is_one


@pytest.mark.parametrize("text", ["{", "[]", '{"weight_map": []}', '{"weight_map": {"a": 1}}'])
def test_a_broken_index_is_torn(text: str, tmp_path: Path) -> None:
    (tmp_path / "m.safetensors.index.json").write_text(text)
    (state,) = states(tmp_path).values()
    assert state.startswith("torn: ")


def test_one_checkpoint_is_no_list_of_them(tmp_path: Path) -> None:
    save_vars(ARRAYS, tmp_path / "model")
    assert survey(tmp_path).is_one
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model"\n')
    assert not survey(tmp_path).is_one


def test_a_format_whose_package_is_missing(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise MissingDependency("reading it needs h5py")

    monkeypatch.setattr("warmstart.files.folder.open_as", missing)
    assert states(runs)["model-9"] == "not checked: reading it needs h5py"


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound, match="gone cannot be read: No such file"):
        survey(tmp_path / "gone")


def test_it_goes_into_json(runs: Path) -> None:
    value = json.loads(json.dumps(survey(runs).to_dict()))
    assert [entry["step"] for entry in value["checkpoints"]] == [3, 7, 9, 100]
    assert value["leftovers"][0]["by"] == "warmstart"


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("model.ckpt-300", 300), ("300", 300), ("ckpt_epoch_2_step_17.pt", 17), ("step=5.npz", 5),
        ("weights.05-0.21.h5", 5), ("bert-base", None), ("resnet50.pt", None), ("x" * 9, None),
        ("m-00001-of-00002.bin", None), ("9" * 30, None), ("iter-12", 12),
    ],
)  # fmt: skip
def test_the_step_is_the_number_in_the_name(name: str, step: int | None) -> None:
    assert step_in(name) == step


@pytest.mark.parametrize(
    ("name", "by"),
    [
        ("model.tempstate123.data-00000-of-00001", "TensorFlow"),
        ("model-7_temp", "TensorFlow"),
        ("300.orbax-checkpoint-tmp-12", "Orbax"),
        ("tmp-checkpoint-500", "transformers"),
        ("model.pt.tmp", "an unknown program"),
    ],
)
def test_leftovers_of_others(name: str, by: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "part").write_bytes(b"half")
    (left,) = survey(tmp_path).leftovers
    assert (left.by, left.nbytes) == (by, 4)
    assert by in LEFTOVERS.values()


def test_a_folder_of_several_below_is_not_torn(tmp_path: Path) -> None:
    (tmp_path / "exp").mkdir()
    for name in ("a", "b"):
        save_vars(ARRAYS, tmp_path / "exp" / f"{name}.safetensors")
    (state,) = states(tmp_path).values()
    assert state.startswith("not checked: ")
    assert state.endswith("open one of them: a.safetensors, b.safetensors")


def test_shards_of_keras_are_one() -> None:
    golden = Path(__file__).parents[1] / "golden" / "keras"
    found = survey(golden).checkpoints
    assert [e.tensors for e in found if e.name.startswith("sharded.weights")] == [18]
    assert [e.name for e in found if e.name.startswith("sharded_0")] == []


def test_a_checkpoint_of_a_folder_below_has_its_own_size_and_time(runs: Path) -> None:
    (runs / "exp" / "notes.txt").write_bytes(bytes(10_000))
    save_vars(ARRAYS, runs / "exp" / "inner-2")
    (entry,) = [entry for entry in survey(runs).checkpoints if entry.name == "exp/inner-7"]
    assert entry.nbytes == sum(f.stat().st_size for f in (runs / "exp").glob("inner-7.*"))


def test_missing_shards_are_torn_in_a_folder_below_too(tmp_path: Path) -> None:
    index = tmp_path / "hub" / "m.safetensors.index.json"
    index.parent.mkdir()
    index.write_text(json.dumps({"weight_map": {"a": "m-00001-of-00001.safetensors"}}))
    assert states(tmp_path)["hub/m.safetensors.index.json"].startswith("torn: 1 of 1 shards are")


def test_a_folder_that_does_not_say_which_is_meant_has_no_latest_and_no_warning(
    tmp_path: Path,
) -> None:
    save_vars(ARRAYS, tmp_path / "a.npz")
    save_vars(ARRAYS, tmp_path / "b.npz")
    found = survey(tmp_path)
    assert (found.stands_for, found.warning, len(found.checkpoints)) == (None, "", 2)


def test_an_option_that_a_format_does_not_take_makes_nothing_torn(runs: Path) -> None:
    entry = survey(runs, dequantize=True).checkpoints[-1]
    assert entry.state.startswith("not checked: tf-bundle takes no option 'dequantize'")
