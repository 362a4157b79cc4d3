"""Shards of one folder that an index joins: JSON, as Hugging Face's libraries and Keras write it.

{"metadata": {...}, "weight_map": {name of a tensor, or of a layer: file or [file, ...]}}
"""

import json
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path

from ..binary.window import opened

MAX_INDEX = 100_000_000  # bytes


def joined_by_index(folder: Path, names: Iterable[str], suffix: str) -> dict[Path, list[Path]]:
    """Return each index among *names* that ends in *suffix*, with all of its files that are there.

    An index that cannot be read stands alone: whoever opens it says what is wrong.
    """
    names = set(names)
    return {
        folder / index: [folder / index, *(folder / f for f in files_of(folder / index) & names)]
        for index in sorted(names)
        if index.endswith(suffix)
    }


def files_of(index: Path) -> set[str]:
    """Return the files that *index* names; none if it is broken."""
    try:
        with opened(index) as file:
            # of a size that is there: `read` takes as much memory as it is asked to read
            value = json.loads(file.read(min(index.stat().st_size, MAX_INDEX)))
    except (OSError, ValueError, RecursionError):
        return set()
    weight_map = value.get("weight_map") if isinstance(value, Mapping) else None
    files = weight_map.values() if isinstance(weight_map, Mapping) else ()
    each = chain.from_iterable(file if isinstance(file, list) else [file] for file in files)
    return {file for file in each if isinstance(file, str)}
