"""What a checkpoint of a run writes, and how long it takes, when 95 % of it is frozen.

A PyTorch model with AdamW (503 MB of state) of which all but 5 % is frozen after its first step.
Each round saves all of it and then, beside the checkpoint before, what has changed: at once, which
compares with the files, and beside the training, which compares while it copies.  The page cache is
warm.  Medians of ROUNDS, and bytes of files that no other checkpoint shares.

    python bench/increments.py
"""

import tempfile
import time
from pathlib import Path

import torch
from torch import nn

import warmstart as ws
from warmstart.formats.tf_bundle.increment import save_increment
from warmstart.formats.tf_bundle.paths import data_files
from warmstart.train.snapshot import Snapshot
from warmstart.train.staging import Staging

ROUNDS, LAYERS, WIDTH = 7, 20, 1448


def new_bytes(prefix):
    sizes = [path.stat() for path in data_files(prefix)]
    return sum(status.st_size for status in sizes if status.st_nlink == 1)


def timed(seconds, name, function):
    began = time.perf_counter()
    result = function()
    seconds.setdefault(name, []).append(time.perf_counter() - began)
    return result


def main():
    module = nn.Sequential(*[nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS)])
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4)
    batch = torch.randn(8, WIDTH)

    def step():
        optimizer.zero_grad()
        module(batch).square().mean().backward()
        optimizer.step()

    step()
    session = ws.session_for(module, optimizer=optimizer)
    ws.freeze(session, [f"{n}.*" for n in range(LAYERS - 1)])
    seconds, written, staging = {}, {}, Staging()
    with tempfile.TemporaryDirectory() as folder:

        def save(name, *args, source=None, **options):
            prefix = Path(folder) / name
            base = save_increment(source or Snapshot(session, {}), prefix, *args, **options)
            written[name.partition("-")[0]] = new_bytes(prefix)
            return base

        at_once = beside = None
        staging.make_room(session.specs)
        for n in range(ROUNDS + 1):
            step()
            timed(seconds, "full", lambda n=n: save(f"full-{n % 2}", None))
            at_once = timed(seconds, "at once", lambda n=n: save(f"at once-{n % 2}", at_once))  # noqa: B023
            taken = timed(seconds, "beside", lambda: staging.take(Snapshot(session, {})))
            beside = timed(
                seconds,
                "its writing",
                lambda n=n: save(f"beside-{n % 2}", beside, source=taken[0], unchanged=taken[1]),  # noqa: B023
            )
    medians = {name: sorted(found[1:])[ROUNDS // 2] for name, found in seconds.items()}
    for name, median in medians.items():
        share = f"  {written[name] / written['full']:7.2%} of its bytes" if name in written else ""
        print(f"{name:12s} {median * 1e3:8.1f} ms  {median / medians['full']:7.2%}{share}")


if __name__ == "__main__":
    main()
