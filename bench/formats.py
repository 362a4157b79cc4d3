"""Every format beside its own library: list in a cold process, read everything, write everything.

python bench/formats.py                    all formats
python bench/formats.py torch npz          these
python bench/formats.py --dir /mnt/disk    on that disk; else in the folder one stands in

256 MiB in 64 tensors of float32.  Both sides alternate, the fastest of each counts; the page cache
is warm.  Reading ends when a value of every page has been looked at, with our checksums verified.
Writing ends with an fsync on both sides: where the library makes none, one is added.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import warmstart as ws

PAIRS = 5
COUNT, LENGTH = 64, 1 << 20
PAGE = 1024  # float32 values


@dataclass
class Peer:
    """A format's own library: functions of a path (and arrays), and a script that lists argv[1]."""

    library: str
    write: Callable | None  # None: measured without writing
    read: Callable
    listing: str
    name: str = "m"  # of the checkpoint in its folder
    target: float = 1.0  # how many times faster listing is to be


def seconds(work):
    """Return how long *work* takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def arrays_of():
    """Return the arrays by name; no "." or "/" at odd places, so that every format holds them."""
    base = np.random.default_rng(0).standard_normal(LENGTH, dtype=np.float32).reshape(1024, -1)
    return {f"layer{i}/kernel": base * (1 + i) for i in range(COUNT)}


def touch(arrays):
    """Read one value of every page of *arrays*."""
    return sum(float(np.asarray(array).reshape(-1)[::PAGE].sum()) for array in arrays)


def synced(path):
    """Hand everything at *path*, a file, a folder or a bundle's prefix, to the disk."""
    for file in [path, *path.parent.rglob("*")]:
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)


# --- the libraries ---------------------------------------------------------------------------


def tensorflow():
    import tensorflow as tf

    def write(path, arrays):
        names = list(arrays)
        tf.raw_ops.SaveV2(
            prefix=str(path), tensor_names=names, shape_and_slices=[""] * len(names),
            tensors=[tf.constant(array) for array in arrays.values()],
        )  # fmt: skip

    def read(path):
        reader = tf.train.load_checkpoint(str(path))
        return touch(reader.get_tensor(n) for n in reader.get_variable_to_shape_map())

    listing = "import tensorflow as tf; print(tf.train.list_variables(argv[1]))"
    return Peer("TensorFlow", write, read, listing, target=10)


def tensorflow_v1():
    import tensorflow as tf

    def write(path, arrays):
        names = list(arrays)
        tf.raw_ops.Save(filename=str(path), tensor_names=names, data=list(arrays.values()))

    return Peer("TensorFlow", write, tensorflow().read, tensorflow().listing, target=10)


def safetensors():
    from safetensors.numpy import load_file, save_file

    listing = (
        "from safetensors import safe_open\n"
        "with safe_open(argv[1], 'np') as f:\n"
        "    print([(n, f.get_slice(n).get_shape()) for n in f.keys()])"
    )
    return Peer(
        "safetensors", lambda path, arrays: save_file(arrays, path),
        lambda path: touch(load_file(path).values()), listing, "m.safetensors",
    )  # fmt: skip


def npz():
    def read(path):
        with np.load(path) as found:
            return touch(found[name] for name in found)

    listing = (
        "import zipfile; from numpy.lib import format as f\n"
        "with zipfile.ZipFile(argv[1]) as z:\n"
        "    for n in z.namelist():\n"
        "        with z.open(n) as m:\n"
        "            f.read_magic(m); print(n, f.read_array_header_1_0(m))"
    )
    return Peer(
        "NumPy", lambda path, arrays: np.savez(path, **arrays), read, listing, "m.npz"
    )  # fmt: skip


def torch():
    import torch as library

    def write(path, arrays):
        library.save({n: library.from_numpy(a) for n, a in arrays.items()}, path)

    def read(path):
        found = library.load(path, weights_only=True)
        return touch(tensor.numpy() for tensor in found.values())

    listing = (
        "import torch; m = torch.load(argv[1], weights_only=True, mmap=True)\n"
        "print([(n, t.shape, t.dtype) for n, t in m.items()])"
    )
    return Peer("PyTorch", write, read, listing, "m.pt", target=10)


def torch_stream():
    """The form before PyTorch 1.6, which this library only reads."""
    import torch as library

    def write(path, arrays):
        tensors = {n: library.from_numpy(a) for n, a in arrays.items()}
        library.save(tensors, path, _use_new_zipfile_serialization=False)

    def read(path):
        found = library.load(path, weights_only=True)
        return touch(tensor.numpy() for tensor in found.values())

    listing = torch().listing.replace(", mmap=True", "")
    return Peer("PyTorch", write, read, listing, "old.pt", target=10)


def dcp():
    import torch as library
    import torch.distributed.checkpoint as library_dcp

    def write(path, arrays):
        tensors = {n: library.from_numpy(a) for n, a in arrays.items()}
        library_dcp.save(tensors, checkpoint_id=path, no_dist=True)

    def read(path):
        state = {f"layer{i}/kernel": library.empty(1024, LENGTH // 1024) for i in range(COUNT)}
        library_dcp.load(state, checkpoint_id=path, no_dist=True)
        return touch(tensor.numpy() for tensor in state.values())

    listing = (
        "from torch.distributed.checkpoint import FileSystemReader as R\n"
        "print(R(argv[1]).read_metadata().state_dict_metadata)"
    )
    return Peer("PyTorch", write, read, listing, "m.dcp", target=10)


def hdf5(name, listing_library):
    """HDF5 files, with h5py; listing is beside h5py, or Keras itself."""
    import h5py

    def write(path, arrays):
        with h5py.File(path, "w") as file:
            for n, array in arrays.items():
                file[n] = array

    def read(path):
        found = []
        with h5py.File(path) as file:
            file.visititems(
                lambda n, item: found.append(item[()]) if isinstance(item, h5py.Dataset) else None
            )
        return touch(found)

    lines = (
        "import h5py\n"
        "def show(n, item):\n"
        "    if isinstance(item, h5py.Dataset): print(n, item.shape, item.dtype)\n"
        "with h5py.File(argv[1]) as f: f.visititems(show)"
    )
    if listing_library == "keras":
        lines = "import keras\n" + lines
    return Peer("h5py", write, read, lines, name, target=10 if listing_library == "keras" else 1)


def msgpack():
    from flax import serialization

    def write(path, arrays):
        tree = {name.split("/")[0]: {"kernel": array} for name, array in arrays.items()}
        path.write_bytes(serialization.msgpack_serialize(tree))

    def read(path):
        tree = serialization.msgpack_restore(path.read_bytes())
        return touch(layer["kernel"] for layer in tree.values())

    listing = (
        "from pathlib import Path; from flax import serialization as s\n"
        "m = s.msgpack_restore(Path(argv[1]).read_bytes())\n"
        "print({n: {k: a.shape for k, a in layer.items()} for n, layer in m.items()})"
    )
    return Peer("Flax", write, read, listing, "m.msgpack", target=10)


def orbax():
    import jax
    import orbax.checkpoint as library

    jax.config.update("jax_platforms", "cpu")
    checkpointer = library.StandardCheckpointer()

    def write(path, arrays):
        tree = {name.split("/")[0]: {"kernel": array} for name, array in arrays.items()}
        checkpointer.save(path.absolute(), tree)
        checkpointer.wait_until_finished()

    def read(path):
        tree = checkpointer.restore(path.absolute())
        return touch(layer["kernel"] for layer in tree.values())

    listing = (
        "import os; import orbax.checkpoint as o\n"
        "print(o.StandardCheckpointer().metadata(os.path.abspath(argv[1])))"
    )
    return Peer("Orbax", write, read, listing, "m.orbax", target=10)


def gguf():
    import gguf as library

    def write(path, arrays):
        writer = library.GGUFWriter(path, "none")
        for n, array in arrays.items():
            writer.add_tensor(n, array)
        for step in ("header", "kv_data", "tensors"):
            getattr(writer, f"write_{step}_to_file")()
        writer.close()

    def read(path):
        return touch(tensor.data for tensor in library.GGUFReader(path).tensors)

    listing = "import gguf; print([(t.name, t.shape) for t in gguf.GGUFReader(argv[1]).tensors])"
    return Peer("gguf", write, read, listing, "m.gguf")


def onnx():
    import onnx as library
    from onnx import numpy_helper

    def write(path, arrays):
        tensors = [numpy_helper.from_array(array, n) for n, array in arrays.items()]
        graph = library.helper.make_graph([], "g", [], [], tensors)
        library.save(library.helper.make_model(graph), path)

    def read(path):
        return touch(map(numpy_helper.to_array, library.load(path).graph.initializer))

    listing = "import onnx; print([(t.name, t.dims) for t in onnx.load(argv[1]).graph.initializer])"
    return Peer("onnx", write, read, listing, "m.onnx")


PEERS = {
    "tf-bundle": tensorflow,
    "tf-v1": tensorflow_v1,
    "safetensors": safetensors,
    "npz": npz,
    "torch": torch,
    "torch (before 1.6)": torch_stream,
    "dcp": dcp,
    "keras": lambda: hdf5("m.weights.h5", "keras"),
    "keras-h5": lambda: hdf5("m.h5", "h5py"),
    "msgpack": msgpack,
    "orbax": orbax,
    "gguf": gguf,
    "onnx": onnx,
}

#: Formats and forms that are only read here.
READ_ONLY = ("tf-v1", "torch (before 1.6)", "gguf", "onnx", "keras")


# --- the comparison --------------------------------------------------------------------------


def fresh(folder):
    """Return the folder *folder*, emptied, on a disk that has come to rest."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    os.sync()
    return folder


def compare_writing(format_, peer, folder, arrays):
    """Return the fastest times of (ours, the peer's) of writing *arrays* durably."""

    def ours():
        path = fresh(folder) / peer.name
        return seconds(lambda: ws.save_vars(arrays, path, format=format_))

    def theirs():
        path = fresh(folder) / peer.name
        return seconds(lambda: (peer.write(path, arrays), synced(path)))

    return fastest(ours, theirs)


def compare_reading(peer, path):
    """Return the fastest times of (ours, the peer's) of reading everything at *path*."""

    def ours():
        with ws.open(path) as source:
            touch(source.read_all().values())

    return fastest(lambda: seconds(ours), lambda: seconds(lambda: peer.read(path)))


def compare_listing(peer, path):
    """Return the fastest times of (ours, the peer's) of listing *path* in a cold process."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"}
    mine = [Path(sys.executable).with_name("warmstart"), "ls", path]
    other = [sys.executable, "-c", "from sys import argv\n" + peer.listing, path]

    def run(command):
        return seconds(
            lambda: subprocess.run(command, check=True, capture_output=True, env=environment)
        )

    return fastest(lambda: run(mine), lambda: run(other))


def fastest(ours, peer):
    """Return the fastest runs of *ours* and of *peer*, in turn; the first is not counted."""
    pairs = [(ours(), peer()) for _ in range(PAIRS + 1)][1:]
    return [min(side) for side in zip(*pairs, strict=True)]


def cell(times, target=None):
    """Return two times and how many times faster ours is, marked where the target is missed."""
    ours, theirs = times
    missed = "!" if target is not None and theirs / ours < target else " "
    return f"{ours * 1000:8.1f} {theirs * 1000:8.1f} {theirs / ours:6.1f}x{missed}"


def compare(name, folder, arrays):
    """Print the line of one format."""
    peer = PEERS[name]()
    written = None
    if name not in READ_ONLY:
        written = compare_writing(name, peer, folder / "scratch", arrays)
    path = fresh(folder / "whole") / peer.name
    peer.write(path, arrays)
    read, listed = compare_reading(peer, path), compare_listing(peer, path)
    writing = cell(written, 1) if written else f"{'only read':>26}"
    print(f"{name:18} {peer.library:11} {cell(listed, peer.target)} {cell(read, 1)} {writing}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("formats", nargs="*", choices=[[], *PEERS], help="all unless named")
    parser.add_argument("--dir", type=Path, default=Path.cwd(), help="where to write")
    choice = parser.parse_args()
    arrays = arrays_of()
    three = "".join(f"{what + ', ms: ours, theirs':>27}" for what in ("list", "read", "write"))
    print(f"{'format':18} {'beside':10} {three}   (! misses its target)")
    for name in choice.formats or PEERS:
        with tempfile.TemporaryDirectory(dir=choice.dir, prefix="bench-") as folder:
            compare(name, Path(folder), arrays)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.simplefilter("ignore")
    main()
