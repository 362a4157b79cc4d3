"""What a killed save leaves in a folder, and the files of a checkpoint that is to go."""

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from ..binary.atomic import sweep, temporaries
from ..errors import CheckpointError
from ..formats.tf_bundle.paths import DATA, data_files, index_of
from ..formats.tf_bundle.pointer import names_in
from ..formats.tf_bundle.reader import index_in
from ..formats.tf_bundle.state import FILE_NAME
from .retention import OURS

log = logging.getLogger("warmstart")


def sweep_folder(folder: Path) -> None:
    """Delete what killed saves left half written in *folder*, which this run holds."""
    sweep(folder)
    delete([*left_in(folder), *left_of_pointer(folder)])


def left_of_pointer(folder: Path) -> list[Path]:
    """Return what is left half written of a file `checkpoint` that is a link into another folder.

    Of what else is there nothing is ours.
    """
    pointer = folder / FILE_NAME
    target = Path(os.path.realpath(pointer))
    if not pointer.is_symlink() or not target.parent.is_dir():
        return []
    return [path for path in temporaries(target.parent) if path.name.startswith(f".{target.name}.")]


def left_in(folder: Path) -> list[Path]:
    """Return the data files of *folder* called `model-STEP...` that no index refers to.

    A kill kept their index from coming, or came before a save could remove what it replaced.
    """
    names = [match["prefix"] for match in map(DATA.fullmatch, names_in(folder)) if match]
    prefixes = [folder / name for name in dict.fromkeys(names) if OURS.fullmatch(name)]
    return [path for prefix in prefixes for path in unused_data(prefix)]


def unused_data(prefix: Path) -> list[Path]:
    """Return the data files of the bundle *prefix* that its index does not refer to.

    They are under another count of shards.  An index that cannot be read may refer to any.
    """
    found = data_files(prefix)
    if not index_of(prefix).exists():
        return list(found)
    if len({shards for _, shards in found.values()}) < 2:
        return []
    try:
        count = index_in(prefix, verify=True, mmap=True).header.shards
    except (CheckpointError, OSError):
        return []
    return [path for path, (_, shards) in found.items() if shards != count]


def delete_bundle(prefix: Path) -> None:
    """Delete the bundle *prefix* and nothing else; the index first, so that no half looks whole."""
    delete([index_of(prefix), *data_files(prefix)])


def delete(paths: Iterable[Path]) -> None:
    """Delete *paths* in this order.

    What cannot be deleted (a folder of that name) stays, with what comes after it: a warning.
    """
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s was to be deleted and cannot be: %s", path, error.strerror)
            return
