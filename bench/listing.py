"""`warmstart ls` into a pipe, cold process, beside `python -c "import numpy"`.

Of 20,000 tensors, which may take 1.6 times as long, and of 200,000, which may take 2 s.  Nine pairs
after one that is not counted, the fastest of each.  Compiled bytecode may be cached, as it is where
one installs.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import warmstart as ws

PAIRS = 9


def seconds(command, environment):
    """Return how long *command* takes, its output read through a pipe."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    return time.perf_counter() - began


def save(path, count):
    """Save *count* tensors with names as models have them."""
    value = np.zeros(16, "f4")
    names = (f"layer{i // 4:05}/attention{i % 4}/kernel" for i in range(count))
    ws.save_vars(dict.fromkeys(names, value), path)


def main():
    command = [Path(sys.executable).with_name("warmstart"), "ls"]
    with tempfile.TemporaryDirectory() as folder:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = f"{folder}/bytecode"
        save(f"{folder}/small", 20_000)
        save(f"{folder}/large", 200_000)
        commands = [
            [*command, f"{folder}/small"],
            [*command, f"{folder}/large"],
            [sys.executable, "-c", "import numpy"],
        ]
        rounds = [[seconds(c, environment) for c in commands] for _ in range(PAIRS + 1)]
    small, large, numpys = (min(times) for times in zip(*rounds[1:], strict=True))
    print(f"warmstart ls of 20,000 tensors  {small * 1000:.0f} ms")
    print(f"python -c 'import numpy'        {numpys * 1000:.0f} ms")
    print(f"ratio {small / numpys:.2f}, target 1.6")
    print(f"warmstart ls of 200,000 tensors {large:.2f} s, target 2 s")


if __name__ == "__main__":
    main()
