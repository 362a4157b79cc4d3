"""Weights in several files, and the index that says which group is where.

    model.weights.json          {"metadata": {"total_size": ...},
                                 "weight_map": {"/layers/dense/vars": "model_00000.weights.h5"}}
    model_00000.weights.h5      a part of the groups; one group may be in several files

Source: Keras 3.15, keras/src/saving/saving_lib.py, `ShardedH5IOStore`.
"""

from collections.abc import Mapping
from os.path import isfile
from pathlib import Path

from ...errors import CheckpointNotFound, CorruptCheckpoint
from ...names import parent as scope_of
from ..hdf5.opened import Hdf5File
from ..hdf5.source import Hdf5Source
from ..sharded import stays_inside
from .archive import read_text
from .names import Lender
from .notes import parsed
from .reading import opened


def open_sharded(index: Path, *, mmap: bool = True, like: Lender | None = None) -> Hdf5Source:
    """Open the shards that *index* names."""
    weight_map = read_index(index)
    names = sorted({name for several in weight_map.values() for name in several})
    outside = [name for name in names if not stays_inside(name)]
    if outside:
        raise CorruptCheckpoint(
            f"the index names files outside its own folder: {', '.join(map(repr, outside))}"
        )
    missing = [name for name in names if not isfile(index.parent / name)]
    if missing:
        raise CheckpointNotFound(
            f"{len(missing)} of {len(names)} shards are missing: {', '.join(map(repr, missing))}"
        )
    shards = {name: Hdf5File.at(index.parent / name, mmap=mmap) for name in names}
    refuse_disagreement(weight_map, shards)
    return opened(str(index), list(shards.values()), None, like)


def read_index(index: Path) -> dict[str, list[str]]:
    """Return the files in which each group of variables is."""
    value = parsed(read_text(index), "the index")
    weight_map = value.get("weight_map") if isinstance(value, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise CorruptCheckpoint("the index has no weight_map from groups to files")
    found = {group: [f] if isinstance(f, str) else f for group, f in weight_map.items()}
    if not all(isinstance(f, list) and all(isinstance(n, str) for n in f) for f in found.values()):
        raise CorruptCheckpoint("the weight_map of the index names what are no files")
    return found


def refuse_disagreement(
    weight_map: Mapping[str, list[str]], shards: Mapping[str, Hdf5File]
) -> None:
    """Refuse an index and shards that do not say the same of where each group is."""
    stated = {(group.strip("/"), name) for group, names in weight_map.items() for name in names}
    held = {(scope_of(p), name) for name, file in shards.items() for p in file.datasets}
    lines = [f"  {group!r} is not in {name}, as the index says" for group, name in stated - held]
    lines += [f"  {g!r} is in {name}, which the index does not say" for g, name in held - stated]
    if lines:
        raise CorruptCheckpoint("\n".join(["the index and the shards do not agree:", *lines]))
