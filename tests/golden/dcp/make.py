"""Make these checkpoints with PyTorch itself: `python make.py`, four processes on one machine.

ranks        2 ranks: tensors sharded along each axis, unevenly, replicated, on a 1-D mesh; values
pair         2 ranks: one small tensor
mesh         4 ranks, 2 x 2: a tensor sharded along both axes, another along one and replicated
fsdp         2 ranks: a model under FSDP2 with momentum, one step trained, by `get_state_dict`;
             fsdp.safetensors has the same tensors whole
apart        2 ranks that do not speak to one another: metadata of each rank alone

Made with PyTorch 2.13.0+cpu, safetensors 0.8, Python 3.11.
"""

import os
import shutil
import sys
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from safetensors.torch import save_file
from torch import multiprocessing, nn
from torch.distributed.checkpoint.state_dict import get_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

HERE = Path(__file__).parent


def ranks(folder: str) -> None:
    mesh = init_device_mesh("cpu", (2,))
    rows = torch.arange(15.0).reshape(5, 3)
    state = {
        "rows": distribute_tensor(rows, mesh, [Shard(0)]),
        "columns": distribute_tensor(rows.bfloat16(), mesh, [Shard(1)]),
        "replicated": distribute_tensor(rows + 1, mesh, [Replicate()]),
        "short": distribute_tensor(torch.tensor([7, 8]), mesh, [Shard(0)]),
        "one": distribute_tensor(torch.tensor([9.0]), mesh, [Shard(0)]),
        "plain": torch.tensor([True, False]),
        "scalar": torch.tensor(2.5, dtype=torch.float64),
        "empty": torch.zeros(0, 3),
        "transposed": torch.arange(6).reshape(2, 3).T,
        "nested": {"list": [1, torch.ones(2), {"deep": torch.zeros(1)}], "text": "λ"},
        "epoch": 3,
        "betas": (0.9, 0.999),
    }
    dcp.save(state, checkpoint_id=folder)


def pair(folder: str) -> None:
    mesh = init_device_mesh("cpu", (2,))
    dcp.save({"w": distribute_tensor(torch.arange(3), mesh, [Shard(0)])}, checkpoint_id=folder)


def mesh(folder: str) -> None:
    grid = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "model"))
    square = torch.arange(35.0).reshape(5, 7)
    state = {
        "both": distribute_tensor(square, grid, [Shard(0), Shard(1)]),
        "twice": distribute_tensor(square, grid, [Shard(0), Shard(0)]),
        "half": distribute_tensor(square, grid, [Replicate(), Shard(1)]),
    }
    dcp.save(state, checkpoint_id=folder)


def fsdp(folder: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5))
    for layer in model:
        fully_shard(layer)
    fully_shard(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    model(torch.arange(12.0).reshape(4, 3)).sum().backward()
    optimizer.step()
    weights, slots = get_state_dict(model, optimizer)
    state = {"model": weights, "optim": slots}
    dcp.save(state, checkpoint_id=folder)
    whole = {
        f"{part}.{key}": value.full_tensor() if hasattr(value, "full_tensor") else value
        for part, items in {"model": weights, "optim.state": flat(slots["state"])}.items()
        for key, value in items.items()
    }
    if dist.get_rank() == 0:
        save_file(whole, "fsdp.safetensors")


def flat(slots: dict[str, dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {f"{name}.{slot}": value for name, of in slots.items() for slot, value in of.items()}


def apart(folder: str) -> None:
    state = {"w": torch.arange(3.0) + dist.get_rank()}
    writer = dcp.FileSystemWriter(folder)
    dcp.save(state, storage_writer=writer, use_collectives=False)


MAKERS = {
    "ranks": (ranks, 2),
    "pair": (pair, 2),
    "mesh": (mesh, 4),
    "fsdp": (fsdp, 2),
    "apart": (apart, 2),
}


def run(rank: int, name: str, world: int) -> None:
    warnings.simplefilter("ignore")
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29811"}
    dist.init_process_group("gloo", rank=rank, world_size=world)
    torch.set_num_threads(1)
    os.chdir(HERE)  # the metadata keep the path as it was given
    MAKERS[name][0](name)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    for made in sys.argv[1:] or MAKERS:
        shutil.rmtree(HERE / made, ignore_errors=True)
        multiprocessing.spawn(run, (made, MAKERS[made][1]), nprocs=MAKERS[made][1])
