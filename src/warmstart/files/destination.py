"""Where a checkpoint may be written."""

from pathlib import Path
from typing import Any

from ..errors import CheckpointError, SaveError
from ..formats import format_named, format_to_save


def check_destination(path: str | Path, format: str | None = None) -> str:
    """Return the name of the format *path* would be saved in, refusing what must not be replaced.

    A checkpoint of that format and an empty file may be replaced; a folder and any other file not.
    """
    name = format_to_save(path, format)
    path = Path(path).expanduser()
    if path.is_dir():
        raise SaveError(f"{path} is a folder; give the name to save under, as {path / 'model'}")
    if not path.parent.is_dir():
        raise SaveError(f"{path} cannot be saved: there is no folder {path.parent}")
    if path.exists() and path.stat().st_size and found_as(name, path) is None:
        raise SaveError(f"{path} exists and is not {name}; remove it or save under another name")
    return name


def found_as(name: str, path: Path) -> Path | None:
    """Return what the format called *name* finds at *path*; a half or broken checkpoint counts."""
    format_: Any = format_named(name)
    try:
        found: Path | None = format_.locate(path)
    except CheckpointError:
        return path
    return found
