"""Runs of every engine, stopped at the points of their saves: engines.py ENGINE [STRIDE [WAY]].

A run has AdamW, a schedule, `MinSaver`, shuffled data and three saves; it is stopped at every
STRIDE-th change of a file, and started again by the same command.  Prints how many points there
are, how many were tried, and of which the run was not gone on with to the same bits, or not from
the last save that was complete.
"""

import contextlib
import io
import json
import os
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import warmstart as ws
from warmstart.testing.crashes import Fault, Trial, record, trials
from warmstart.train.newest import checkpoint_to_resume

STEPS = 21  # of a whole run, 7 an epoch

os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)  # the changes of files are to be the run's own


def torch_model() -> Any:
    import torch
    from torch import nn

    torch.manual_seed(0)
    torch.set_num_threads(1)
    module = nn.Sequential(
        nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 1)
    )
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    loss = nn.functional.mse_loss
    return ws.TorchModel(module, loss=loss, optimizer=optimizer, scheduler=schedule)


def jax_model() -> Any:
    import jax.numpy as jnp
    import optax
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.inner = nnx.Linear(8, 16, rngs=rngs)
            self.drop = nnx.Dropout(0.5, rngs=rngs)
            self.out = nnx.Linear(16, 1, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            return self.out(self.drop(nnx.relu(self.inner(x))))

    def loss(module: Any, batch: Any) -> Any:
        inputs, targets = batch
        return jnp.mean((module(inputs) - targets) ** 2)

    rate = optax.cosine_decay_schedule(0.01, STEPS)
    return ws.JaxModel(Net(nnx.Rngs(0)), loss=loss, optimizer=optax.adamw(rate))


def keras_model() -> Any:
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((8,)), layers.Dense(16, "relu"), layers.BatchNormalization(),
         layers.Dropout(0.5, seed=3), layers.Dense(1)]
    )  # fmt: skip
    rate = keras.optimizers.schedules.CosineDecay(0.01, STEPS)
    model.compile(optimizer=keras.optimizers.AdamW(rate), loss="mse")
    return ws.KerasModel(model)


def tf2_model() -> Any:
    sys.path.append(str(Path(__file__).parents[1] / "train"))
    import run_tf2
    import tensorflow as tf

    rate = tf.keras.optimizers.schedules.CosineDecay(0.01, STEPS)
    optimizer = tf.keras.optimizers.AdamW(rate, weight_decay=0.1)
    return ws.TFModule(
        run_tf2.Net(), loss=lambda out, y: tf.reduce_mean((out - y) ** 2), optimizer=optimizer
    )


def tf_graph_model() -> Any:
    sys.path.append(str(Path(__file__).parents[1] / "train"))
    import run_tf
    import tensorflow as tf

    v1 = tf.compat.v1
    v1.disable_eager_execution()
    v1.reset_default_graph()
    placeholders, cost = run_tf.build()
    step = v1.train.get_or_create_global_step()
    rate = v1.train.cosine_decay(0.01, step, STEPS)
    config = v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    return ws.TFGraph(
        inputs=placeholders,
        cost=cost,
        optimizer=v1.train.AdamOptimizer(rate),
        session=v1.Session(config=config),
    )


MODELS = {
    "torch": torch_model,
    "jax": jax_model,
    "keras": keras_model,
    "tf2": tf2_model,
    "tf_graph": tf_graph_model,
}


def run(engine: str, folder: Path, way: str) -> None:
    """Train in *folder* as the same command would, again and again."""
    random.seed(0)
    np.random.seed(0)
    inputs = np.random.default_rng(0).standard_normal((100, 8)).astype(np.float32)
    ws.logger.set_logger_dir(folder)
    saver = ws.ModelSaver(max_to_keep=2, asynchronous=way == "beside")
    with contextlib.redirect_stderr(io.StringIO()):
        ws.launch_train(
            ws.AutoResumeTrainConfig(
                model=MODELS[engine](),
                data=ws.Batches((inputs, inputs[:, :1] * 2), 16),
                callbacks=[ws.MinSaver("loss"), saver],
                max_epoch=3,
            )
        )


def ended(folder: Path) -> dict[str, Any]:
    """Return how the run in *folder* ended: the last checkpoint, the best one, statistics."""
    found: dict[str, Any] = {"stats": (folder / "stats.jsonl").read_bytes()}
    for name in (f"model-{STEPS}", "min-loss"):
        with ws.open(folder / name) as source:
            values = {n: a.tobytes() for n, a in source.read_all().items()}
            found[name] = values, source.metadata["run"]
    return found


def matrix(engine: str, stride: int, way: str, scratch: Path) -> dict[str, Any]:
    """Return how many points there are and were tried, and the faults of those that fail."""
    MODELS[engine]()  # to import an engine may draw random numbers
    for name in ("before", "whole"):
        (scratch / name).mkdir()
    points = record(lambda: run(engine, scratch / "whole", way))
    whole = ended(scratch / "whole")

    def gone_on(folder: Path) -> tuple[str, bool]:
        found = checkpoint_to_resume(folder)
        run(engine, folder, way)
        return found.name if found else "model-0", ended(folder) == whole

    stopped = trials(
        scratch / "before", lambda folder: run(engine, folder, way), gone_on,
        Fault.CUT_OFF, scratch / "trial", stride=stride, points=points,
    )  # fmt: skip
    done = list(stopped)
    failed = [f"{t.point}: {t.found}" for t in done if t.found != (complete(t), True)]
    return {"points": len(points), "tried": len(done), "failed": failed}


def complete(trial: Trial) -> str:
    """Return the last checkpoint whose save was complete when the run was stopped."""
    steps = [int(n[6:-6]) for n in trial.files if n.startswith("model-") and n.endswith(".index")]
    return f"model-{max(steps, default=0)}"


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    ENGINE, STRIDE, WAY = (*sys.argv[1:], *("1", "at once")[len(sys.argv) - 2 :])
    with tempfile.TemporaryDirectory() as temporary:
        print(json.dumps(matrix(ENGINE, int(STRIDE), WAY, Path(temporary))))
