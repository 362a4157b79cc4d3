"""Make the golden files of PyTorch, with torch 2.13.0, omegaconf 2.4.0, numpy 2.4 on Python 3.11:

checkpoint   a training checkpoint: model, optimizer, scheduler, arguments of several classes
stream       the same tensors in the form before PyTorch 1.6
tar          the form of PyTorch 0.1; the layout is written here, since no such release runs on this
             Python; `torch.load(weights_only=False)` of 2.13 reads it
dtypes       one tensor of every dtype
module       a module saved whole
script       a module of TorchScript
shards       `pytorch_model.bin.index.json` with two files

Parameters count up, so that a test can say them.
"""

import argparse
import collections
import functools
import io
import json
import pickle
import struct
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import omegaconf
import torch

HERE = Path(__file__).parent

DTYPES = (
    "float32", "float64", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8",
    "uint16", "uint32", "uint64", "bool", "complex64", "complex128", "complex32",
    "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu",
)  # fmt: skip


def model() -> torch.nn.Sequential:
    """Return a small module whose parameters count up."""
    found = torch.nn.Sequential(
        collections.OrderedDict(fc=torch.nn.Linear(2, 3), bn=torch.nn.BatchNorm1d(3))
    )
    with torch.no_grad():
        for n, parameter in enumerate(found.parameters()):
            parameter.copy_(torch.arange(parameter.numel()).reshape(parameter.shape) + 10 * n)
    return found


def checkpoint() -> dict[str, Any]:
    """Return what a training script saves."""
    net = model()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    net(torch.ones(4, 2)).sum().backward()
    optimizer.step()
    scheduler.step()
    return {
        "model": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "epoch": 3,
        "args": argparse.Namespace(lr=0.1, best=np.float32(0.5)),
        "config": omegaconf.OmegaConf.create({"data": {"sizes": [1, 2], "name": "x"}}),
        "transform": functools.partial(torch.nn.functional.relu, inplace=True),
        "history": np.arange(3.0),
    }


def with_old_form(tensors: dict[str, torch.Tensor]) -> bytes:
    """Return *tensors* as PyTorch 0.1 saved them."""
    storages, views, rows = io.BytesIO(), io.BytesIO(), io.BytesIO()
    dump = functools.partial(pickle.dumps, protocol=2)
    storages.write(dump(len(tensors)))
    views.write(dump(len(tensors)))
    for n, tensor in enumerate(tensors.values()):
        storages.write(dump((100 + n, "cpu", torch.FloatStorage)))
        storages.write(struct.pack("<q", tensor.numel()) + tensor.numpy().tobytes())
        views.write(dump((200 + n, 100 + n, torch.FloatTensor)))
        sizes = (*tensor.shape, *tensor.stride(), 0)
        views.write(struct.pack(f"<ii{len(sizes)}q", tensor.dim(), 0, *sizes))
    storages.write(dump([]))

    keys = {id(tensor): 200 + n for n, tensor in enumerate(tensors.values())}

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> int | None:
            return keys.get(id(value))

    Pickler(rows, 2).dump(collections.OrderedDict(tensors))
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:", format=tarfile.PAX_FORMAT) as tar:
        for name, part in (("storages", storages), ("tensors", views), ("pickle", rows)):
            info = tarfile.TarInfo(name)
            info.size = len(part.getvalue())
            tar.addfile(info, io.BytesIO(part.getvalue()))
    return archive.getvalue()


def main() -> None:
    """Write all files beside this one."""
    state = model().state_dict()
    torch.save(checkpoint(), HERE / "checkpoint.pt")
    torch.save(state, HERE / "stream.pt", _use_new_zipfile_serialization=False)
    weight = {"fc.weight": torch.arange(6.0).reshape(3, 2), "fc.bias": torch.arange(3.0)}
    (HERE / "tar.pt").write_bytes(with_old_form(weight))
    one = {name: torch.ones(3).to(getattr(torch, name)) for name in DTYPES}
    torch.save(one, HERE / "dtypes.pt")
    torch.save(model(), HERE / "module.pt")
    torch.jit.save(torch.jit.script(model()), HERE / "script.pt")
    (HERE / "shards").mkdir(exist_ok=True)
    names = list(state)
    parts = {"a.bin": names[:2], "b.bin": names[2:]}
    for file, held in parts.items():
        torch.save({name: state[name] for name in held}, HERE / "shards" / file)
    index = {name: file for file, held in parts.items() for name in held}
    text = json.dumps({"metadata": {"total_size": 1}, "weight_map": index})
    (HERE / "shards" / "pytorch_model.bin.index.json").write_text(text)
    sys.stdout.write(f"made with torch {torch.__version__}\n")


if __name__ == "__main__":
    main()
