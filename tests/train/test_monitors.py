import builtins
import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from warmstart.errors import MissingDependency, ResumeError
from warmstart.testing.callbacks import CallbackContract
from warmstart.train.callback import Callback
from warmstart.train.monitors import JSONWriter, TensorBoardWriter
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


@pytest.mark.parametrize("content", [b"", b'{"epoch": 9}\n' * 20], ids=["lost", "another"])
def test_a_file_that_is_not_of_the_run_is_refused(
    folder: Path, train: Train, content: bytes
) -> None:
    train(max_epoch=2)
    (folder / "stats.jsonl").write_bytes(content)
    with pytest.raises(ResumeError, match=r"stats\.jsonl is not the file of this run: its first"):
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

    from warmstart.train.saver import ModelSaver

    train(callbacks=[TensorBoardWriter(folder=folder / "parts"), ModelSaver()])
    train(
        callbacks=[TensorBoardWriter(folder=folder / "parts"), ModelSaver()],
        resume_from=folder / "model-5",
    )
    assert [step for step, _ in whole] == [5, 10, 15]
    assert shown_by_tensorboard(folder / "parts") == whole


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
