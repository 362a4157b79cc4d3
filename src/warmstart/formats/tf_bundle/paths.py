"""A bundle's files, and the bundle that a path means, as people type it.

PREFIX.index                       what there is, and the one file whose rename commits a save
PREFIX.data-00000-of-00002         shard 0 of 2
PREFIX.data-00001-of-00002         shard 1 of 2
FOLDER/checkpoint                  which PREFIX of the folder is the latest

A SavedModel is a folder of its own, with a bundle of a fixed name inside, if it has variables:

FOLDER/saved_model.pb              graphs and signatures (or saved_model.pbtxt)
FOLDER/variables/variables.index   PREFIX is FOLDER/variables/variables
"""

import re
from collections.abc import Collection, Iterable
from pathlib import Path

from ...errors import CheckpointError, CheckpointNotFound
from .pointer import candidates, is_pointer, is_table, latest_in, names_in
from .state import FILE_NAME

INDEX = ".index"

#: The file that makes a folder a SavedModel, binary or as text.
SAVED_MODELS = ("saved_model.pb", "saved_model.pbtxt")
DATA = re.compile(r"(?P<prefix>.+)\.data-(?P<shard>\d{5,})-of-(?P<shards>\d{5,})", re.DOTALL)


def prefix_of(path: Path) -> Path:
    """Return the prefix of the bundle that *path*, its index or a data file or itself, is of."""
    match = DATA.fullmatch(path.name)
    if match:
        return path.with_name(match["prefix"])
    if path.name.endswith(INDEX) and path.name != INDEX:
        return path.with_name(path.name.removesuffix(INDEX))
    return path


def index_of(prefix: Path) -> Path:
    """Return the path of the index of the bundle *prefix*."""
    return prefix.with_name(prefix.name + INDEX)


def data_of(prefix: Path, shard: int, shards: int) -> Path:
    """Return the path of one data file of the bundle *prefix*."""
    return prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{shards:05d}")


def data_files(prefix: Path) -> dict[Path, tuple[int, int]]:
    """Return every data file of *prefix* that is there, with its shard and count of shards."""
    found = {}
    start = prefix.name  # most names in a folder of many bundles are passed over here
    for name in [name for name in names_in(prefix.parent) if name.startswith(start)]:
        match = DATA.fullmatch(name)
        if match and match["prefix"] == start:
            found[prefix.with_name(name)] = int(match["shard"]), int(match["shards"])
    return found


def locate(path: Path) -> Path | None:
    """Return the prefix of the bundle that *path* means, or None when it means none."""
    saved_model = saved_model_of(path)
    if saved_model is not None:
        return variables_of(saved_model)
    if path.is_dir() and not has_index(path):
        return latest(path)
    if is_pointer(path):
        return pointed(path)
    for prefix in dict.fromkeys((path, prefix_of(path))):
        data = data_files(prefix)
        if has_index(prefix):
            check_has_data(prefix, data)
            return prefix
        if data and (prefix != path or not path.exists()):
            raise without_index(prefix, data)
    return None


def saved_model_of(path: Path) -> Path | None:
    """Return the file of the SavedModel that *path*, that file or its folder, means, or None."""
    candidates = [path] if path.name in SAVED_MODELS else [path / name for name in SAVED_MODELS]
    return next((file for file in candidates if file.is_file()), None)


def variables_of(saved_model: Path) -> Path:
    """Return the prefix of the bundle that goes with the file *saved_model*."""
    prefix = saved_model.parent / "variables" / "variables"
    data = data_files(prefix)
    if has_index(prefix):
        check_has_data(prefix, data)
        return prefix
    if data:
        raise without_index(prefix, data)
    raise CheckpointNotFound(
        f"{saved_model.parent} is a SavedModel without variables: there is no {index_of(prefix)}. "
        "What its graphs hold and take is shown by ls --graph"
    )


def has_index(prefix: Path) -> bool:
    """Return whether there is a bundle's index for *prefix*."""
    return prefix.name != "" and index_of(prefix).is_file()


def check_has_data(prefix: Path, data: dict[Path, tuple[int, int]]) -> None:
    """Raise when no data file goes with the index of *prefix*."""
    if not data:
        raise CheckpointNotFound(
            f"{index_of(prefix).name} is there, but no data file of the same bundle, such as "
            f"{data_of(prefix, 0, 1)}: both are needed"
        )


def without_index(prefix: Path, data: Iterable[Path]) -> CheckpointNotFound:
    """Return the error for the files *data* of the bundle *prefix* that has no index."""
    return CheckpointNotFound(
        f"{next(iter(data)).name} is there, but {index_of(prefix)}, the index of the same bundle, "
        "is not: both are needed"
    )


def refuse_halves(folder: Path) -> None:
    """Raise when there is half a bundle in *folder*."""
    for path in (folder / name for name in names_in(folder)):
        if DATA.fullmatch(path.name):
            raise without_index(prefix_of(path), [path])
        if path.name.endswith(INDEX) and is_table(path):
            check_has_data(prefix_of(path), {})


def latest(folder: Path) -> Path | None:
    """Return the prefix of the latest bundle in *folder*, or None when there is none.

    It is the one that the file `checkpoint` points to; without that file, the one with the highest
    number at its name's end, the newest of those without numbers.
    """
    if is_pointer(Path(folder) / FILE_NAME):
        return pointed(Path(folder) / FILE_NAME)
    prefixes = bundles(folder)
    if not prefixes:
        refuse_halves(folder)
    return max(prefixes, key=age, default=None)


def bundles(folder: Path) -> list[Path]:
    """Return the prefix of every bundle in *folder* that has both an index and data."""
    names = names_in(folder)
    with_data = {match["prefix"] for match in map(DATA.fullmatch, names) if match}
    indexes = [name.removesuffix(INDEX) for name in names if name.endswith(INDEX)]
    return [Path(folder) / name for name in indexes if name in with_data]


def found_in(folder: Path, names: Collection[str]) -> dict[Path, list[Path]]:
    """Return every bundle in *folder*, half ones too, with its files among *names*."""
    found: dict[Path, list[Path]] = {}
    for name in names:
        if DATA.fullmatch(name) or (name.endswith(INDEX) and may_be_table(folder / name)):
            found.setdefault(prefix_of(folder / name), []).append(folder / name)
    return found


def may_be_table(path: Path) -> bool:
    """Return whether *path* is a table, or cannot be read, which is told when it is opened."""
    try:
        return is_table(path)
    except CheckpointError:
        return True


def age(prefix: Path) -> tuple[int, float]:
    """Return what orders bundles by age: the step at the end of the name, then the time."""
    match = re.search(r"(\d+)$", prefix.name)
    return int(match[1]) if match else -1, index_of(prefix).stat().st_mtime


def pointed(file: Path) -> Path | None:
    """Return the prefix that *file*, like `checkpoint`, points to; None if it is no bundle's.

    A checkpoint of version 1 may be meant, which is another format.
    """
    from ..tf_v1.paths import named

    prefixes = candidates(file)
    for prefix in prefixes:
        if has_index(prefix):
            check_has_data(prefix, data_files(prefix))
            return prefix
    if any(map(named, prefixes)):
        return None
    others = ", ".join(prefix.name for prefix in bundles(file.parent)) or "none"
    raise CheckpointNotFound(
        f"{file} points to {latest_in(file)!r}, which is not there; bundles in its folder: {others}"
    )
