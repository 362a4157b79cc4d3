import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from warmstart.processes import Processes
from warmstart.testing.toy import ToyModel
from warmstart.train.callback import Callback
from warmstart.train.trainer import Trainer

Train = Callable[..., Trainer]


class Recorder(Callback):
    """Writes down its calls."""

    def __init__(self, name: str, calls: list[str], turn: int = 0) -> None:
        self.name, self.calls, self.turn = name, calls, turn

    def start(self, trainer: Trainer) -> None:
        self.calls.append(f"{self.name}.start")

    def after_step(self, trainer: Trainer, metrics: Mapping[str, float]) -> None:
        self.calls.append(f"{self.name}.step{trainer.step}")

    def after_epoch(self, trainer: Trainer) -> None:
        self.calls.append(f"{self.name}.epoch{trainer.epoch}")

    def stop(self, trainer: Trainer) -> None:
        self.calls.append(f"{self.name}.stop")


def test_the_loop_calls_each_in_turn(folder: Path, train: Train) -> None:
    calls: list[str] = []
    train(
        callbacks=[Recorder("saver", calls, turn=3), Recorder("a", calls), Recorder("b", calls)],
        steps_per_epoch=2,
        max_epoch=1,
    )
    assert calls == [
        "a.start", "b.start", "saver.start",
        "a.step1", "b.step1", "saver.step1",
        "a.step2", "b.step2", "saver.step2",
        "a.epoch1", "b.epoch1", "saver.epoch1",
        "saver.stop", "b.stop", "a.stop",
    ]  # fmt: skip


def test_only_those_that_started_are_stopped_on_error(folder: Path, train: Train) -> None:
    calls: list[str] = []

    def fail(trainer: Trainer) -> None:
        raise RuntimeError("no start")

    with pytest.raises(RuntimeError, match="no start"):
        train(callbacks=[Recorder("a", calls), Callback(start=fail), Recorder("b", calls)])
    assert calls == ["a.start", "a.stop"]


def test_an_interrupt_stops_the_callbacks_and_goes_on_up(folder: Path, train: Train) -> None:
    ends: list[bool] = []

    def interrupt(trainer: Trainer, metrics: Mapping[str, float]) -> None:
        raise KeyboardInterrupt

    callbacks = [
        Callback(stop=lambda trainer: ends.append(trainer.finished)),
        Callback(after_step=interrupt),
    ]
    with pytest.raises(KeyboardInterrupt):
        train(callbacks=callbacks)
    assert ends == [False]


def test_a_callback_ends_the_run_after_the_step(folder: Path, train: Train) -> None:
    def stop(trainer: Trainer, metrics: Mapping[str, float]) -> None:
        trainer.stopping = trainer.step == 7

    trainer = train(callbacks=[Callback(after_step=stop)])
    assert (trainer.step, trainer.epoch, trainer.step_in_epoch, trainer.finished) == (7, 2, 2, True)


def test_metrics_are_the_means_of_the_epoch_and_what_was_put(folder: Path, train: Train) -> None:
    seen: list[dict[str, float]] = []
    losses: list[float] = []
    callbacks = [
        Callback(after_step=lambda trainer, metrics: losses.append(metrics["loss"])),
        Callback(after_epoch=lambda trainer: seen.append(trainer.metrics), key="late"),
        Callback(after_epoch=lambda trainer: trainer.put("accuracy", trainer.epoch / 10)),
    ]
    callbacks[1].turn = 1
    trainer = train(callbacks=callbacks, max_epoch=2)
    assert [m["accuracy"] for m in seen] == [0.1, 0.2]
    assert [m["loss"] for m in seen] == [sum(losses[:5]) / 5, sum(losses[5:]) / 5]
    assert trainer.metrics == seen[1]


def test_a_step_may_lack_a_metric(folder: Path, train: Train) -> None:
    class Sometimes(ToyModel):
        def train_step(self, batch: Any) -> dict[str, float]:
            loss = super().train_step(batch)["loss"]
            return {"loss": loss} if trainer_steps.pop() else {"loss": loss, "rare": 4.0}

    trainer_steps = [0, 1, 1, 0, 1]
    trainer = train(model=Sometimes(), max_epoch=1)
    assert trainer.metrics["rare"] == 4.0


def test_the_data_goes_on_over_the_end_of_a_pass(folder: Path, train: Train) -> None:
    trainer = train(steps_per_epoch=7, max_epoch=2)
    assert trainer.step == 14
    assert trainer.data.state()["pass"] == 2


def test_starting_epoch_counts_the_steps_before_it(folder: Path, train: Train) -> None:
    first: list[tuple[int, int]] = []
    train(
        starting_epoch=3,
        callbacks=[Callback(start=lambda trainer: first.append((trainer.epoch, trainer.step)))],
    )
    assert first == [(3, 10)]


def test_session_init_gives_the_variables_their_values(folder: Path, train: Train) -> None:
    seen: list[np.ndarray] = []
    given = {"w": np.ones(3), "w/momentum": np.zeros(3)}
    train(
        session_init=given,
        callbacks=[Callback(start=lambda trainer: seen.append(trainer.session.read("w")))],
    )
    np.testing.assert_array_equal(seen[0], np.ones(3))


def test_data_that_ends_too_early_is_an_error(folder: Path, train: Train) -> None:
    with pytest.raises(ValueError, match="the data ended before the training: an iterator can be"):
        train(data=iter([(np.ones((1, 3)), np.ones(1))] * 3), steps_per_epoch=5)


def test_data_without_batches_is_an_error(folder: Path, train: Train) -> None:
    with pytest.raises(ValueError, match="the data has no batches"):
        train(data=[], steps_per_epoch=5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"data": iter([])}, "a list_iterator, has no length: give steps_per_epoch"),
        ({"data": []}, "an epoch has 0 steps; expected 1 or more"),
        ({"steps_per_epoch": 0}, "an epoch has 0 steps"),
        ({"starting_epoch": 0}, "starting_epoch is 0; epochs count from 1"),
        ({"max_epoch": None}, "max_epoch is None; expected the number of an epoch"),
        ({"data": None}, "data is None; expected batches, such as ws.Batches"),
        ({"steps_per_epoch": "3"}, "steps_per_epoch is '3'; expected a whole number"),
        ({"callbacks": 5}, "callbacks is 5; expected a list of callbacks"),
        ({"resume_from": 5}, "resume_from is 5; expected a path"),
        ({"starting_epoch": 4}, "nothing to do from epoch 4 to max_epoch 3"),
        ({"callbacks": [Callback(key="a"), Callback(key="a")]}, "two callbacks have the key 'a'"),
    ],
    ids=lambda each: "" if isinstance(each, str) else ",".join(each),
)
def test_what_cannot_be_is_refused_before_anything_starts(
    folder: Path, train: Train, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        train(**wrong)
    assert list(folder.iterdir()) == []


def test_a_callback_of_another_kind_is_refused(folder: Path, train: Train) -> None:
    with pytest.raises(TypeError, match="a callback is a function; expected a"):
        train(callbacks=[lambda: None])


def test_max_epoch_must_be_given(batches: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match="max_epoch"):
        Trainer(ToyModel()).train(data=batches())  # type: ignore[call-arg]


def test_a_model_without_a_session_is_refused() -> None:
    with pytest.raises(TypeError, match=r"a list cannot be trained: it needs a \.session"):
        Trainer([])  # type: ignore[arg-type]


def test_what_cannot_be_resumed_is_said_at_the_first_start(
    folder: Path, train: Train, caplog: pytest.LogCaptureFixture
) -> None:
    batch = (np.ones((2, 3)), np.ones(2))
    with caplog.at_level(logging.WARNING, "warmstart"):
        train(data=[batch])
    assert "this run cannot be resumed exactly: data: a list cannot say" in caplog.text
    assert caplog.text.count("data:") == 1


def test_what_is_accepted_is_not_warned_about(
    folder: Path, train: Train, caplog: pytest.LogCaptureFixture
) -> None:
    train(data=[(np.ones((2, 3)), np.ones(2))], accept=("data",))
    assert "cannot be resumed" not in caplog.text


def test_a_model_may_have_more_than_it_must(folder: Path, train: Train) -> None:
    calls: list[str] = []

    class More(ToyModel):
        def prepare(self) -> None:
            calls.append("prepare")

        def after_epoch(self) -> None:
            calls.append("after_epoch")

    train(model=More(), max_epoch=2)
    assert calls == ["prepare", "after_epoch", "after_epoch"]


def test_the_processes_leave_each_other_when_all_has_stopped(
    folder: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(Processes, "leave", lambda self: calls.append(f"{self.rank} leaves"))
    train(callbacks=[Recorder("a", calls)], steps_per_epoch=1, max_epoch=1)
    assert calls[-2:] == ["a.stop", "0 leaves"]
