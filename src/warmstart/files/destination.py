"""Where a checkpoint may be written."""

from pathlib import Path
from typing import Any

from ..binary.atomic import translating_os_errors
from ..errors import CheckpointError, SaveError
from ..formats import each_format, expanded, format_named, format_to_save, locate


def check_destination(path: str | Path, format: str | None = None) -> str:
    """Return the name of the format *path* would be saved in, refusing what must not be replaced.

    A checkpoint of that format and an empty file may be replaced; any other file not.  So it is
    with folders for a format that writes them (`FOLDER`); for another a folder is refused.
    """
    name = format_to_save(path, format)
    path = expanded(path)
    with translating_os_errors(path):
        refuse_occupied(path, name)
    return name


def refuse_occupied(path: Path, name: str) -> None:
    """Raise where *path* is nothing that the format called *name* may replace, or nowhere."""
    folders = getattr(format_named(name), "FOLDER", False)
    if path.is_dir() and not folders:
        raise SaveError(f"{path} is a folder; give the name to save under, as {path / 'model'}")
    if not path.parent.is_dir():
        raise SaveError(f"{path} cannot be saved: there is no folder {path.parent}")
    found = found_as(name, path)
    if occupied(path) and (found is None or (folders and not same_place(found, path))):
        raise SaveError(f"{path} exists and is not {name}; remove it or save under another name")


def format_like(src: Path, dst: str | Path) -> str | None:
    """Return the format of *src* where *dst* ends like it, and no format has such an extension.

    PyTorch's checkpoints are called `.ckpt`, `.bin` and `.pth.tar` too: what is written beside one
    under such a name is meant to be one.
    """
    name, suffix = Path(dst).name.lower(), src.suffix.lower()
    alike = bool(suffix) and name.endswith(suffix)
    if not alike or any(name.endswith(format_.EXTENSIONS) for _, format_ in each_format()):
        return None
    format = locate(src)[0]
    return format if hasattr(format_named(format), "save_source") else None


def occupied(path: Path) -> bool:
    """Return whether something that may be worth keeping stands at *path*."""
    if path.is_dir():
        return any(path.iterdir())
    return path.exists() and path.stat().st_size > 0


def same_place(found: Path, path: Path) -> bool:
    """Return whether *found* is *path* itself, and not a checkpoint somewhere inside it."""
    return found.exists() and found.samefile(path)


def found_as(name: str, path: Path) -> Path | None:
    """Return what the format called *name* finds at *path*; a half or broken checkpoint counts."""
    format_: Any = format_named(name)
    try:
        found: Path | None = format_.locate(path)
    except CheckpointError:
        return path
    return found
