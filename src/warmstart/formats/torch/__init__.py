"""PyTorch's files, of every age and without PyTorch: nothing in a pickle is run or imported.

    zip       TOP/data.pkl, TOP/data/KEY ...      since 1.6; TorchScript's since 1.0  (`zipped`)
    stream    pickles back to back, storages      before 1.6                          (`stream`)
    tar       storages, tensors, pickle           0.1                                 (`tarred`)
    folder    pytorch_model.bin.index.json        Hugging Face's shards of the above

What `torch.save` was given is flattened: {"model": {"fc.weight": T}, "epoch": 3} has the tensor
"model/fc.weight" and the metadata "epoch".  Modules saved whole appear as their state dicts.
Source: PyTorch 2.13, torch/serialization.py.
"""

from collections.abc import Collection
from functools import partial
from pathlib import Path

from ...binary.window import opened
from ...source import Source
from ..joined import joined_by_index

EXTENSIONS = (".pt", ".pth")
OPTIONS = frozenset({"mmap"})
CHECKS = (
    "structure, the CRC-32 of every member of the zip form (older forms have no checksums), and "
    "that every byte is accounted for"
)
INDEX = ".bin.index.json"
ZIP = b"PK\3\4"
BLOCK = 512


def locate(path: Path) -> Path | None:
    """Return the file if it is called or begins as PyTorch's are, or for a folder its index."""
    if path.is_dir():
        found = sorted(path.glob("*" + INDEX))
        return found[0] if len(found) == 1 and not (path / "checkpoint").exists() else None
    if not path.is_file():
        return None
    return path if path.name.lower().endswith((*EXTENSIONS, INDEX)) or looks_like(path) else None


def found_in(folder: Path, names: Collection[str]) -> dict[Path, list[Path]]:
    """Return each index in *folder* with its shards."""
    return joined_by_index(folder, names, INDEX)


def looks_like(path: Path) -> bool:
    """Return whether the file begins as one of the three forms does."""
    with opened(path) as file:
        start = file.read(BLOCK)
        if start.startswith(ZIP):
            return is_of_torch(path, start)
    from .stream import START
    from .tarred import MEMBERS, is_tar

    if start.startswith(START):
        return True
    name = start[:100].rstrip(b"\0").removeprefix(b"./").decode("latin-1")
    return is_tar(start) and name in (*MEMBERS, "sys_info", ".", "")


def is_of_torch(path: Path, start: bytes) -> bool:
    """Return whether a zip archive has a pickle of data in its first member, or anywhere."""
    name = start[30 : 30 + int.from_bytes(start[26:28], "little")]
    if name.endswith(b"/data.pkl"):
        return True
    if name.endswith((b".npy", b"config.json", b"metadata.json")):
        return False
    with opened(path) as file:
        file.seek(0, 2)
        file.seek(max(file.tell() - (1 << 20), 0))
        return b"/data.pkl" in file.read()


def open_source(path: Path, *, verify: bool, mmap: bool = True) -> Source:
    """Open a file of any form, or an index; with *verify* each member's CRC-32 is checked."""
    from .opening import open_file

    if path.name.endswith(INDEX):
        from ..sharded import ShardedSource

        return ShardedSource(path, partial(open_file, verify=verify, mmap=mmap))
    return open_file(path, verify=verify, mmap=mmap)


def save_source(source: Source, path: Path) -> None:
    """Write *source* to *path* in the zip form."""
    from .writing import write_file

    write_file(source, path)
