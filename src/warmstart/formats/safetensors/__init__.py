"""Safetensors: a length, a JSON header, then every tensor back to back.

    u64 n, little-endian | n bytes of JSON, padded with spaces | data

The header maps a name to {"dtype", "shape", "data_offsets": [begin, end]}: bytes from the start
of the data, half-open.  "__metadata__" maps text to text; this library keeps roles and aliases in
its key "warmstart" (`formats.notes`).  A sharded checkpoint is a folder of such files with a
`*.safetensors.index.json`: {"metadata": {...}, "weight_map": {name: file}}.

There are no checksums: a changed byte among the values cannot be seen.
Source: https://github.com/huggingface/safetensors, README, "Format", and safetensors 0.8.
"""

from collections.abc import Collection
from functools import partial
from pathlib import Path

from ...binary.window import opened
from ...errors import CheckpointNotFound
from ...source import Source
from ..joined import joined_by_index
from ..sharded import ShardedSource
from .header import MAX_HEADER
from .reading import SafetensorsSource

EXTENSIONS = (".safetensors",)
OPTIONS = frozenset({"mmap"})
CHECKS = (
    "structure, and that every byte is accounted for; the format has no checksums, so changed "
    "values go unnoticed"
)
INDEX = ".safetensors.index.json"


def locate(path: Path) -> Path | None:
    """Return the file, or for a folder its index or its only safetensors file."""
    if path.is_dir():
        return locate_in(path)
    if not path.is_file():
        return None
    if path.name.lower().endswith((*EXTENSIONS, INDEX)) or looks_like(path):
        return path
    return None


def locate_in(folder: Path) -> Path | None:
    """Return the one checkpoint in *folder*; several files that no index joins are refused."""
    if (folder / "checkpoint").exists():  # a training folder: that file says what is its latest
        return None
    for suffix in (INDEX, *EXTENSIONS):
        found = sorted(folder.glob("*" + suffix))
        if len(found) > 1:
            names = ", ".join(p.name for p in found)
            raise CheckpointNotFound(
                f"{folder} holds {len(found)} files *{suffix} and none that joins them; "
                f"open one of them: {names}"
            )
        if found:
            return found[0]
    return None


def looks_like(path: Path) -> bool:
    """Return whether the file begins with the length of a JSON object, and the object is there."""
    with opened(path) as file:
        start = file.read(9)
        n = int.from_bytes(start[:8], "little")
        if start[8:] != b"{" or n > MAX_HEADER:
            return False
        file.seek(8 + n - 1)
        return file.read(1) in (b"}", b" ")


def found_in(folder: Path, names: Collection[str]) -> dict[Path, list[Path]]:
    """Return each index in *folder* with its shards."""
    return joined_by_index(folder, names, INDEX)


def open_source(path: Path, *, verify: bool, mmap: bool = True) -> Source:
    """Open a file or an index; *verify* finds nothing to check, since there are no checksums."""
    if path.name.lower().endswith(INDEX):
        return ShardedSource(path, partial(SafetensorsSource, mmap=mmap))
    return SafetensorsSource(path, mmap=mmap)


def save_source(source: Source, path: Path) -> None:
    """Write *source* to the file *path*; see `Format.save_source`."""
    from .writing import write_file  # with threads and more, which a listing does without

    write_file(source, path)
