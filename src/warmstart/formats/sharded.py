"""A folder of files that an index joins, as one source: Hugging Face's shards.

    NAME.safetensors.index.json or NAME.bin.index.json:
        {"metadata": {...}, "weight_map": {name of a tensor: file beside the index}}

Source: transformers 4.57, modeling_utils.py, "Sharded checkpoints".
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from os.path import isfile  # which takes a name that no file can have for one that is not there
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ..binary.mapped import map_file
from ..errors import CheckpointNotFound, CorruptCheckpoint, noting
from ..source import Index, ListedSource, Source
from .notes import parse_object

if TYPE_CHECKING:
    import numpy as np


#: Bytes of an index at most.
MAX_INDEX = 100_000_000


class ShardedSource(ListedSource):
    """Every tensor of the shards; where metadata differ, the index wins, then the earlier shard."""

    def __init__(self, index: Path, open_shard: Callable[[Path], Source]) -> None:
        """Open the shards of *index*, each by *open_shard*."""
        with noting(f"while reading {index}"):
            weight_map, metadata = read_index(index)
            files = sorted(set(weight_map.values()))
            refuse_missing(index.parent, files)
            shards = {file: open_shard(index.parent / file) for file in files}
            refuse_disagreement(weight_map, shards)
        self._shards = {n: shard for shard in shards.values() for n in shard.specs}
        self._aliases = {a: n for shard in shards.values() for a, n in shard.aliases.items()}
        self._derived = {name for shard in shards.values() for name in shard.derived}
        self._specs = {n: shard.specs[n] for n, shard in self._shards.items()}
        self._metadata: dict[str, str] = {}
        for shard in reversed(shards.values()):
            self._metadata |= shard.metadata
        self._metadata |= metadata

    def read_order(self) -> Iterator[str]:
        yield from self._specs  # shard after shard, each in the order of its data

    @property
    def stored(self) -> Mapping[str, str]:
        shards = {id(shard): shard for shard in self._shards.values()}.values()
        return {name: how for shard in shards for name, how in shard.stored.items()}

    def unclaimed(self) -> Iterator[str]:
        for shard in {id(shard): shard for shard in self._shards.values()}.values():
            yield from shard.unclaimed() or ()

    def check(self, names: Iterable[str]) -> None:
        for name in names:
            self._shard(name).check([name])

    def read(self, name: str) -> "np.ndarray":
        return self._shard(name).read(name)

    def read_slice(self, name: str, index: Index) -> "np.ndarray":
        return self._shard(name).read_slice(name, index)

    def _shard(self, name: str) -> Source:
        return self._shards[self._own(name)]


def read_index(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return the file of each tensor, and the metadata; numbers in it (`total_size`) as text."""
    raw = memoryview(map_file(path))
    if len(raw) > MAX_INDEX:
        raise CorruptCheckpoint(f"the index has {len(raw)} bytes; {MAX_INDEX} are allowed")
    index = parse_object(raw, "the index")
    weight_map, metadata = index.get("weight_map"), index.get("metadata", {})
    if not isinstance(weight_map, dict) or not all(isinstance(f, str) for f in weight_map.values()):
        raise CorruptCheckpoint("the index has no weight_map from names to files")
    if not isinstance(metadata, dict):
        raise CorruptCheckpoint("the metadata of the index are not a JSON object")
    refuse_escape(set(weight_map.values()))
    return weight_map, {key: str(value) for key, value in metadata.items()}


def refuse_escape(files: set[str]) -> None:
    """Refuse shards outside the folder of the index: a checkpoint must not name other files."""
    outside = sorted(file for file in files if not stays_inside(file))
    if outside:
        raise CorruptCheckpoint(
            f"the index names {len(outside)} shards outside its own folder: "
            + ", ".join(map(repr, outside))
        )


def stays_inside(file: str) -> bool:
    """Return whether the relative path *file* lies below the folder it is read from.

    >>> stays_inside("a-1.safetensors"), stays_inside("../a"), stays_inside("/a"), stays_inside("")
    (True, False, False, False)
    """
    path = PurePosixPath(file.replace("\\", "/"))
    return (
        bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in file
    )


def refuse_missing(folder: Path, files: list[str]) -> None:
    """Name every shard that is not there."""
    missing = [file for file in files if not isfile(folder / file)]
    if missing:
        raise CheckpointNotFound(
            f"{len(missing)} of {len(files)} shards are missing: {', '.join(map(repr, missing))}"
        )


def refuse_disagreement(weight_map: Mapping[str, str], shards: Mapping[str, Source]) -> None:
    """Refuse an index and shards that do not say the same of where each tensor is."""
    stated = {(name, file) for name, file in weight_map.items()}
    # a tied weight may be in the index although its shard holds it under the other name only
    held = {(name, file) for file, shard in shards.items() for name in shard.specs}
    tied = {(name, file) for file, shard in shards.items() for name in shard.aliases}
    absent, unlisted = sorted(stated - held - tied), sorted(held - stated)
    lines = [f"  {name!r} is not in {file}, as the index says" for name, file in absent]
    lines += [f"  {name!r} is in {file}, which the index does not say" for name, file in unlisted]
    if lines:
        raise CorruptCheckpoint("\n".join(["the index and the shards do not agree:", *lines]))
