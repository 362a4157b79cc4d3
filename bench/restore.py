"""Restoring 1 GiB in 64 tensors into a live model, beside the framework's own way, from one file.

Each engine in a process of its own; the fastest of five pairs.  The targets: 1.2 of the framework's
time, and at most the largest tensor and 64 MiB of memory beyond what the model has (anonymous
memory; pages of the file, which the system takes back as it likes, are not counted).

python bench/restore.py                  every engine
python bench/restore.py torch tf2        these
KERAS_BACKEND=jax python bench/restore.py keras
"""

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import warmstart as ws

TENSORS, MEBIBYTES, PAIRS, PEAKS = 64, 16, 5, 3
SHAPE = (MEBIBYTES << 10, 256)  # of float32
NAMES = [f"layer{i:02}" for i in range(TENSORS)]
LIMIT = MEBIBYTES + 64


def torch(folder):
    """`load_state_dict` of a mapped .pt, which is its fastest way."""
    import torch

    module = torch.nn.ParameterDict({n: torch.nn.Parameter(torch.rand(SHAPE)) for n in NAMES})
    path = folder / "model.pt"
    torch.save(module.state_dict(), path)
    return path, module, lambda: module.load_state_dict(torch.load(path, mmap=True))


def tf2(folder):
    """`tf.train.Checkpoint.restore` into a tf.Module."""
    import tensorflow as tf

    module = tf.Module()
    for name in NAMES:
        setattr(module, name, tf.Variable(tf.random.uniform(SHAPE)))
    checkpoint = tf.train.Checkpoint(module)
    path = checkpoint.save(str(folder / "model"))
    return path, module, lambda: checkpoint.restore(path)


def tf(folder):
    """`tf.compat.v1.train.Saver.restore` into a graph."""
    import tensorflow as tf

    v1 = tf.compat.v1
    v1.disable_eager_execution()
    with tf.Graph().as_default():
        for name in NAMES:
            v1.get_variable(name, SHAPE, use_resource=True)
        saver, session = v1.train.Saver(), v1.Session()
        session.run(v1.global_variables_initializer())
        path = saver.save(session, str(folder / "model"))
    return path, session, lambda: saver.restore(session, path)


def jax(folder):
    """Orbax' `StandardCheckpointer.restore` and `nnx.update` of a Flax NNX module."""
    import jax
    import orbax.checkpoint as ocp
    from flax import nnx

    module, rngs = nnx.Module(), nnx.Rngs(0)
    for name in NAMES:
        setattr(module, name, nnx.Param(jax.random.normal(rngs.params(), SHAPE)))
    path = folder / "model"
    checkpointer = ocp.StandardCheckpointer()
    checkpointer.save(path, nnx.state(module))
    checkpointer.wait_until_finished()

    def restore():
        shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, nnx.state(module))
        nnx.update(module, checkpointer.restore(path, shapes))
        jax.block_until_ready(nnx.state(module))

    return path, module, restore


def keras(folder):
    """`load_weights` of a Keras model, on the backend that KERAS_BACKEND names."""
    import keras

    start = keras.layers.Input((), dtype="int32")
    tables = [keras.layers.Embedding(*SHAPE, name=name)(start) for name in NAMES]
    model = keras.Model(start, tables)
    path = folder / "model.weights.h5"
    model.save_weights(path)
    return path, model, lambda: model.load_weights(path)


#: engine -> what makes, in a folder, a file, the model that it was saved from, and the framework's
#: own restoring.
ENGINES = {"torch": torch, "tf": tf, "tf2": tf2, "jax": jax, "keras": keras}


def measured(engine):
    """Print the seconds of both ways, and the MiB that ours takes beyond the model."""
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="bench-") as folder:
        path, model, theirs = ENGINES[engine](Path(folder))
        session = ws.session_for(model)
        pairs = [(seconds(theirs), seconds(lambda: init(path, session))) for _ in range(PAIRS)]
        their, our = map(min, zip(*pairs, strict=True))
        highest = max(peak(lambda: init(path, session)) for _ in range(PEAKS))
        print(engine, their, our, highest)


def init(path, session):
    """Restore as a user does."""
    report = ws.SmartInit(path).init(session)
    assert len(report.loaded) == TENSORS, report


def seconds(function):
    """Return how long *function* takes."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def anonymous():
    """Return the anonymous memory of this process, in MiB."""
    text = Path("/proc/self/status").read_text()
    return int(text.partition("RssAnon:")[2].split()[0]) / 1024


def peak(function):
    """Return how many MiB *function* takes at most beyond what there was."""
    before, done = anonymous(), threading.Event()
    highest = [before]

    def watch():
        while not done.wait(0.001):
            highest.append(max(highest.pop(), anonymous()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    function()
    done.set()
    watcher.join()
    return highest[0] - before


def main():
    print(
        "| engine | its own, s | warmstart, s | ratio (1.2) | memory, MiB (80) |\n"
        + "|---" * 5
        + "|"
    )
    for engine in sys.argv[1:] or ENGINES:
        command = [sys.executable, __file__, "--child", engine]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        their, our, mebibytes = map(float, done.stdout.split()[1:])
        print(
            f"| {engine} | {their:.2f} | {our:.2f} | {our / their:.2f} | {mebibytes:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        measured(sys.argv[2])
    else:
        main()
