"""All that is asked of tensorstore, and its errors as this library's.

It is told where to read by this library alone: a folder of the local disk.  No URL in a checkpoint
is followed, nothing is created, and what it returns is checked against the JSON of the array.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...binary.remote import fetched_folder
from ...errors import CheckpointError, CorruptCheckpoint
from ..extras import needed

if TYPE_CHECKING:
    import numpy as np

#: Keys or arrays that are asked for at once.
AT_ONCE = 256
#: Values are read once and not kept; the nodes of a database are, as many values need them.
CONTEXT = {
    "cache_pool": {"total_bytes_limit": 0},
    "cache_pool#ocdbt": {"total_bytes_limit": 32_000_000},
}


def tensorstore() -> Any:
    """Return the package, or raise that this checkpoint needs it."""
    return needed("tensorstore", "orbax", "a compressed Orbax checkpoint")


@cache
def context() -> Any:
    """Return what all arrays share: a cache of the database's nodes."""
    return tensorstore().Context(CONTEXT)


@contextmanager
def translating(what: str) -> Iterator[None]:
    """Turn whatever tensorstore raises in the block into a CorruptCheckpoint about *what*."""
    try:
        yield
    except CheckpointError:
        raise
    except (Exception, MemoryError) as error:
        reason = str(error).split(" [")[0] or type(error).__name__
        raise CorruptCheckpoint(f"tensorstore cannot read {what}: {reason}") from error


def ocdbt_spec(folder: Path, param: str) -> dict[str, Any]:
    """Return what tensorstore calls an array in the database of *folder*."""
    base = {"driver": "file", "path": f"{os.path.abspath(fetched_folder(folder))}/"}
    return {
        "driver": "ocdbt",
        "base": base,
        "path": f"{param}/",
        "cache_pool": "cache_pool#ocdbt",
    }


def read_keys(folder: Path, keys: Sequence[str]) -> dict[str, bytes | memoryview | None]:
    """Return the values of *keys* in the database of *folder*; None where there is none."""
    ts = tensorstore()
    found: dict[str, bytes | memoryview | None] = {}
    with translating(f"the database in {folder}"):
        spec = {k: v for k, v in ocdbt_spec(folder, "").items() if k != "path"}
        database = ts.KvStore.open(spec, context=context()).result()
        for part in parts(keys):
            futures = [database.read(key) for key in part]
            for key, future in zip(part, futures, strict=True):
                answer = future.result()
                found[key] = bytes(answer.value) if answer.state == "value" else None
    return found


class Array:
    """One array that is to be read."""

    def __init__(self, param: str, spec: dict[str, Any], version: int, *, sparse: bool) -> None:
        self.param = param
        self.spec = {
            "driver": "zarr" if version == 2 else "zarr3",
            "kvstore": spec,
            "fill_missing_data_reads": sparse,
            "recheck_cached_data": False,
            "recheck_cached_metadata": False,
        }

    def opened(self) -> Any:
        """Return the array as tensorstore will have it."""
        return tensorstore().open(self.spec, read=True, open=True, context=context())


def read_one(array: Array, choose: Callable[[Any], Any]) -> "np.ndarray":
    """Return what *choose* takes of *array*; only the chunks that it touches are read."""
    with translating(f"{array.param!r}"):
        result: np.ndarray = choose(array.opened().result()).read().result()
        return result


def read_many(arrays: Sequence[Array]) -> "Iterator[np.ndarray]":
    """Yield every one of *arrays*, whole; many are read at once."""
    for part in parts(arrays):
        opened = [array.opened() for array in part]
        reads = []
        for array, future in zip(part, opened, strict=True):
            with translating(f"{array.param!r}"):
                reads.append(future.result().read())
        for array, read in zip(part, reads, strict=True):
            with translating(f"{array.param!r}"):
                result = read.result()
            yield result


def parts(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Yield *items* in runs of at most AT_ONCE."""
    for at in range(0, len(items), AT_ONCE):
        yield items[at : at + AT_ONCE]
