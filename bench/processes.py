"""A divided model: saved by 2 processes, loaded by 4, and the bytes that each of these reads.

A PyTorch model of fully_shard with AdamW (503 MB of state), on gloo.  Beside it PyTorch's own
distributed checkpoints do the same.  Seconds are those of the slowest process, medians of ROUNDS,
with a warm page cache; bytes are those asked for of the data files, beside those of the pieces.

    python bench/processes.py
"""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.fsdp import fully_shard

import warmstart as ws
from warmstart.formats.tf_bundle.shards import Shards

ROUNDS, LAYERS, WIDTH = 3, 20, 1448


def made():
    """Return a divided module and its optimizer, which has taken a step."""
    torch.manual_seed(0)
    module = nn.Sequential(*[nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS)])
    for layer in module:
        fully_shard(layer)
    fully_shard(module)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4)
    module(torch.randn(1, WIDTH)).sum().backward()
    optimizer.step()
    return module, optimizer


def timed(function):
    """Return the seconds that *function* takes once all processes have begun."""
    dist.barrier()
    began = time.perf_counter()
    function()
    dist.barrier()
    return time.perf_counter() - began


def save(folder, module, optimizer):
    session = ws.session_for(module, optimizer=optimizer)

    def peer():
        model, state = get_state_dict(module, optimizer)
        dcp.save({"model": model, "optimizer": state}, checkpoint_id=f"{folder}/dcp")

    return {
        "warmstart": timed(lambda: ws.save_vars(session, f"{folder}/model")),
        "DCP": timed(peer),
    }


def load(folder, module, optimizer):
    session = ws.session_for(module, optimizer=optimizer)
    touched = set()
    bytes_of = Shards.bytes_of

    def counted(shards, entry):
        touched.add((entry.shard, entry.offset, entry.size))
        return bytes_of(shards, entry)

    def peer():
        model, state = get_state_dict(module, optimizer)
        dcp.load({"model": model, "optimizer": state}, checkpoint_id=f"{folder}/dcp")
        set_state_dict(module, optimizer, model_state_dict=model, optim_state_dict=state)

    seconds = {"warmstart": timed(lambda: ws.SmartInit(f"{folder}/model").init(session))}
    Shards.bytes_of = counted
    ws.SmartInit(f"{folder}/model").init(session)
    pieces = session.pieces
    needed = sum(
        math.prod(side.stop - side.start for side in pieces[name][0]) * spec.numpy_dtype.itemsize
        if name in pieces
        else spec.nbytes
        for name, spec in session.specs.items()
    )
    read = sum(size for _, _, size in touched)
    return {**seconds, "DCP": timed(peer), "read": read, "needed": needed}


def process(what, rank, count, folder):
    """Do *what* as one of the processes; print what it measured."""
    warnings.simplefilter("ignore")  # PyTorch's, of what it overwrites
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store-{what}", rank=rank, world_size=count
    )
    module, optimizer = made()
    rounds = [{"save": save, "load": load}[what](folder, module, optimizer) for _ in range(ROUNDS)]
    print(json.dumps({name: sorted(each[name] for each in rounds)[ROUNDS // 2]
                      for name in rounds[0]}))  # fmt: skip
    dist.destroy_process_group()


def together(what, count, folder):
    """Return what *count* processes measured."""
    store = Path(folder) / f"store-{what}"
    store.unlink(missing_ok=True)
    started = [
        subprocess.Popen(
            [sys.executable, __file__, what, str(rank), str(count), folder],
            stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        for rank in range(count)
    ]  # fmt: skip
    return [json.loads(each.communicate()[0].splitlines()[-1]) for each in started]


def main():
    with tempfile.TemporaryDirectory() as folder:
        for what, count in (("save", 2), ("load", 4)):
            found = together(what, count, folder)
            ours, theirs = (max(each[name] for each in found) for name in ("warmstart", "DCP"))
            print(f"{what} by {count}: {ours:.2f} s, DCP {theirs:.2f} s, {ours / theirs:.2f}")
        for rank, each in enumerate(found):
            ratio = each["read"] / each["needed"]
            print(f"process {rank} read {each['read']:,} of {each['needed']:,} bytes: {ratio:.4f}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        process(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
    else:
        main()
