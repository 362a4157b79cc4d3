"""What the processes of the tests do: each function is run in all of them at once."""

import math
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from common import refused, watched
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)
from torch.nn.parallel import DistributedDataParallel

import warmstart as ws
from warmstart.formats.tf_bundle import together
from warmstart.formats.tf_bundle.shards import Shards
from warmstart.formats.tf_bundle.together import save_together

SHAPES = {"0.weight": (7, 5), "0.bias": (7,), "3.weight": (3, 7), "3.bias": (3,)}


def begin(rank: int, count: int, scratch: Path) -> None:
    """Make this process number *rank* of the default group."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=met(rank, scratch), rank=rank, world_size=count)
    torch.manual_seed(rank)


def met(rank: int, scratch: Path) -> dist.TCPStore:
    """Return the store by which the processes find each other, which is in process 0.

    In a file, where a process that was killed left half of what it said, PyTorch reads for ever.
    """
    told = scratch / "port"
    if rank == 0:
        store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        (scratch / "port.new").write_text(str(store.port))
        (scratch / "port.new").replace(told)
        return store
    while not told.exists():
        time.sleep(0.001)
    return dist.TCPStore("127.0.0.1", int(told.read_text()))


def end() -> None:
    """Do nothing: who has returned does not need the others."""


def net(seed: int = 0, device: str = "cpu") -> nn.Sequential:
    """Return a module whose first dimensions no number of processes divides."""
    torch.manual_seed(seed)
    with torch.device(device):
        return nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Dropout(0.2), nn.Linear(7, 3))


def distributed(kind: str, module: nn.Module) -> nn.Module:
    """Return *module* as several processes have it."""
    count = dist.get_world_size()
    if kind == "ddp":
        return DistributedDataParallel(module)
    if kind in ("fsdp", "hsdp"):
        if kind == "hsdp":
            mesh = init_device_mesh("cpu", (2, count // 2), mesh_dim_names=("replicate", "shard"))
        else:
            mesh = init_device_mesh("cpu", (count,))
        for layer in (module[0], module[3]):
            fully_shard(layer, mesh=mesh)
        return fully_shard(module, mesh=mesh)
    if kind == "tensor-parallel":
        mesh = init_device_mesh("cpu", (2, count // 2), mesh_dim_names=("data", "tensor"))
        plan = {
            "0": ColwiseParallel(output_layouts=Replicate()),
            "3": RowwiseParallel(input_layouts=Replicate()),
        }
        parallelize_module(module, mesh["tensor"], plan)
        return fully_shard(module, mesh=mesh["data"])
    assert kind == "plain"
    return module


def optimizer_of(module: nn.Module, name: str = "AdamW") -> torch.optim.Optimizer:
    options = {"SGD": {"momentum": 0.9}}.get(name, {})
    made: torch.optim.Optimizer = getattr(torch.optim, name)(module.parameters(), lr=0.1, **options)
    return made


def train(module: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    """Take some steps on batches that every process draws alike."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        optimizer.zero_grad()
        module(torch.randn(8, 5, generator=generator)).square().sum().backward()
        optimizer.step()


def whole(value: Any) -> Any:
    """Return all of a tensor of several processes: by a gather, which the library never does."""
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def inner(module: nn.Module) -> nn.Module:
    return module.module if isinstance(module, DistributedDataParallel) else module


def everything(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return every variable and slot, as PyTorch itself gathers them."""
    names = {id(p): name for name, p in inner(module).named_parameters()}
    found = {name: whole(value) for name, value in inner(module).state_dict().items()}
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            found[f"{names[id(parameter)]}/{key}"] = whole(value)
    return {name: value.detach().clone() for name, value in found.items()}


def differing(found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Return the names of what is not bit for bit the same."""
    names = [*found, *(name for name in expected if name not in found)]
    return [
        name
        for name in names
        if name not in found
        or name not in expected
        or not np.array_equal(np.asarray(found[name]), np.asarray(expected[name]))
    ]


def save(folder: Path, kind: str, steps: int = 2, optimizer: str = "AdamW") -> dict[str, Any]:
    """Save a module that was trained, and compare the file with what PyTorch gathers."""
    module = distributed(kind, net())
    optim = optimizer_of(module, optimizer)
    train(module, optim, steps)
    session = ws.session_for(module, optimizer=optim)
    if session.pieces:
        ws.save_vars(session, folder / "m")
    else:  # which save_vars takes for the business of any one process
        save_together(session, folder / "m", session.processes)
    expected = everything(module, optim)
    with ws.open(folder / "m") as source:
        found = {name: np.array(source.read(name)) for name in source.specs}
    return {
        "differing": differing(found, expected),
        "roles": {name: spec.role for name, spec in session.specs.items()},
        "pieces": {name: [[(s.start, s.stop) for s in box] for box in boxes]
                   for name, boxes in session.pieces.items()},
    }  # fmt: skip


def load(folder: Path, kind: str, optimizer: str = "AdamW", meta: str = "") -> dict[str, Any]:
    """Start a new module from what was saved; compare it with the file, and count bytes."""
    module = distributed(kind, net(seed=5, device="meta" if meta else "cpu"))
    if meta == "emptied":
        module.to_empty(device="cpu")
    optim = optimizer_of(module, optimizer)
    session = ws.session_for(module, optimizer=optim)
    counted = Counted()
    with counted:
        report = ws.SmartInit(folder / "m").init(session)
    with ws.open(folder / "m") as source:
        expected = {n: np.array(source.read(n)) for n, s in source.specs.items() if s.role != "run"}
    needed = sum(
        sum(math.prod(side.stop - side.start for side in box) for box in session.pieces[name])
        * spec.numpy_dtype.itemsize
        if name in session.pieces
        else spec.nbytes
        for name, spec in session.specs.items()
    )
    return {
        "differing": differing(everything(module, optim), expected),
        "loaded": len(report.plan.matches),
        "variables": len(session.specs),
        "read": counted.nbytes,
        "needed": needed,
    }


def freeze(folder: Path, kind: str) -> dict[str, Any]:
    """Freeze a layer of a module whose optimizer has momentum, and train on."""
    module = net()
    if kind == "ddp":
        module[0].requires_grad_(False)  # as DDP wants to be told beforehand
    module = distributed(kind, module)
    optim = optimizer_of(module)
    session = ws.session_for(module, optimizer=optim)
    train(module, optim, 1)
    before = everything(module, optim)
    frozen = ws.freeze(session, "0.*")
    train(module, optim, 2)
    after = everything(module, optim)
    frozen.verify()
    moved = differing(after, before)
    frozen.thaw()
    refused = ""
    try:
        ws.freeze(session, {"3.weight": np.s_[:1]})
    except ws.FreezeError as error:
        refused = str(error)
    return {"moved": moved, "refused": refused}


def refusals(folder: Path) -> dict[str, str]:
    """Return what is said where a module in several processes is taken for one in this."""
    module = distributed("fsdp", net())
    session = ws.session_for(module)
    wrong = {
        "read": lambda: session.read("0.weight"),
        "slice": lambda: session.read_slice("0.weight", np.s_[:]),
        "npz": lambda: ws.save_vars(session, folder / "m.npz"),
        "piece": lambda: session.assign_pieces([("0.weight", (slice(0, 1),), np.zeros(1))]),
        "mismatch": lambda: ws.SmartInit({"0.bias": np.zeros(3, "float32")}).init(session),
        "overflow": lambda: ws.SmartInit({"0.bias": np.array([0, 0, 0, 0, 0, 0, 1e300])}).init(
            session
        ),
    }
    mesh = init_device_mesh("cpu", (2,))
    odd = nn.Module()
    odd.sums = nn.Parameter(DTensor.from_local(torch.ones(2), mesh, [Partial()]))
    odd.torn = nn.Parameter(
        DTensor.from_local(torch.ones(3), mesh, [Shard(0)], shape=(4,), stride=(1,))
    )
    wrong["odd"] = lambda: dict(ws.session_for(odd).specs)
    own = session.read_slice("0.weight", session.pieces["0.weight"][0]).shape
    return {"own": own, **refused(wrong)}


def start(folder: Path, rules: Any, layout: str | None = None) -> list[str]:
    """Start a sharded module from an npz of other names and axes; return what is other there."""
    module = distributed("fsdp", net(seed=3))
    values = dict(np.load(folder / "whole.npz"))
    ws.SmartInit(folder / "whole.npz", rules=rules).init(module)
    expected = {
        "0.weight": values["k"].T,
        "0.bias": values["two"][:7],
        "3.bias": values["two"][7:],
        "3.weight": values["w"],
    }
    found = everything(module, optimizer_of(module))
    return differing({name: found[name] for name in expected}, expected)


class Counted:
    """Counts the different bytes of data files that are asked for."""

    def __init__(self) -> None:
        self.touched: dict[int, list[tuple[int, int]]] = {}

    def __enter__(self) -> None:
        self._bytes_of = Shards.bytes_of
        touched, bytes_of = self.touched, self._bytes_of

        def counting(shards: Shards, entry: Any) -> memoryview:
            run = entry.offset, entry.offset + entry.size
            if entry.dtype != "string":
                touched.setdefault(entry.shard, []).append(run)
            return bytes_of(shards, entry)

        Shards.bytes_of = counting

    def __exit__(self, *_: object) -> None:
        Shards.bytes_of = self._bytes_of

    @property
    def nbytes(self) -> int:
        total = 0
        for runs in self.touched.values():
            end = 0
            for begin, stop in sorted(runs):
                total += max(0, stop - max(begin, end))
                end = max(end, stop)
        return total


def run(
    folder: Path,
    kind: str = "ddp",
    *,
    max_epoch: int = 2,
    stop_at: int = 0,
    config: str = "AutoResumeTrainConfig",
    every_steps: int | None = 3,
    every_secs: float | None = None,
    saver: Mapping[str, Any] | None = None,
    full_at: int = 0,
    timeout: float = 60.0,
    **more: Any,
) -> dict[str, Any]:
    """Train as `torchrun` would have it, on data that is divided; return all that came of it."""
    rank, count = dist.get_rank(), dist.get_world_size()
    random.seed(rank)
    np.random.seed(rank)
    module = distributed(kind, net())
    torch.manual_seed(rank + 10)  # each process draws its own masks
    optim = optimizer_of(module)
    generator = np.random.default_rng(0)
    inputs = generator.standard_normal((64, 5)).astype(np.float32)
    seen: list[float] = []

    def stop(trainer: ws.Trainer, metrics: Mapping[str, float]) -> None:
        np.random.standard_normal()
        seen.append(metrics["loss"])
        if trainer.step == stop_at and rank == 0:
            trainer.stopping = True  # which one process alone may say at the end of an epoch
        if trainer.step == stop_at and not trainer.at_epoch_end:
            trainer.stopping = True

    started: dict[str, Any] = {}

    def start(trainer: ws.Trainer) -> None:
        started["values"] = {n: v.tolist() for n, v in everything(module, optim).items()}
        started["random"] = [random.getstate()[1][:3], torch.get_rng_state()[:40].tolist()]

    if full_at and rank == 1:
        fill_disk(f"model-{full_at}.")
    ws.logger.set_logger_dir(folder)
    callbacks = [
        ws.Callback(start=start, after_step=stop),
        ws.MinSaver("loss"),
        ws.ModelSaver(every_steps, every_secs, at_end=False, max_to_keep=2, **(saver or {})),
    ]
    trainer = ws.launch_train(
        getattr(ws, config)(
            model=ws.TorchModel(
                module,
                loss=nn.functional.mse_loss,
                optimizer=optim,
                scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optim, 21),
            ),
            data=ws.Batches((inputs, inputs[:, :3]), 8, part=(rank, count)),
            callbacks=callbacks,
            max_epoch=max_epoch,
            process_timeout=timeout,
            **more,
        )
    )
    values = {name: value.tolist() for name, value in everything(module, optim).items()}
    own = {name: t.tolist() for name, t in inner(module).named_buffers()}
    generators = [random.random(), np.random.random(), torch.rand(1).item()]
    return {
        "step": trainer.step,
        "resumed": trainer.resumed_from and trainer.resumed_from.name,
        "values": values,
        "own": own,
        "generators": generators,
        "losses": seen,
        "started": started,
        "metrics": trainer.metrics,
    }


def fill_disk(prefix: str) -> None:
    """Let the disk of this process be full when it writes a data file that begins so."""
    real = together.write_shard

    def write_shard(source: Any, data: Path, *args: Any, **options: Any) -> Any:
        if data.name.startswith(prefix):
            raise ws.SaveError("the disk is full")
        return real(source, data, *args, **options)

    together.write_shard = write_shard


def run_watched(folder: Path, rank: int, point: int, **arguments: Any) -> Any:
    """Train as `run` does; process *rank* is killed at that change of a file."""
    return watched(lambda: run(folder, **arguments), point if dist.get_rank() == rank else -1)
