"""`warmstart ls` of 20,000 tensors into a pipe, cold process, beside `python -c "import numpy"`.

Nine pairs after one that is not counted, the fastest of each.  Compiled bytecode may be cached, as
it is where one installs.  The target is a ratio of 1.6.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import warmstart as ws

N_TENSORS, PAIRS = 20_000, 9


def seconds(command, environment):
    """Return how long *command* takes, its output read through a pipe."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    return time.perf_counter() - began


def save(path):
    """Save 20,000 tensors of 4 KiB with names as models have them."""
    value = np.zeros(1024, "f4")
    names = (f"layer{i // 4:04}/attention{i % 4}/kernel" for i in range(N_TENSORS))
    ws.save_vars(dict.fromkeys(names, value), path)


def main():
    listing = [Path(sys.executable).with_name("warmstart"), "ls"]
    numpy = [sys.executable, "-c", "import numpy"]
    with tempfile.TemporaryDirectory() as folder:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = f"{folder}/bytecode"
        save(f"{folder}/model")
        listing.append(f"{folder}/model")
        commands = [listing, numpy]
        pairs = [[seconds(c, environment) for c in commands] for _ in range(PAIRS + 1)]
    ours, numpys = (min(times) for times in zip(*pairs[1:], strict=True))
    print(f"warmstart ls of {N_TENSORS} tensors  {ours * 1000:.0f} ms")
    print(f"python -c 'import numpy'        {numpys * 1000:.0f} ms")
    print(f"ratio {ours / numpys:.2f}, target 1.6")


if __name__ == "__main__":
    main()
