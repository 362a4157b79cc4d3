"""Runs of this library, which say what they have."""

import json
from pathlib import Path

import numpy as np
import pytest

from warmstart.doctor.diagnose import diagnose
from warmstart.doctor.findings import Diagnosis
from warmstart.errors import CheckpointError, CorruptCheckpoint
from warmstart.files.variables import save_vars
from warmstart.formats import open_source
from warmstart.source import DictSource
from warmstart.testing.toy import ToyModel, ToySession
from warmstart.train.data import Batches

from .conftest import run_into


def told(found: Diagnosis) -> dict[str, tuple[bool | None, str]]:
    return {piece.name: (piece.saved, piece.what) for piece in found.pieces}


def test_every_piece_of_a_whole_run_is_there(run: Path) -> None:
    found = diagnose(run)
    pieces = told(found)
    assert found.exact
    assert found.path == str(run / "model-10")
    assert found.verdict().endswith("(tf-bundle, written by warmstart): would resume exactly")
    assert pieces["variables"] == (True, "1 variable: 1 trainable")
    assert pieces["optimizer"] == (True, "SGD with momentum: momentum")
    assert pieces["schedule"][0] is None
    assert pieces["step"] == (True, "10")
    assert pieces["epoch"] == (True, "3, 0 of 5 steps of it done")
    assert pieces["data"][1].startswith("pass 2, position 0, examples 20")
    assert pieces["random states"] == (True, "Python, NumPy, TensorFlow's global Generator")
    assert pieces["callbacks"] == (True, "min-loss")
    length = (run / "stats.jsonl").stat().st_size
    assert pieces["monitors"] == (True, f"stats.jsonl ({length} bytes of it)")


def test_a_folder_stands_for_what_a_resume_takes(run: Path) -> None:
    data = run / "model-10.data-00000-of-00001"
    data.write_bytes(bytes(data.stat().st_size))
    found = diagnose(run)
    assert found.path == str(run / "model-9")
    (passed,) = found.passed_over
    assert passed.startswith("model-10: ")
    assert found.to_dict()["passed_over"] == [passed]


def test_of_a_folder_without_a_sound_one_the_fault_is_said(tmp_path: Path) -> None:
    run = run_into(tmp_path / "log", max_epoch=1)
    for index in run.glob("model-*.index"):
        index.write_bytes(b"")
    with pytest.raises(CheckpointError, match="model-5"):
        diagnose(run)


def test_a_checkpoint_in_mid_epoch_says_so(run: Path) -> None:
    pieces = told(diagnose(run / "model-3"))
    assert pieces["epoch"] == (True, "1, 3 of 5 steps of it done")
    assert pieces["data"][1].startswith("pass 0, position 3")
    assert pieces["monitors"] == (True, "stats.jsonl (0 bytes of it)")


def test_data_without_a_place_is_missing(tmp_path: Path) -> None:
    batch = (np.ones((4, 3)), np.ones(4))
    found = diagnose(run_into(tmp_path / "log", data=[batch] * 5))
    assert not found.exact
    assert found.verdict().endswith("would NOT resume exactly, 1 piece missing: data")
    (missing,) = found.missing
    assert missing.row() == (
        "data", "NO",
        "the data could not say its place: the data begins with its first batch: some of it is "
        "seen again, some later or never",
    )  # fmt: skip


class Unsaved(ToySession):
    def state(self) -> dict[str, object]:
        return {**super().state(), "not_saved": {"dropout/uniform": "nobody can save it"}}


def test_what_the_run_could_not_save_is_missing_by_name(tmp_path: Path) -> None:
    model = ToyModel()
    model.session = Unsaved(3)
    found = diagnose(run_into(tmp_path / "log", model=model))
    assert [piece.row() for piece in found.missing] == [
        ("dropout/uniform", "NO", "nobody can save it")
    ]


class Forgetful(ToySession):
    def unresumable(self) -> dict[str, str]:
        return {"table": "nobody can save it"}


def test_so_is_what_the_run_was_told_to_do_without(tmp_path: Path) -> None:
    model = ToyModel()
    model.session = Forgetful(3)
    folder = run_into(tmp_path / "log", model=model, accept="table")
    assert [piece.name for piece in diagnose(folder).missing] == ["table"]
    model = ToyModel()
    model.session = Forgetful(3)
    run_into(tmp_path / "log", model=model, accept="table", resume_from=folder / "model-6")
    assert [piece.name for piece in diagnose(folder).missing] == ["table"]


def test_what_is_saved_beside_the_model_is_told_by_its_name(tmp_path: Path) -> None:
    average = Batches((np.ones(4),), 2)
    pieces = told(diagnose(run_into(tmp_path / "log", also={"average": average})))
    assert pieces["average"][1].startswith("pass 0, position 0")


class Accumulating(ToyModel):
    def state(self) -> dict[str, object]:
        return {
            "accumulated": np.ones(3),
            "accumulation": {"every": 2, "done": 1, "scaler": {"scale": 8.0}},
            "scheduler": {"class": "StepLR", "values": {}},
        }

    def load_state(self, state: object) -> None:
        """Take nothing back."""


def test_other_states_of_a_model_are_told_by_their_names(tmp_path: Path) -> None:
    pieces = told(diagnose(run_into(tmp_path / "log", model=Accumulating())))
    assert pieces["model's accumulated"] == (True, "an array (3,)")
    assert pieces["schedule"] == (True, "StepLR at None")
    assert pieces["gradient scaler"] == (True, "scale 8.0")
    assert pieces["accumulated gradients"] == (True, "1 of 2 batches of the step are in them")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "stats.jsonl is not beside the checkpoint (No such file"),
        (lambda path: path.write_text("{}\n" * 99), "stats.jsonl does not begin with the "),
        (lambda path: path.write_text(""), "stats.jsonl does not begin with the "),
    ],
)
def test_statistics_that_are_not_the_runs_are_missing(run: Path, damage: object, said: str) -> None:
    damage(run / "stats.jsonl")  # type: ignore[operator]
    found = diagnose(run)
    assert [piece.name for piece in found.missing] == ["monitors"]
    assert found.missing[0].what.startswith(said)


def test_a_run_state_that_is_not_ours_is_refused(run: Path, tmp_path: Path) -> None:
    with open_source(run) as source:
        metadata = {"run": json.dumps({"version": 9})}
        save_vars(DictSource({"w": source.read("w")}, metadata=metadata), tmp_path / "other")
    with pytest.raises(CorruptCheckpoint, match="the run state is not of version 1"):
        diagnose(tmp_path / "other")


def test_trainable_variables_without_slots_are_named(tmp_path: Path) -> None:
    arrays = {"a/w": np.ones(2), "a/w/Adam": np.ones(2), "b/w": np.ones(2), "b/v": np.ones(2)}
    roles = dict.fromkeys(arrays, "trainable") | {"a/w/Adam": "slot"}
    save_vars(DictSource(arrays, roles=roles), tmp_path / "model-1")
    pieces = told(diagnose(tmp_path / "model-1"))
    assert pieces["optimizer"] == (True, "Adam of TensorFlow: Adam; none for b/{v,w}")
