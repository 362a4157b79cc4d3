"""Train with everything that a run can depend on, stopped twice and resumed: run.py ENGINE FOLDER.

All happens in one process, since to start a framework takes longer than the rest.  So that it
tells as much as new processes would, every start makes all objects anew and seeds the generators
of the process as a program does.  What is left in the end is compared bit for bit with what a run
leaves that was never stopped, and with one that lost all but its variables, which must differ.
"""

import random
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import warmstart as ws

STEPS = 7  # an epoch
EXAMPLES, BATCH = 28, 4
STOPS = (3, 10)  # a checkpoint is written after each second step

#: What a program gives to launch_train, but for what is the same in all.
Start = Callable[[], dict[str, Any]]


class Stopped(BaseException):
    """A kill, as far as the files can tell."""


def examples() -> tuple[np.ndarray, np.ndarray]:
    """Return inputs (28, 6) and targets (28, 1)."""
    inputs = np.random.default_rng(0).standard_normal((EXAMPLES, 6)).astype(np.float32)
    return inputs, inputs[:, :1] * 2


def train(start: Start, folder: Path, stop: int = 0, lose: bool = False) -> None:
    """Train as a program would that is started in *folder*, until step *stop* if it is given."""
    ws.logger.set_logger_dir(folder)
    arguments = start()
    random.seed(1)  # after whatever was imported on the way, which may draw
    np.random.seed(2)
    callbacks = [*arguments.pop("callbacks", ()), Drawing(), stopping(stop)]
    config = ws.AutoResumeTrainConfig(
        **arguments,
        callbacks=[*callbacks, ws.MinSaver("loss"), ws.ModelSaver(every_steps=2)],
        steps_per_epoch=STEPS,
        max_epoch=2,
    )
    if lose:
        forget(config.model)
    ws.launch_train(config)


class Drawing(ws.Callback):
    """Draws from the generators of Python and NumPy in each step, and keeps the sum."""

    key = "drawing"

    def __init__(self) -> None:
        super().__init__()
        self.sum = np.float32(0)

    def after_step(self, trainer: ws.Trainer, metrics: Mapping[str, float]) -> None:
        self.sum += np.float32(random.random() + np.random.standard_normal())
        trainer.put("drawn", float(self.sum))

    def state(self) -> dict[str, Any]:
        return {"sum": self.sum}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.sum = state["sum"]


def stopping(step: int) -> ws.Callback:
    def stop(trainer: ws.Trainer, metrics: Mapping[str, float]) -> None:
        if trainer.step == step:
            raise Stopped

    return ws.Callback(after_step=stop)


def forget(model: Any) -> None:
    """Let *model* restore nothing but variables, in what is the last run of this process."""
    from warmstart.train import trainer

    trainer.set_random_states = lambda states: None  # type: ignore[attr-defined]
    model.session.load_fitting = lambda state, accepts: None
    if hasattr(model, "load_state"):
        model.load_state = lambda state: None


#: What tf.data says of its place: threads fill its buffers, so that two runs differ in how far they
#: had come, and hand out the same batches all the same, as the variables show.
ITERATOR = "_RUN/data/iterator"


def left_in(folder: Path) -> dict[str, bytes]:
    """Return variables, slots and run state of the last and the best checkpoint, and statistics."""
    found = {"stats.jsonl": (folder / "stats.jsonl").read_bytes()}
    for name in (f"model-{2 * STEPS}", "min-loss"):
        with ws.open(folder / name) as source:
            for tensor in source.specs:
                if tensor == ITERATOR:
                    continue
                found[f"{name}: {tensor}"] = source.read(tensor).tobytes()
            found[f"{name}: run"] = source.metadata["run"].encode()
    return found


def other(a: dict[str, bytes], b: dict[str, bytes]) -> list[str]:
    """Return what differs."""
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))


def prove(start: Start, folder: Path) -> None:
    """Raise unless a stopped run ends with the same bits, and needs its run state for that."""
    train(start, folder / "whole")
    for stop in STOPS:
        with suppress(Stopped):
            train(start, folder / "stopped", stop)
            raise AssertionError(f"the run was not stopped after step {stop}")
    shutil.copytree(folder / "stopped", folder / "lost")
    train(start, folder / "stopped")
    whole = left_in(folder / "whole")
    differing = other(whole, left_in(folder / "stopped"))
    assert not differing, f"not the same bits: {differing[:20]}"
    train(start, folder / "lost", lose=True)
    assert other(whole, left_in(folder / "lost")), "nothing depends on the run state"


if __name__ == "__main__":
    prove(import_module(sys.argv[1]).start, Path(sys.argv[2]))
