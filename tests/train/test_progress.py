import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import warmstart.train.progress
from warmstart.testing.callbacks import CallbackContract
from warmstart.testing.toy import ToyModel
from warmstart.train.callback import Callback
from warmstart.train.config import AutoResumeTrainConfig, launch_train
from warmstart.train.data import Batches
from warmstart.train.progress import ProgressBar, line
from warmstart.train.trainer import Trainer

Train = Callable[..., Trainer]


class TestProgressBar(CallbackContract):
    def make(self, folder: Path) -> Callback:
        return ProgressBar()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def at(step: int) -> Trainer:
    """Return a trainer at *step* of 10 epochs of 100 steps."""
    return SimpleNamespace(  # type: ignore[return-value]
        step=step, epoch=step // 100 + 1, step_in_epoch=step % 100,
        steps_per_epoch=100, max_epoch=10, resumed_from=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("trainer", "seconds", "text"),
    [
        (at(250), 2.0, "epoch 3/10  step 50/100  loss 0.1235  75 steps/s  0:00:10 left"),
        (at(101), 2.0, "epoch 2/10  step 1/100  loss 0.1235  0.5 steps/s  0:29:58 left"),
        (at(1000), 9.0, "epoch 11/10  step 0/100  loss 0.1235  100 steps/s"),
        (at(100), 0.0, "epoch 2/10  step 0/100  loss 0.1235  0 steps/s"),
    ],
    ids=["middle", "slow", "end", "start"],
)
def test_what_a_line_says(trainer: Trainer, seconds: float, text: str) -> None:
    assert line(trainer, {"loss": 0.12345}, seconds, 100) == text


def test_a_pipe_gets_one_line_an_epoch(folder: Path, train: Train) -> None:
    file = io.StringIO()
    train(callbacks=[ProgressBar(file=file)])
    lines = file.getvalue().splitlines()
    assert [text[:19] for text in lines] == [f"epoch {n}/3  step 5/5" for n in (1, 2, 3)]
    assert "\r" not in file.getvalue()


def test_a_resumed_run_says_from_where_it_goes_on(
    folder: Path, batches: Callable[[], Batches], capsys: pytest.CaptureFixture[str]
) -> None:
    def run(max_epoch: int, **more: Any) -> list[str]:
        given = {"model": ToyModel(), "data": batches(), "max_epoch": max_epoch}
        launch_train(AutoResumeTrainConfig(**given, **more))
        return capsys.readouterr().err.splitlines()

    steps = len(batches())
    assert not any("going on" in text for text in run(1))
    path = folder / f"model-{steps}"
    assert run(1) == [
        f"going on from {path} at step {steps}",
        "nothing to do: the run has reached epoch 1, and max_epoch is 1",
    ]
    first, second = run(2, session_init={}, starting_epoch=2)
    assert (
        first == f"going on from {path} at step {steps}; passed over: session_init, starting_epoch"
    )
    assert second.startswith("epoch 2/2")


def test_a_terminal_gets_a_line_that_is_drawn_over(
    folder: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warmstart.train.progress, "PERIOD", 0)
    file = Terminal()
    train(callbacks=[ProgressBar(file=file)], max_epoch=1)
    drawn = file.getvalue().split("\r")
    assert [text[:19] for text in drawn[1:6]] == [f"epoch 1/1  step {n}/5" for n in range(1, 6)]
    assert file.getvalue().endswith("\n")


def test_a_shorter_line_covers_the_longer_one(folder: Path) -> None:
    file = Terminal()
    bar = ProgressBar(file=file)
    bar.start(at(0))
    bar._draw("long line")
    bar._draw("short")
    assert file.getvalue() == "\rlong line\rshort    "


def test_an_error_leaves_the_terminal_on_a_new_line(folder: Path, train: Train) -> None:
    file = Terminal()

    def fail(trainer: Trainer, metrics: object) -> None:
        raise RuntimeError("the step failed")

    bar = ProgressBar(file=file)
    callback = Callback(after_step=fail)
    callback.turn = bar.turn
    with pytest.raises(RuntimeError, match="the step failed"):
        train(callbacks=[bar, callback])
    assert file.getvalue().endswith("steps/s\n") or file.getvalue().endswith("left\n")
