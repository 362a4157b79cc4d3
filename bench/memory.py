"""The memory that converting any format to any other takes, each pair in a process of its own.

What a process had of its own at most (anonymous memory, mapped files not counted), from its start.
The target is 150 MiB and the largest tensor.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import convert
import numpy as np

import warmstart as ws

TENSORS, MEBIBYTES = 25, 16
LIMIT = 150 + MEBIBYTES

#: Formats that are read and written, and the path of each.
WRITTEN = {
    "tf-bundle": "m", "safetensors": "m.safetensors", "npz": "m.npz", "torch": "m.pt",
    "dcp": "m.dcp", "keras-h5": "m.h5", "orbax": "m.orbax", "msgpack": "m.msgpack",
}  # fmt: skip


def tensors():
    """Yield the name and the values of each tensor."""
    base = np.random.default_rng(0).standard_normal(MEBIBYTES << 18, dtype=np.float32)
    for i in range(TENSORS):
        yield f"layer{i:02}.kernel", (base + i).reshape(-1, 1024)


def make_gguf(path):
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    for name, array in tensors():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make_onnx(path):
    import onnx
    from onnx import helper, numpy_helper

    initializers = [numpy_helper.from_array(array, name) for name, array in tensors()]
    onnx.save(helper.make_model(helper.make_graph([], "g", [], [], initializers)), path)


def make_compressed(path):
    np.savez_compressed(path, **dict(tensors()))


def make_v1(path):
    import tensorflow as tf

    names, arrays = zip(*tensors(), strict=True)
    tf.raw_ops.Save(filename=str(path), tensor_names=names, data=arrays)


def make_stream(path):
    import torch

    whole = {name: torch.from_numpy(array) for name, array in tensors()}
    torch.save(whole, path, _use_new_zipfile_serialization=False)


def make_zstd(path):
    import orbax.checkpoint

    checkpointer = orbax.checkpoint.StandardCheckpointer()
    checkpointer.save(path.absolute(), dict(tensors()))
    checkpointer.wait_until_finished()


def make_gzip(path):
    import h5py

    with h5py.File(path, "w") as file:
        for name, array in tensors():
            file.create_dataset(name, data=array, chunks=(64, 1024), compression="gzip")


#: Files that are only read, or are read otherwise than what is written here, and what makes each.
READ = {
    "m.gguf": make_gguf, "m.onnx": make_onnx, "version1": make_v1, "stream.pt": make_stream,
    "deflated.npz": make_compressed, "gzip.h5": make_gzip, "zstd.orbax": make_zstd,
}  # fmt: skip


def sources(folder):
    """Write one checkpoint of each kind, and yield its name and path."""
    first = folder / "m.safetensors"
    ws.save_vars(dict(tensors()), first)
    for format_, name in WRITTEN.items():
        if folder / name != first:
            ws.convert(first, folder / name, format=format_)
        yield format_, folder / name
    for name, make in READ.items():
        make(folder / name)
        yield name, folder / name


def peak(source, target):
    """Return the MiB of its own that converting *source* takes."""
    _, mebibytes = convert.converted(source, target)
    for old in target.parent.glob(target.name + "*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    return mebibytes


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dir", type=Path, default=Path.cwd(), help="where to write 5 GiB")
    folder = Path(tempfile.mkdtemp(dir=parser.parse_args().dir, prefix="bench-"))
    (folder / "to").mkdir()
    try:
        print(f"MiB at most; the target is {LIMIT}\n\n| from \\ to | {' | '.join(WRITTEN)} |")
        print("|---" * (len(WRITTEN) + 1) + "|")
        for source, path in sources(folder):
            peaks = [peak(path, folder / "to" / name) for name in WRITTEN.values()]
            print(f"| {source} | {' | '.join(f'{p:.0f}' for p in peaks)} |", flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
