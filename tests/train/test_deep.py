"""Whole folders of runs, verified and put in order."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import warmstart as ws
from warmstart.binary.lock import hold
from warmstart.errors import CheckpointNotFound, MissingDependency, SaveError, UnknownFormat
from warmstart.formats.tf_bundle.state import read_state, write_state
from warmstart.train import deep
from warmstart.train.deep import DeepVerification, verify_deep
from warmstart.train.newest import checkpoint_to_resume
from warmstart.train.repair import Repair, repair
from warmstart.train.saver import ModelSaver
from warmstart.train.trainer import Trainer

Train = Callable[..., Trainer]
DATA = "data-00000-of-00001"
DEEP = "warmstart verify --deep"


@pytest.fixture
def run(folder: Path, train: Train) -> Path:
    """The folder of a run with checkpoints at 5, 10 and 15, and the best one."""
    train(callbacks=[ws.MinSaver("loss"), ModelSaver()])
    return folder


def said(found: DeepVerification | Repair) -> str:
    """Return what *found* says, which is JSON as well."""
    json.dumps(found.to_dict(), allow_nan=False)
    return str(found)


def test_a_sound_folder(run: Path) -> None:
    found = verify_deep(run)
    assert (found.sound, len(found.checkpoints), found.faults, found.notes) == (True, 4, (), ())
    assert said(found).endswith(f"4 checkpoints: sound; a run goes on from {run / 'model-15'}")
    place = "step 10, epoch 3, 0 steps into it; callbacks: stats.jsonl, min-loss"
    assert f"note   run state: {place}" in str(found)


def test_one_checkpoint(run: Path) -> None:
    found = verify_deep(run / "model-10")
    assert (found.sound, len(found.checkpoints), found.resumes) == (True, 1, None)
    assert "run state: step 10" in said(found)


def test_what_is_no_run_and_what_goes_by_another_name(run: Path) -> None:
    ws.save_vars({"w": np.ones(3)}, run / "exported")
    for path in run.glob("model-10.*"):
        path.rename(path.with_name(path.name.replace("10", "12", 1)))
    text = said(verify_deep(run))
    assert "run state: none: it holds variables alone" in text
    assert "its name says step 12" in text


def test_a_run_state_that_cannot_be_taken_up_is_a_fault(run: Path) -> None:
    source = ws.DictSource({"w": np.ones(3)}, metadata={"run": '{"version": 7}'})
    ws.save_vars(source, run / "model-20")
    assert ws.verify(run / "model-20").sound
    assert "fault  run state: the run state is not of version 1; it has version 7" in said(
        verify_deep(run / "model-20")
    )


def test_everything_that_is_wrong_is_said_together(run: Path) -> None:
    data = bytearray((run / f"model-15.{DATA}").read_bytes())
    data[0] ^= 1
    (run / f"model-15.{DATA}").write_bytes(data)
    (run / "model-10.index").unlink()
    next(run.glob("min-loss.data-*")).unlink()
    (run / "model-5.data-00001-of-00002").touch()
    (run / ".x.1-2.warmstart-tmp").touch()
    found = verify_deep(run)
    text = said(found)
    assert not found.sound
    for expected in (
        "fault  min-loss.index is there, but no data file of the same bundle",
        ": its checksum is 0x",
        "fault  checkpoint: it points to what a run cannot go on from: model-15: ",
        f"note   model-10.{DATA}: no index refers to it: a save was stopped",
        "note   model-5.data-00001-of-00002: no index refers to it: a save was stopped",
        "note   .x.1-2.warmstart-tmp is left over from a save by warmstart that was stopped",
        "note   checkpoint: it lists model-10, which is not there",
        "note   checkpoint: it names another; verify --repair makes it name model-5",
        "3 checkpoints: UNSOUND, 2 of them and 1 fault beside them; a run goes on from",
    ):
        assert expected in text


def test_a_broken_pointer_a_missing_one_and_nothing_to_go_on_from(run: Path) -> None:
    (run / "checkpoint").write_text("garbage")
    assert "fault  checkpoint: the file `checkpoint` has 'garbage'" in said(verify_deep(run))
    (run / "checkpoint").unlink()
    found = verify_deep(run)
    assert found.sound
    assert "note   checkpoint: it is not there; verify --repair makes" in said(found)
    for path in run.glob("model-*.index"):
        path.write_bytes(b"")
    assert "fault  a run can go on from none of them" in said(verify_deep(run))


def test_shared_files_are_named(run: Path) -> None:
    (run / f"model-10.{DATA}").unlink()
    os.link(run / f"model-5.{DATA}", run / f"model-10.{DATA}")
    expected = f"note   model-10.{DATA}: the same bytes on the disk as model-5.{DATA}"
    assert expected in said(verify_deep(run))


def test_a_folder_that_is_being_saved_into_is_said_to_be(run: Path) -> None:
    lock = hold(run, None)
    assert f"note   held by process {os.getpid()} on host" in said(verify_deep(run))
    with pytest.raises(SaveError, match="another run of this very process"):
        repair(run)
    lock.release()


def test_what_needs_a_package_is_not_checked_and_no_fault(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def verify_some(path: str, **options: Any) -> Any:
        if path.endswith("min-loss"):
            raise MissingDependency("reading min-loss needs h5py: pip install h5py")
        return ws.verify(path)

    monkeypatch.setattr(deep, "verify", verify_some)
    found = verify_deep(run)
    assert not found.sound
    assert "min-loss (tf-bundle): NOT CHECKED: reading min-loss needs h5py: pip " in said(found)
    assert f"{run}: 4 checkpoints: 1 of them NOT CHECKED; the others are sound; a" in said(found)
    (run / "model-5.index").write_bytes(b"")
    expected = (
        f"{run}: 4 checkpoints: 1 of them NOT CHECKED; UNSOUND, 1 of them and 0 faults beside"
    )
    assert expected in said(verify_deep(run))


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UnknownFormat, match="holds no checkpoint of a known format"):
        verify_deep(tmp_path)
    with pytest.raises(CheckpointNotFound, match="gone is no folder; what is put in order is a"):
        repair(tmp_path / "gone")
    expected = f"nothing was changed; no run can go on from it; what is wrong: {DEEP} {tmp_path}"
    assert said(repair(tmp_path)).endswith(expected)


def test_what_another_program_points_to_is_named_and_left(run: Path) -> None:
    for path in [*run.glob("model-*")]:
        path.rename(run / path.name.replace("model-", "ckpt-"))
    (run / f"ckpt-15.{DATA}").write_bytes(b"spoiled")
    write_state(run, "ckpt-15", ["ckpt-10", "ckpt-15"])
    lines = said(repair(run)).splitlines()
    assert lines[0].startswith("leave  ckpt-15: ")
    assert lines[-1].startswith(f"{run}: nothing was changed; no run can go on from it")


def test_a_folder_in_order_is_left_as_it_is(run: Path) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    found = repair(run)
    assert (found.steps, found.sound) == ((), True)
    assert said(found) == f"{run}: it was in order; a run goes on from {run / 'model-15'}"
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


SPOILED = [
    lambda run: (run / "checkpoint").unlink(),
    lambda run: (run / "checkpoint").write_bytes(b"\0garbage"),
    lambda run: write_state(run, "gone", ["gone"]),
    lambda run: write_state(run, "model-20", ["model-15", "model-20"]),
]


@pytest.mark.parametrize("spoil", SPOILED, ids=["missing", "garbage", "nowhere", "torn"])
def test_the_pointer_is_restored(run: Path, spoil: Callable[[Path], object]) -> None:
    (run / "model-20.index").write_bytes(b"half")
    (run / f"model-20.{DATA}").write_bytes(b"half")
    spoil(run)
    before = sorted(os.listdir(run))
    plan = repair(run, dry_run=True)
    assert sorted(os.listdir(run)) == before
    assert "nothing was changed" in said(plan)
    done = repair(run)
    assert done.steps == plan.steps
    assert [step.to for step in done.steps if step.what == "point"] == ["model-15"]
    assert "leave  model-20: the table has 4 bytes" in said(done)
    state = read_state(run)
    assert state is not None
    assert (state.latest, state.all_paths[-1]) == ("model-15", "model-15")
    assert checkpoint_to_resume(run) == run / "model-15"
    assert {step.what for step in repair(run).steps} == {"leave"}


def test_halves_of_ours_go_and_nothing_else_does(run: Path) -> None:
    ours = {".x.1-2.warmstart-tmp", f"model-99.{DATA}", "model-5.data-00000-of-00007"}
    others = {"x.tmp", f"exported.{DATA}", f"model.ckpt-3.{DATA}", ".warmstart-old", "model-7"}
    kept = set(os.listdir(run)) | others
    for name in ours | others:
        (run / name).touch()
    found = repair(run)
    assert set(os.listdir(run)) == kept
    assert {step.path for step in found.steps if step.what == "remove"} == ours
    left = {step.path for step in found.steps if step.what == "leave"}
    assert left == {f"exported.{DATA}", f"model.ckpt-3.{DATA}"}
    assert f"leave  exported.{DATA}: no index refers to it; the name is not this lib" in said(found)


def test_what_was_saved_just_before_a_kill_is_pointed_to_with_its_metrics(run: Path) -> None:
    lock = hold(run, None)
    lock.announce("model-15", "model-10", '{"loss": 0.5}')
    write_state(run, "model-10", ["model-5", "model-10"])
    copy = lock.path.read_bytes()
    lock.release()
    lock.path.write_bytes(copy)
    assert "point  checkpoint to model-15: it was saved just before a kill" in said(repair(run))
    state = read_state(run)
    assert state is not None
    assert state.all_paths == ("model-5", "model-10", "model-15")
    assert '"model-15": {"loss": 0.5}' in state.note
    assert not lock.path.exists()
