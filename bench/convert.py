"""`warmstart.convert` of a 4 GiB bundle to safetensors and back, beside `cp` followed by `sync`.

Each conversion in a process of its own, for its memory: what it had of its own at most (anonymous
memory, mapped files not counted) above what it had before.  The target is 150 MiB and the largest
tensor, at 0.7 or more of the speed of `cp` and `sync`.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import warmstart as ws

TENSORS, MEBIBYTES, PAIRS = 64, 64, 3

#: Run in a new process: convert, while a thread watches the anonymous memory.
CONVERT = """
import sys, threading, time
import numpy
import warmstart as ws

def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))

peak, done = [anonymous()], threading.Event()
def watch():
    while not done.wait(0.002):
        peak.append(max(peak.pop(), anonymous()))
watcher = threading.Thread(target=watch, daemon=True)  # a conversion may fail
watcher.start()
began = time.perf_counter()
ws.convert(sys.argv[1], sys.argv[2])
took = time.perf_counter() - began
done.set()
watcher.join()
print(took, peak[0] / 1024)
"""


def make(prefix):
    """Write a bundle of 4 GiB in tensors of 64 MiB, which are made one by one."""
    base = np.random.default_rng(0).standard_normal(MEBIBYTES << 18, dtype=np.float32)
    ws.save_vars(Repeated(base), prefix)


class Repeated(ws.Source):
    """One array under many names, each time a little different."""

    def __init__(self, base):
        names = [f"layer{i:02}/kernel" for i in range(TENSORS)]
        self._base = base
        self._specs = {n: ws.TensorSpec(n, "float32", base.shape) for n in names}

    @property
    def specs(self):
        return self._specs

    def read(self, name):
        return self._base + float(len(name))


def converted(source, target):
    """Return the seconds and the MiB that converting takes."""
    command = [sys.executable, "-c", CONVERT, source, target]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return tuple(map(float, done.stdout.split()))


def copied(source, target):
    """Return the seconds that `cp` and `sync` take."""
    began = time.perf_counter()
    subprocess.run(["cp", source, target], check=True)
    subprocess.run(["sync"], check=True)
    return time.perf_counter() - began


def pair(folder, source, target):
    """Convert *source* to *target*, and copy its data, each on a disk that has come to rest."""
    data = folder / (source.name if source.suffix else source.name + ".data-00000-of-00001")
    copy = folder / "copy"
    os.sync()
    copying = copied(data, copy)
    copy.unlink()
    for old in folder.glob(f"{target.name}*"):
        old.unlink()
    os.sync()
    return *converted(source, target), copying


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dir", type=Path, default=Path.cwd(), help="where to write 12 GiB")
    folder = Path(tempfile.mkdtemp(dir=parser.parse_args().dir, prefix="bench-"))
    try:
        make(folder / "model")
        there, back = folder / "other.safetensors", folder / "back"
        for source, target in ((folder / "model", there), (there, back)):
            pairs = [pair(folder, source, target) for _ in range(PAIRS)]
            took, memory, copying = map(min, zip(*pairs, strict=True))
            print(
                f"{source.name} to {target.name}: {took:.2f} s, cp and sync {copying:.2f} s, "
                f"speed {copying / took:.2f} (at least 0.7); memory of its own {memory:.0f} MiB "
                f"(at most {150 + MEBIBYTES})"
            )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
