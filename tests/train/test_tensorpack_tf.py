"""A folder laid out as Tensorpack does, written by TensorFlow's own Saver, is gone on from."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import warmstart as ws

tf = pytest.importorskip("tensorflow").compat.v1

STEPS = 5  # an epoch


def graph() -> Any:
    """Build a graph as Tensorpack's trainers do: a global step that the train op counts up."""
    step = tf.train.get_or_create_global_step()
    x, y = tf.placeholder(tf.float32, [None, 3]), tf.placeholder(tf.float32, [None])
    weights = tf.get_variable("fc/W", [3, 1], initializer=tf.initializers.ones())
    cost = tf.reduce_mean(tf.square(tf.squeeze(x @ weights, 1) - y))
    optimizer = tf.train.MomentumOptimizer(0.1, 0.9)
    return (x, y), cost, optimizer, step


def batches() -> ws.Batches:
    inputs = np.random.default_rng(0).standard_normal((20, 3)).astype("float32")
    return ws.Batches((inputs, inputs[:, 0]), 4, shuffle=False)


def left_by_tensorpack(folder: Path, epochs: int) -> dict[str, np.ndarray]:
    """Train *epochs* epochs without this library; return the values at the end."""
    with tf.Graph().as_default(), tf.Session() as session:
        (x, y), cost, optimizer, step = graph()
        train = optimizer.minimize(cost, global_step=step)
        session.run(tf.global_variables_initializer())
        saver = tf.train.Saver(max_to_keep=10)
        statistics = []
        for epoch in range(1, epochs + 1):
            for inputs, targets in batches():
                session.run(train, {x: inputs, y: targets})
            statistics.append({"cost": 0.5, "epoch_num": epoch, "global_step": epoch * STEPS})
            saver.save(session, str(folder / "model"), global_step=step, write_meta_graph=False)
            (folder / "stats.json").write_text(json.dumps(statistics))
        saver.export_meta_graph(str(folder / "graph-0101-120000.meta"))
        names = [variable.op.name for variable in tf.global_variables()]
        return dict(zip(names, session.run(tf.global_variables()), strict=True))


def gone_on_from(folder: Path, max_epoch: int) -> tuple[list[Any], dict[str, np.ndarray]]:
    """Go on to *max_epoch*; return where it began, and the values at the end."""
    began: list[Any] = []

    def look(trainer: ws.Trainer) -> None:
        session = trainer.session
        began.append((trainer.step, trainer.epoch, int(session.read("global_step"))))
        began.append({name: np.array(session.read(name)) for name in session.specs})

    with tf.Graph().as_default():
        inputs, cost, optimizer, _ = graph()
        ws.logger.set_logger_dir(folder)
        trainer = ws.launch_train(
            ws.AutoResumeTrainConfig(
                model=ws.TFGraph(inputs=inputs, cost=cost, optimizer=optimizer),
                data=batches(),
                callbacks=[ws.Callback(start=look), ws.ModelSaver()],
                max_epoch=max_epoch,
            )
        )
        end = {name: np.array(trainer.session.read(name)) for name in trainer.session.specs}
    return began, end


def test_it_goes_on_to_the_values_of_one_run(tmp_path: Path) -> None:
    for name in ("left", "whole"):
        (tmp_path / name).mkdir()
    left = left_by_tensorpack(tmp_path / "left", 2)
    whole = left_by_tensorpack(tmp_path / "whole", 4)
    assert ws.diagnose(tmp_path / "left").written_by == "Tensorpack"
    (place, values), end = gone_on_from(tmp_path / "left", 4)
    assert place == (2 * STEPS, 3, 2 * STEPS)
    assert {name: array.tobytes() for name, array in left.items()} == {
        name: values[name].tobytes() for name in left
    }
    assert end["global_step"] == 4 * STEPS
    np.testing.assert_allclose(end["fc/W"], whole["fc/W"], rtol=1e-6)
    np.testing.assert_allclose(end["fc/W/Momentum"], whole["fc/W/Momentum"], rtol=1e-5, atol=1e-7)
    assert (tmp_path / "left/model-20.index").exists()
    assert ws.diagnose(tmp_path / "left").exact  # from here on it is a run of this library
