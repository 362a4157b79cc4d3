"""What the processes of JAX in the tests do: each function is run in all of them at once."""

import json
import os
import random
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import refused, watched
from flax import nnx
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import warmstart as ws
from warmstart.formats.tf_bundle.shards import Shards

jax.config.update("jax_compilation_cache_dir", None)  # the changes of files are to be the run's own

#: Devices of all processes together, whatever their number.
DEVICES = 4


def begin(rank: int, count: int, scratch: Path) -> None:
    """Make this process number *rank* of *count*, with its part of the devices."""
    jax.config.update("jax_num_cpu_devices", DEVICES // count)
    if count == 1:
        return
    place = scratch / "port"
    if rank == 0:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        (scratch / "port.new").write_text(str(port))
        os.replace(scratch / "port.new", place)
    while not place.exists():
        time.sleep(0.01)
    jax.distributed.initialize(f"127.0.0.1:{place.read_text()}", count, rank)


def end() -> None:
    """Wait for the others: the service by which they work together is in process 0."""
    if jax.process_count() > 1:
        jax.distributed.shutdown()


def mesh() -> jax.sharding.Mesh:
    return jax.make_mesh((DEVICES,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))


def spread(leaf: Any) -> Any:
    """Return *leaf* divided by its first axis where that can be, else on every device."""
    divided = leaf.ndim > 0 and leaf.shape[0] % DEVICES == 0
    sharding = NamedSharding(mesh(), P("x") if divided else P())
    values = np.asarray(leaf)
    return jax.make_array_from_callback(leaf.shape, sharding, lambda index: values[index])


def params() -> Any:
    keys = jax.random.split(jax.random.key(0), 2)
    made = {
        "one": {"kernel": jax.random.normal(keys[0], (8, 16)), "bias": jnp.zeros(16)},
        "two": {"kernel": jax.random.normal(keys[1], (16, 3)), "bias": jnp.zeros(3)},
    }
    return jax.tree.map(spread, made)


class Net(nnx.Module):
    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.one = nnx.Linear(8, 16, rngs=rngs)
        self.two = nnx.Linear(16, 3, rngs=rngs)

    def __call__(self, inputs: Any) -> Any:
        return self.two(nnx.relu(self.one(inputs)))


def model_of(kind: str) -> ws.JaxModel:
    schedule = optax.cosine_decay_schedule(0.05, 20)
    over = NamedSharding(mesh(), P("x"))
    tx = optax.adamw(schedule)
    if kind == "nnx":
        net = Net()
        nnx.update(net, jax.tree.map(spread, nnx.state(net)))
        return ws.JaxModel(net, loss=loss_of_net, optimizer=tx, batch_sharding=over)
    return ws.JaxModel(
        params(), loss=loss_of_tree, optimizer=tx, key=jax.random.key(3), batch_sharding=over
    )


def loss_of_net(net: Net, batch: Any) -> Any:
    return jnp.mean((net(batch[0]) - batch[1]) ** 2)


def loss_of_tree(tree: Any, batch: Any, key: jax.Array) -> Any:
    hidden = flax.linen.relu(batch[0] @ tree["one"]["kernel"] + tree["one"]["bias"])
    hidden = hidden * jax.random.bernoulli(key, 0.8, hidden.shape)
    return jnp.mean((hidden @ tree["two"]["kernel"] + tree["two"]["bias"] - batch[1]) ** 2)


def everything(session: Any) -> dict[str, Any]:
    """Return every variable, gathered by JAX itself, which the library never does."""
    found = {}
    for name in session.specs:
        leaf = session.find(name).leaf
        if name in session.pieces:
            leaf = multihost_utils.process_allgather(leaf, tiled=True)
        elif jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        found[name] = np.asarray(leaf).tolist()
    return found


def run(
    folder: Path, kind: str = "nnx", *, stop_at: int = 0, timeout: float = 60.0
) -> dict[str, Any]:
    """Train on data that is divided; return all that came of it."""
    rank, count = jax.process_index(), jax.process_count()
    random.seed(rank)
    generator = np.random.default_rng(0)
    inputs = generator.standard_normal((64, 8)).astype(np.float32)
    model, seen = model_of(kind), []
    started: dict[str, Any] = {}

    def start(trainer: ws.Trainer) -> None:
        started.update(everything(trainer.session))

    def stop(trainer: ws.Trainer, metrics: Mapping[str, float]) -> None:
        seen.append(metrics["loss"])
        trainer.stopping = trainer.step == stop_at

    ws.logger.set_logger_dir(folder)
    trainer = ws.launch_train(
        ws.AutoResumeTrainConfig(
            model=model,
            data=ws.Batches((inputs, inputs[:, :3]), 8, part=(rank, count)),
            callbacks=[
                ws.Callback(start=start, after_step=stop),
                ws.MinSaver("loss"),
                ws.ModelSaver(5, at_end=False, max_to_keep=3),
            ],
            max_epoch=2,
            process_timeout=timeout,
        )
    )
    return {
        "step": trainer.step,
        "resumed": trainer.resumed_from and trainer.resumed_from.name,
        "values": everything(model.session),
        "pieces": sorted(model.session.pieces),
        "losses": seen,
        "started": started,
        "generators": [random.random()],
    }


def load(folder: Path, kind: str, checkpoint: str) -> dict[str, Any]:
    """Start a new model from what was saved; return its values, and how many bytes that took."""
    model = model_of(kind)
    counted: dict[tuple[int, int], int] = {}
    bytes_of = Shards.bytes_of

    def counting(shards: Shards, entry: Any) -> memoryview:
        if entry.dtype != "string":
            counted[entry.shard, entry.offset] = entry.size
        return bytes_of(shards, entry)

    Shards.bytes_of = counting
    ws.SmartInit(folder / checkpoint).init(model.session)
    Shards.bytes_of = bytes_of
    session = model.session
    needed = 0
    for name, spec in session.specs.items():
        if spec.role == "run":
            continue
        boxes = session.pieces.get(name)
        sizes = [np.prod([s.stop - s.start for s in box]) for box in boxes or ()]
        needed += int(sum(sizes)) * spec.numpy_dtype.itemsize if boxes else spec.nbytes
    return {"values": everything(session), "read": sum(counted.values()), "needed": needed}


def run_watched(folder: Path, rank: int, point: int, **arguments: Any) -> Any:
    """Train as `run` does; process *rank* is killed at that change of a file."""
    return watched(lambda: run(folder, **arguments), point if jax.process_index() == rank else -1)


def refusals(folder: Path) -> dict[str, str]:
    """Return what is said where an array of several processes is taken for one in this."""
    session = model_of("tree").session
    wrong = {
        "read": lambda: session.read("one/kernel"),
        "slice": lambda: session.read_slice("one/kernel", np.s_[:]),
        "npz": lambda: ws.save_vars(session, folder / "m.npz"),
    }
    own = json.dumps(session.read_slice("one/kernel", session.pieces["one/kernel"][1]).shape)
    return {"own": own, **refused(wrong)}
