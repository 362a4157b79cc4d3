"""Flax's msgpack: one MessagePack value, nested maps whose leaves are arrays and plain values.

    file      = {key: file | leaf}                  lists are maps with the keys "0", "1", ...
    array     = extension 1 | [shape, dtype, bytes]           itself MessagePack; in C order
    complex   = extension 2 | [real, imaginary]
    scalar    = extension 3 | as an array           a NumPy scalar; here a tensor without dimensions
    large     = {"__msgpack_chunked_array__": true, "shape": {"0": n, ...}, "chunks": {"0": array}}

A dtype goes by NumPy's name, or that of ml_dtypes ("bfloat16").  An array above 2**30 bytes is cut
into flat ones.  A tensor is called by its keys ("params/Dense_0/kernel"); plain leaves are
metadata, as JSON, and are written back as what they were.  Roles and aliases stand in a text under
the key "warmstart" (`formats.notes`), only where there are any that the layout does not say: a
TrainState, which has params, opt_state and step, says that the one is slots and the other a
counter.

A sharded checkpoint is a folder of such files with a `*.msgpack.index.json` (`formats.sharded`).

There are no checksums: a changed byte among the values cannot be seen.
Sources: flax 0.12, flax/serialization.py; transformers 4.57, modeling_flax_utils.py.
"""

import re
from pathlib import Path

from ...errors import CheckpointNotFound
from ...source import Source

EXTENSIONS = (".msgpack",)
OPTIONS = frozenset({"mmap"})
CHECKS = (
    "structure, and that all bytes belong to a value: the format has no checksums, so changed "
    "values go unnoticed"
)
INDEX = ".msgpack.index.json"
#: What flax.training.checkpoints calls its files.
STEP_FILE = re.compile(r"checkpoint_(\d+)")


def locate(path: Path) -> Path | None:
    """Return the file, or for a folder its index, its only msgpack file or its latest step."""
    if path.is_dir():
        return locate_in(path)
    if not path.is_file():
        return None
    if path.name.lower().endswith((INDEX, *EXTENSIONS)):
        return path
    from .sniffing import looks_like

    return path if looks_like(path) else None


def locate_in(folder: Path) -> Path | None:
    """Return the one checkpoint in *folder*; several files that no index joins are refused."""
    if (folder / "checkpoint").exists():  # another format's: that file says what is the latest
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
    return latest_step(folder)


def latest_step(folder: Path) -> Path | None:
    """Return the file of the highest step that flax.training.checkpoints left in *folder*."""
    steps = {int(m[1]): p for p in folder.iterdir() if (m := STEP_FILE.fullmatch(p.name))}
    latest = steps[max(steps)] if steps else None
    return locate(latest) if latest is not None and latest.is_file() else None


def open_source(path: Path, *, verify: bool, mmap: bool = True) -> Source:
    """Open a file or an index; *verify* finds nothing to check, since there are no checksums."""
    from .reading import MsgpackSource

    if path.name.lower().endswith(INDEX):
        from ..sharded import ShardedSource

        return ShardedSource(path, lambda shard: MsgpackSource(shard, mmap=mmap))
    return MsgpackSource(path, mmap=mmap)


def save_source(source: Source, path: Path) -> None:
    """Write *source* to *path*, byte for byte as Flax writes the same tree where there is no note.

    Keys stand in the order that JAX sorts them in.
    """
    from .writing import write

    write(source, path)
