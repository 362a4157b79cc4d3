"""Saving and opening bundles, beside one raw file, NumPy, TensorFlow and safetensors.

python bench/io.py                         all but convert, which is a script of its own
python bench/io.py --shape big             1 GiB in 64 tensors
python bench/io.py --shape small           20,000 tensors of 4 KiB
python bench/io.py --dir /mnt/disk         on that disk; else in the folder one stands in

Each pair runs one after the other on a disk that has come to rest; the page cache is warm for what
is read.  Nine pairs, the fastest of each side, since disks and shared machines are bursty.
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

PAIRS = 9
PIECE = 64 << 20  # bytes of one raw write
PAGE = 1024  # float32 values


def seconds(work):
    """Return how long *work* takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def settle(path):
    """Remove the folder *path*, make it anew, and let the disk come to rest."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    os.sync()


def saved(work, path):
    """Return how long *work* takes to save in the folder *path*, empty before and after."""
    settle(path)
    took = seconds(work)
    settle(path)
    return took


def fastest(ours, peer):
    """Return the fastest of nine runs of *ours* and of *peer*, which alternate."""
    pairs = [(ours(), peer()) for _ in range(PAIRS)]
    return [min(side) for side in zip(*pairs, strict=True)]


def report(what, peer, times, target, *, times_faster=False):
    """Print one comparison; *target* is a bound on ours / peer, or on peer / ours."""
    own, others = times
    ratio, kind = (others / own, "faster, at least") if times_faster else (own / others, "at most")
    print(f"{what:38} {own:8.4f} s   {peer:26} {others:8.4f} s   {ratio:5.2f} ({kind} {target})")


def arrays_of(count, length):
    """Return *count* float32 arrays of *length* values, named as a model's."""
    base = np.random.default_rng(0).standard_normal(length, dtype=np.float32)
    return {f"block{i // 10}/layer{i}/kernel": base * (1 + i) for i in range(count)}


def write_raw(path, buffers):
    """Write *buffers* to one new file and sync it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    for buffer in buffers:
        os.write(descriptor, buffer)
    os.fsync(descriptor)
    os.close(descriptor)


def touch(arrays):
    """Read one value of every page of *arrays*."""
    return sum(float(array.reshape(-1)[::PAGE].sum()) for array in arrays)


def touch_bundle(prefix, *, verify):
    """Open the bundle *prefix* and touch every page."""
    with ws.open(prefix, verify=verify) as source:
        return touch(source.read_all().values())


def touch_with_tensorflow(prefix):
    """Read every tensor with TensorFlow and touch every page."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(prefix))
    return touch(reader.get_tensor(name) for name in reader.get_variable_to_shape_map())


def big(folder):
    """Compare 1 GiB in 64 tensors."""
    arrays = arrays_of(64, 4 << 20)
    whole = memoryview(np.concatenate(list(arrays.values()))).cast("B")
    pieces = [whole[at : at + PIECE] for at in range(0, len(whole), PIECE)]
    scratch, prefix, raw = folder / "scratch", folder / "big", folder / "raw"
    times = fastest(
        lambda: saved(lambda: ws.save_vars(arrays, scratch / "m"), scratch),
        lambda: saved(lambda: write_raw(scratch / "raw", pieces), scratch),
    )
    report("save 1 GiB", "one raw file", times, 1.0)
    ws.save_vars(arrays, prefix)
    write_raw(raw, pieces)
    times = fastest(
        lambda: seconds(lambda: touch_bundle(prefix, verify=False)),
        lambda: seconds(lambda: touch([np.memmap(raw, np.float32, "r")])),
    )
    report("open 1 GiB, touch, verify=False", "numpy.memmap", times, 1.5)
    times = fastest(
        lambda: seconds(lambda: touch_bundle(prefix, verify=True)),
        lambda: seconds(lambda: touch_with_tensorflow(prefix)),
    )
    report("open 1 GiB, touch, verified", "TensorFlow's reader", times, 2, times_faster=True)


def small(folder):
    """Compare 20,000 tensors of 4 KiB."""
    from safetensors.numpy import load_file, save_file

    arrays = arrays_of(20_000, PAGE)
    scratch, prefix, other = folder / "scratch", folder / "small", folder / "small.safetensors"
    times = fastest(
        lambda: saved(lambda: ws.save_vars(arrays, scratch / "m"), scratch),
        lambda: saved(lambda: write_raw(scratch / "raw", arrays.values()), scratch),
    )
    report("save 20,000 tensors of 4 KiB", "20,000 writes, one fsync", times, 1.2)
    ws.save_vars(arrays, prefix)
    save_file(arrays, other)

    def read_all():
        with ws.open(prefix) as source:
            source.read_all()

    times = fastest(lambda: seconds(read_all), lambda: seconds(lambda: load_file(other)))
    report("read them all, verified", "safetensors, its own file", times, 3, times_faster=True)
    times = fastest(
        lambda: seconds(lambda: ws.load_vars(prefix)), lambda: seconds(lambda: load_file(other))
    )
    report("load_vars", "safetensors, its own file", times, 3, times_faster=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shape", choices=["big", "small", "convert"])
    parser.add_argument("--dir", type=Path, default=Path.cwd(), help="where to write")
    choice = parser.parse_args()
    if choice.shape == "convert":
        script = Path(__file__).with_name("convert.py")
        raise SystemExit(subprocess.call([sys.executable, script, "--dir", choice.dir]))
    shapes = {"big": big, "small": small}
    for name in [choice.shape] if choice.shape else shapes:
        with tempfile.TemporaryDirectory(dir=choice.dir, prefix="bench-") as folder:
            shapes[name](Path(folder))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
