import builtins
import json
import logging
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from warmstart.errors import MissingDependency, ResumeError
from warmstart.testing.callbacks import CallbackContract
from warmstart.train.callback import Callback
from warmstart.train.monitors import JSONWriter
from warmstart.train.saver import ModelSaver
from warmstart.train.tensorboard import SUFFIX, TensorBoardWriter
from warmstart.train.trainer import Trainer

Train = Callable[..., Trainer]


class TestJSONWriter(CallbackContract):
    def make(self, folder: Path) -> Callback:
        return JSONWriter(filename="mine.jsonl")


class TestTensorBoardWriter(CallbackContract):
    def make(self, folder: Path) -> Callback:
        return TensorBoardWriter()


def test_a_line_for_each_epoch(folder: Path, train: Train) -> None:
    trainer = train(max_epoch=2)
    lines = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["step"]) for line in lines] == [(1, 5), (2, 10)]
    assert lines[1] == {"epoch": 2, "step": 10, **trainer.metrics}


def test_what_is_not_finite_is_null(folder: Path, train: Train) -> None:
    def put(trainer: Trainer) -> None:
        trainer.put("nan", math.nan)
        trainer.put("infinite", -math.inf)

    train(callbacks=[Callback(after_epoch=put)], max_epoch=1)
    line = json.loads((folder / "stats.jsonl").read_text())
    assert (line["nan"], line["infinite"]) == (None, None)


def test_a_resumed_run_cuts_off_what_its_checkpoint_does_not_know(
    folder: Path, train: Train
) -> None:
    train()
    whole = (folder / "stats.jsonl").read_bytes()
    train(resume_from=folder / "model-5")
    assert (folder / "stats.jsonl").read_bytes() == whole
    assert not (folder / "stats.jsonl.1").exists()


def test_the_lines_of_another_run_are_moved_aside(
    folder: Path, train: Train, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "stats.jsonl").write_text("old\n")
    (folder / "stats.jsonl.1").write_text("older\n")
    with caplog.at_level(logging.WARNING, "warmstart"):
        train(max_epoch=1)
    assert "stats.jsonl is of another run; moved aside to stats.jsonl.2" in caplog.text
    assert (folder / "stats.jsonl.2").read_text() == "old\n"
    assert len((folder / "stats.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("all_of_it", [True, False])
def test_a_file_that_is_removed_during_the_run_is_begun_anew(
    folder: Path, train: Train, caplog: pytest.LogCaptureFixture, *, all_of_it: bool
) -> None:
    def remove(trainer: Trainer) -> None:
        if trainer.epoch == 2:
            shutil.rmtree(folder) if all_of_it else os.truncate(folder / "stats.jsonl", 0)

    train(callbacks=[Callback(after_epoch=remove), ModelSaver()])
    assert "stats.jsonl was removed or emptied, and is begun anew" in caplog.text
    train(resume_from=folder, max_epoch=4)
    lines = (folder / "stats.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [2, 3, 4]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", r"stats\.jsonl is not here, or is empty; the checkpoint knows \d+ bytes of it; put"),
        (b'{"epoch": 9}\n' * 20, r"stats\.jsonl is not the file of this run: its first"),
    ],
    ids=["lost", "another"],
)
def test_a_file_that_is_not_of_the_run_is_refused(
    folder: Path, train: Train, content: bytes, text: str
) -> None:
    train(max_epoch=2)
    (folder / "stats.jsonl").write_bytes(content)
    with pytest.raises(ResumeError, match=text):
        train(resume_from=folder)
    assert (folder / "stats.jsonl").read_bytes() == content


def test_a_file_that_is_not_of_the_run_may_be_accepted(folder: Path, train: Train) -> None:
    train(max_epoch=2)
    (folder / "stats.jsonl").write_text("another\n")
    train(resume_from=folder, accept=("stats.jsonl",))
    assert json.loads((folder / "stats.jsonl").read_text())["epoch"] == 3
    assert (folder / "stats.jsonl.1").read_text() == "another\n"


def shown_by_tensorboard(folder: Path) -> list[tuple[int, float]]:
    """Return what TensorBoard shows of the loss: (step, value)."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return [(event.step, event.value) for event in accumulator.Scalars("loss")]


def test_tensorboard_shows_each_epoch_of_a_resumed_run_once(folder: Path, train: Train) -> None:
    train(callbacks=[TensorBoardWriter(folder=folder / "whole")])
    whole = shown_by_tensorboard(folder / "whole")

    train(callbacks=[TensorBoardWriter(folder=folder / "parts"), ModelSaver()])
    train(
        callbacks=[TensorBoardWriter(folder=folder / "parts"), ModelSaver()],
        resume_from=folder / "model-5",
    )
    assert [step for step, _ in whole] == [5, 10, 15]
    assert shown_by_tensorboard(folder / "parts") == whole


def epochs_in(folder: Path) -> list[int]:
    """Return the step of every epoch in the event files of *folder*, in the order written."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event

    files = sorted(folder.glob("*tfevents*"), key=lambda path: path.stat().st_mtime_ns)
    events = [Event.FromString(e) for f in files for e in RawEventFileLoader(str(f)).Load()]
    return sorted(event.step for event in events if event.HasField("summary"))


def test_no_epoch_is_doubled_or_missing_in_the_event_files(folder: Path, train: Train) -> None:
    def run(**more: Any) -> None:
        train(callbacks=[TensorBoardWriter(), ModelSaver()], **more)

    run()
    written = max(folder.glob(f"*{SUFFIX}"))
    torn = written.read_bytes()
    written.write_bytes(torn + torn[:30])  # killed within a record
    run(resume_from=folder / "model-5")  # killed before it was saved, twice
    assert epochs_in(folder) == [5, 10, 15]
    run(resume_from=folder / "model-10")
    assert epochs_in(folder) == [5, 10, 15]


def test_event_files_that_are_not_of_the_run_are_refused_unless_accepted(
    folder: Path, train: Train
) -> None:
    callbacks = [TensorBoardWriter(), ModelSaver()]
    train(callbacks=callbacks, max_epoch=2)
    (written,) = folder.glob(f"*{SUFFIX}")
    written.write_bytes(written.read_bytes()[:-5])
    callbacks = [TensorBoardWriter(), ModelSaver()]
    with pytest.raises(ResumeError, match=r"wrote for TensorBoard: 1 of 2 epochs to step 10 in f"):
        train(callbacks=callbacks, resume_from=folder)
    train(callbacks=[TensorBoardWriter()], resume_from=folder, accept="tensorboard")
    assert epochs_in(folder) == [15]


def test_the_event_files_of_another_run_are_moved_aside(
    folder: Path, train: Train, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "events.out.tfevents.1.mine").write_bytes(b"")
    for _ in range(2):
        train(callbacks=[TensorBoardWriter()], max_epoch=1)
    assert epochs_in(folder) == [5]
    assert "is of another run; moved aside to events.out.other-run." in caplog.text
    assert (folder / "events.out.tfevents.1.mine").exists()


def test_a_line_that_was_torn_is_cut_off(folder: Path, train: Train) -> None:
    train()
    whole = (folder / "stats.jsonl").read_bytes()
    (folder / "stats.jsonl").write_bytes(whole[:-7])
    train(resume_from=folder / "model-10")
    assert (folder / "stats.jsonl").read_bytes() == whole


def test_a_missing_tensorboard_is_named_with_its_remedy(
    folder: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **more: Any) -> Any:
        if name.startswith("tensorboard"):
            raise ModuleNotFoundError(f"No module named {name!r}", name="tensorboard")
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependency, match="needs tensorboard: pip install tensorboard"):
        train(callbacks=[TensorBoardWriter()])
