"""What the training loop costs a step, beyond `for batch in data: model.train_step(batch)`.

The model does nothing, so that nothing but the loop is timed.  With the default callbacks
(ModelSaver, JSONWriter, ProgressBar) in epochs of 50,000 steps, saves included, in a pipe and on a
terminal; the fastest of nine pairs.  Lightning beside it, where it is installed
(`pip install pytorch-lightning`), with its progress bar and its checkpoints at the end of an epoch.
"""

import contextlib
import importlib.util
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


def lightning(steps=2_000):
    """Return what Lightning costs a step, in microseconds: the fastest of three runs."""
    import pytorch_lightning as pl
    import torch

    class Nothing(pl.LightningModule):
        automatic_optimization = False

        def training_step(self, batch, index):
            return None

        def configure_optimizers(self):
            return None

    def seconds(steps):
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            trainer = pl.Trainer(max_epochs=1, default_root_dir=folder, accelerator="cpu")
            loader = torch.utils.data.DataLoader(range(steps), batch_size=None)
            began = time.perf_counter()
            trainer.fit(Nothing(), loader)
            return time.perf_counter() - began

    short, long = (min(seconds(n) for _ in range(3)) for n in (steps // 10, steps))
    return (long - short) / (steps - steps // 10) * 1e6


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
    if importlib.util.find_spec("pytorch_lightning"):
        print(f"{'Lightning, a DataLoader':28}{'':8}{lightning():9.2f}")
    else:
        print("Lightning is not installed")


if __name__ == "__main__":
    main()
