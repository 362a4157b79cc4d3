"""A bundle of 1,000,000 tensors with roles: write its index, open it and find one name.

Each look-up in a process of its own, with the page cache warm, the fastest of five; TensorFlow's
reader beside it, which is not charged for importing TensorFlow.  Processor seconds, and on the
clock, which says little on a shared machine.  The targets: 10 s for the index, 0.5 s for a name.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from warmstart import save_vars
from warmstart.formats.tf_bundle import commit
from warmstart.source import DictSource

N, RUNS = 1_000_000, 5
NAME = "model/layer07777/expert42/kernel"

#: What is measured of a process, from `began` on: of the bundle `path` the tensor `name`.
OURS = """
began = times()
import warmstart as ws
with ws.open(path) as source:
    assert name in source.specs
    print(source.specs[name], source.read(name))
"""
SHOW = """
began = times()
from warmstart.cli import main
sys.argv[:] = ["warmstart", "show", path, name]
try:
    main()
except SystemExit:
    pass
"""
THEIRS = """
import tensorflow as tf
began = times()
reader = tf.train.load_checkpoint(path)
assert reader.has_tensor(name)
print(reader.get_tensor(name))
"""
MEASURED = """
import sys, time
path, name = sys.argv[1:]
def times(): return time.process_time(), time.perf_counter()
{}
print(*(after - before for before, after in zip(began, times())))
"""


def best(code, prefix):
    """Return the fewest seconds that *code* takes in a new process, of the processor and on the
    clock."""
    command = [sys.executable, "-c", MEASURED.format(code), prefix, NAME]
    runs = [
        subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(RUNS)
    ]
    lasts = [map(float, run.stdout.splitlines()[-1].split()) for run in runs]
    return [min(times) for times in zip(*lasts, strict=True)]


def measured(function):
    """Return what *function* returns, and the seconds it takes: processor and clock."""
    began = time.process_time(), time.perf_counter()
    result = function()
    return result, [time.process_time() - began[0], time.perf_counter() - began[1]]


def report(what, seconds, target=""):
    """Print one line."""
    print(
        f"{what:44} {seconds[0]:7.2f} s   {seconds[1]:7.2f} s on the clock   {target}", flush=True
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dir", type=Path, default=Path.cwd(), help="where to write 200 MB")
    zero = np.zeros(1, "f4")
    names = [f"model/layer{i // 100:05}/expert{i % 100:02}/kernel" for i in range(N)]
    roles = {name: "slot" if i % 3 else "trainable" for i, name in enumerate(names)}
    source = DictSource(dict.fromkeys(names, zero), roles=roles)
    with tempfile.TemporaryDirectory(dir=parser.parse_args().dir, prefix="bench-") as folder:
        prefix = Path(folder) / "million"
        _, whole = measured(lambda: save_vars(source, prefix))
        entries = entries_of(prefix)
        _, index = measured(lambda: commit.commit(prefix, 1, entries))
        report("save it all", whole)
        report("write the index, fsync and rename", index, "(10)")
        report("open, find, read one: imports and all", best(OURS, prefix), "(0.5)")
        report("warmstart show of one name", best(SHOW, prefix))
        report("TensorFlow's reader, once it is imported", best(THEIRS, prefix))


def entries_of(prefix):
    """Return the encoded entries of the bundle *prefix* by key."""
    from warmstart.binary.table import Table

    table = Table(prefix.with_name(prefix.name + ".index").read_bytes(), verify=False)
    pairs = ((key, value) for part in table.blocks() for key, value in zip(*part, strict=True))
    return {key: value for key, value in pairs if key}


if __name__ == "__main__":
    main()
