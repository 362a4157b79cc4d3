"""Where the items of a checkpoint are: in a folder, in the steps below it, in unfinished ones."""

import logging
import os
import re
from pathlib import Path

from ...binary.atomic import TEMPORARY as UNFINISHED
from ...binary.folder import ASIDE
from ...errors import CheckpointNotFound, CorruptCheckpoint
from ..msgpack.sniffing import begins_like_a_map

log = logging.getLogger("warmstart")

TEMPORARY = ".orbax-checkpoint-tmp"
STEP = re.compile(r"(?:.*[_.-])?(\d+)")
#: What the file of an item that is JSON is called.
JSON_FILES = ("metadata", "metrics")


def located(path: Path) -> Path | None:
    """Return *path* if it is an item or a step, or the latest step in it; None if it is neither."""
    if TEMPORARY in path.name:
        refuse_unfinished(path, [path.name])
    if holds_arrays(path):
        return path
    below = folders_in(path)
    items = [name for name in below if TEMPORARY not in name and holds_arrays(path / name)]
    if (path / "_CHECKPOINT_METADATA").is_file() or not all(map(STEP.fullmatch, items)):
        refuse_unfinished(path, [name for name in below if TEMPORARY in name])
        if not items:
            refuse_unnamed(path, below)
        return path if items else None
    return latest_step(path, below)


def latest_step(path: Path, below: list[str]) -> Path | None:
    """Return the folder of the highest step in *path*, passing over what Orbax did not finish."""
    steps = {name: int(m[1]) for name in below if (m := STEP.fullmatch(name.partition(".")[0]))}
    for name in sorted(steps, key=lambda name: (steps[name], name), reverse=True):
        try:
            found = located(path / name) if is_step(path / name) else None
        except (CheckpointNotFound, CorruptCheckpoint) as error:
            log.warning("%s is passed over: %s", path / name, error)
            continue
        if found is not None:
            return found
    return None


def is_step(path: Path) -> bool:
    """Return whether *path* is what Orbax makes for a step: not a folder of steps again."""
    return (
        holds_arrays(path)
        or (path / "_CHECKPOINT_METADATA").is_file()
        or any(holds_arrays(path / name) or TEMPORARY in name for name in folders_in(path))
    )


def refuse_unfinished(path: Path, names: list[str]) -> None:
    """Raise if there are *names* of folders that Orbax would have renamed when they were whole."""
    if names:
        raise CheckpointNotFound(
            f"{path} was not finished: Orbax was still writing {', '.join(sorted(names))}; open "
            "an earlier step"
        )


def refuse_unnamed(path: Path, names: list[str]) -> None:
    """Raise if items of the step *path*, folders with *names*, have a database and no tree."""
    found = [name for name in sorted(names) if (path / name / "manifest.ocdbt").is_file()]
    if found:
        raise CorruptCheckpoint(
            f"{path} has arrays in {', '.join(found)}, but {found[0]}/_METADATA, which says what "
            "they are, is not there"
        )


def holds_arrays(folder: Path) -> bool:
    """Return whether *folder* is an item that is a tree of arrays."""
    return (folder / "_METADATA").is_file() or has_aggregate(folder)


def has_aggregate(folder: Path) -> bool:
    """Return whether *folder* has the msgpack file of older versions; TensorFlow's is text."""
    path = folder / "checkpoint"
    return path.is_file() and begins_like_a_map(path)


def items_of(path: Path) -> dict[str, Path]:
    """Return the folder of every item with arrays; an item by itself is called ""."""
    if holds_arrays(path):
        return {"": path}
    return {name: path / name for name in folders_in(path) if holds_arrays(path / name)}


def json_items(path: Path) -> dict[str, Path]:
    """Return the file of every item of the step *path* that is JSON."""
    files = ((name, path / name / file) for name in folders_in(path) for file in JSON_FILES)
    return {name: file for name, file in files if file.is_file()}


def folders_in(path: Path) -> list[str]:
    """Return the names of the folders in *path*, sorted; not what a stopped save left there."""
    with os.scandir(path) as entries:
        found = sorted(entry.name for entry in entries if entry.is_dir())
    return [name for name in found if not name.endswith((UNFINISHED, ASIDE))]
