"""How long a save beside the training blocks it, and how much it slows the steps.

A PyTorch model of 42 million parameters with AdamW (503 MB of state), steps of one thread; 40 steps
in our loop, a save every 10.  Beside `copy`, one copy of the state into warm memory, which is the
limit; `none`, no save at all; torch.save, PyTorch's own asynchronous checkpoints and, where it is
installed, moonclip.  Each run is a process of its own, in turn; medians of RUNS.

    python bench/stall.py [PEER ...]
"""

import copy
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

RUNS, STEPS, EVERY = 3, 40, 10
PEERS = ("none", "copy", "ours", "ours, at once", "torch.save", "dcp.async_save", "moonclip")


def tensors(model, optimizer):
    """Return every tensor of the state."""
    slots = (t for s in optimizer.state.values() for t in s.values() if hasattr(t, "clone"))
    return [*model.state_dict().values(), *slots]


def copying(model, optimizer, folder):
    """Copy the state into memory that is used again."""
    rooms = []

    def save(step):
        state = tensors(model, optimizer)
        if not rooms:
            rooms.extend(copy.deepcopy([t.detach() for t in state]))
        for room, tensor in zip(rooms, state, strict=True):
            room.copy_(tensor.detach())

    return save, lambda: None


def torch_save(model, optimizer, folder):
    import torch

    def save(step):
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(state, f"{folder}/{step}.pt")

    return save, lambda: None


def dcp_async(model, optimizer, folder):
    import torch.distributed as dist
    import torch.distributed.checkpoint as dcp

    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29511")
    dist.init_process_group("gloo", rank=0, world_size=1)
    going = []

    def save(step):
        done()
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        going.append(dcp.async_save(state, checkpoint_id=f"{folder}/{step}"))

    def done():
        while going:
            going.pop().result()

    return save, done


def moonclip(model, optimizer, folder):
    from moonclip import CheckpointManager

    manager = CheckpointManager(folder)
    return lambda step: manager.save(step=step, model=model, optimizer=optimizer), manager.flush


SAVES = {
    "none": lambda *_: (lambda step: None, lambda: None),
    "copy": copying,
    "torch.save": torch_save,
    "dcp.async_save": dcp_async,
    "moonclip": moonclip,
}


def measure(peer, folder):
    """Print the seconds that training was blocked by each save, and of the whole loop."""
    import torch
    from torch import nn

    import warmstart as ws

    torch.manual_seed(0)
    torch.set_num_threads(1)
    module = nn.Sequential(*[m for _ in range(10) for m in (nn.Linear(2048, 2048), nn.ReLU())])
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4)
    model = ws.TorchModel(module, loss=lambda out, _: out.square().mean(), optimizer=optimizer)
    batch = torch.randn(256, 2048), torch.zeros(1)
    blocked, times = [], []

    class Timed(ws.ModelSaver):
        def after_step(self, trainer, metrics):
            began = time.perf_counter()
            super().after_step(trainer, metrics)
            noted(trainer, began)

    def noted(trainer, began):
        if trainer.step >= 2 and trainer.step % EVERY == 2:
            blocked.append(time.perf_counter() - began)
        if trainer.step == 2:
            done()
        if trainer.step in (2, 2 + STEPS):
            times.append(time.perf_counter())

    if peer.startswith("ours"):
        saver = Timed(every_secs=1e9, at_end=False, asynchronous=peer == "ours")
        saver._is_due = lambda trainer: trainer.step % EVERY == 2

        def done():
            saver._saving.settle()

    else:
        save, done = SAVES[peer](module, optimizer, folder)

        def after_step(trainer, metrics):
            began = time.perf_counter()
            if trainer.step % EVERY == 2:
                save(trainer.step)
            noted(trainer, began)

        saver = ws.Callback(after_step=after_step)
    ws.logger.set_logger_dir(folder, action="k")
    ws.Trainer(model).train(
        data=[batch], callbacks=[saver], steps_per_epoch=STEPS + 3, max_epoch=1, accept=["data"]
    )
    done()
    blocked = sorted(blocked[1:])
    result = {
        "blocked": blocked[len(blocked) // 2],
        "worst": blocked[-1],
        "loop": times[1] - times[0],
        "in all": time.perf_counter() - times[0],
    }
    print("RESULT", json.dumps(result), flush=True)
    os._exit(0)


def run(peer):
    """Return what a process of its own measured."""
    folder = tempfile.mkdtemp()
    try:
        command = [sys.executable, __file__, "--measure", peer, folder]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
        lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
        if not lines:
            raise SystemExit(f"{peer} failed:\n{done.stderr[-2000:]}")
        return json.loads(lines[0][7:])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def median(values):
    return sorted(values)[len(values) // 2]


def main(peers):
    rows = {peer: [] for peer in peers}
    for _ in range(RUNS):
        for peer in peers:
            rows[peer].append(run(peer))
    found = {p: {k: median([row[k] for row in all_]) for k in all_[0]} for p, all_ in rows.items()}
    copied = found.get("copy", {}).get("blocked")
    base = found.get("none", {}).get("loop")
    for peer, row in found.items():
        text = "  ".join(f"{key} {value:7.3f} s" for key, value in row.items())
        if copied:
            text += f"  blocked / copy {row['blocked'] / copied:6.2f}"
        if base:
            text += f"  loop / none {row['loop'] / base:.3f}"
        print(f"{peer:15s} {text}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(*sys.argv[2:])
    there = [p for p in PEERS if p != "moonclip" or importlib.util.find_spec("moonclip")]
    main(sys.argv[1:] or there)
