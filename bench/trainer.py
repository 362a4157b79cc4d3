"""What the training loop costs a step, beyond `for batch in data: model.train_step(batch)`.

The model does nothing, so that nothing but the loop is timed.  With the default callbacks
(ModelSaver, JSONWriter, ProgressBar) in epochs of 50,000 steps, saves included, in a pipe and on a
terminal; the fastest of nine pairs.
"""

import io
import tempfile
import time

from warmstart import Batches, ModelSaver, ProgressBar, Trainer
from warmstart.testing.toy import ToyModel
from warmstart.train import logger

EPOCHS, STEPS, PAIRS = 2, 50_000, 9
TARGET = 10.0  # microseconds


class Idle(ToyModel):
    """A model whose step is nothing."""

    metrics = {"loss": 0.5}

    def train_step(self, batch):
        return self.metrics


class Screen(io.StringIO):
    """A terminal that nobody looks at."""

    def isatty(self):
        return True


def bare(model, data):
    """Return the seconds of the loop one would write."""
    began = time.perf_counter()
    for _ in range(EPOCHS):
        for batch in data:
            model.train_step(batch)
    return time.perf_counter() - began


def trained(model, data, file):
    """Return the seconds of the trainer, from before the start to after the end."""
    callbacks = [ModelSaver(), ProgressBar(file=file)]
    began = time.perf_counter()
    Trainer(model).train(data=data, callbacks=callbacks, max_epoch=EPOCHS, accept=("data",))
    return time.perf_counter() - began


def microseconds(data, file_kind):
    """Return the cost a step in the fastest of the pairs, bare and with the trainer."""
    pairs = []
    for _ in range(PAIRS):
        with tempfile.TemporaryDirectory() as folder:
            logger.set_logger_dir(folder)
            pairs.append((bare(Idle(), data), trained(Idle(), data, file_kind())))
    return [min(times) / EPOCHS / STEPS * 1e6 for times in zip(*pairs, strict=True)]


def main():
    import numpy as np

    cases = {
        "a list, in a pipe": ([None] * STEPS, io.StringIO),
        "a list, on a terminal": ([None] * STEPS, Screen),
        "Batches of 32, in a pipe": (Batches(np.zeros((STEPS * 32, 1)), 32), io.StringIO),
    }
    print(f"{'microseconds a step':28}{'bare':>8}{'trainer':>9}{'more':>8}   target {TARGET:.0f}")
    for name, (data, file_kind) in cases.items():
        loop, trainer = microseconds(data, file_kind)
        print(f"{name:28}{loop:8.2f}{trainer:9.2f}{trainer - loop:8.2f}")


if __name__ == "__main__":
    main()
