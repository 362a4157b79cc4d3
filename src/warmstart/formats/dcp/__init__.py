"""PyTorch's distributed checkpoints (torch.distributed.checkpoint): a folder, written by all ranks.

    folder/.metadata         a pickle: what there is, and where each part of it lies
    folder/__R_F.distcp      of rank R: items back to back, each a file as `torch.save` writes one

    Metadata
      state_dict_metadata    name -> TensorStorageMetadata: dtype, size, chunks (offsets, sizes)
                                   | BytesStorageMetadata: any other value
      storage_data           MetadataIndex (name, offsets) -> _StorageInfo (file, offset, length)
      planner_data           name -> the keys under which it stood in nested containers

A tensor is cut into chunks along any of its axes, one or more a rank.  A name is the keys of nested
containers joined by dots, as PyTorch has it; values that are no tensors become metadata.  Written
are one rank's files, with a note of this library as the item `_RUN/state`.
Source: PyTorch 2.13, torch/distributed/checkpoint/{metadata,filesystem,default_planner}.py.
"""

import re
from pathlib import Path

from ...binary.folder import standing
from ...errors import CheckpointNotFound
from ...source import Source

EXTENSIONS = (".dcp",)
OPTIONS = frozenset(("mmap",))
FOLDER = True
CHECKS = "structure, every chunk's place, each item's CRC-32, and that no byte lies between items"

METADATA = ".metadata"
DATA = ".distcp"
#: What each rank writes for itself alone, where the ranks do not speak to one another.
OF_ONE_RANK = re.compile(r"__\d+\.metadata")


def locate(path: Path) -> Path | None:
    """Return the folder; for the metadata of one rank alone that file."""
    path = standing(path)
    if path.is_file():
        return locate_file(path)
    if not path.is_dir():
        return None
    if (path / METADATA).is_file():
        return path
    found = sorted(p.name for p in path.iterdir() if OF_ONE_RANK.fullmatch(p.name))
    if found:
        raise CheckpointNotFound(
            f"{path} holds a checkpoint of each of {len(found)} ranks and none that joins them; "
            f"open one of them: {', '.join(found)}"
        )
    if any(p.name.endswith(DATA) for p in path.iterdir()):
        raise CheckpointNotFound(
            f"{path} holds files {DATA} without {METADATA}, which is written last: the save did "
            "not come to its end"
        )
    return None


def locate_file(path: Path) -> Path | None:
    """Return the checkpoint that the file *path* is part of, if its name says it is of one."""
    if OF_ONE_RANK.fullmatch(path.name):
        return path
    if path.name == METADATA or path.name.endswith(DATA):
        return locate(path.parent)
    return None


def open_source(path: Path, *, verify: bool, mmap: bool = True) -> Source:
    """Open a folder; with *verify* the checksum of an item is checked when it is read."""
    from .reading import DcpSource

    return DcpSource(path, verify=verify, mmap=mmap)


def save_source(source: Source, path: Path) -> None:
    """Write *source* to the folder *path*, which is replaced as a whole."""
    from .writing import write_folder

    write_folder(source, path)
