"""Any of Keras' files, opened by what it holds: extensions were given to several layouts."""

from pathlib import Path
from typing import TYPE_CHECKING

from ...binary.window import opened
from ...errors import noting
from ...names import last
from ..hdf5.opened import Hdf5File
from ..hdf5.source import Hdf5Source

if TYPE_CHECKING:
    from ..keras.names import Lender


def begins(path: Path, start: bytes) -> bool:
    """Return whether the file at *path* begins with *start*."""
    with opened(path) as file:
        return file.read(len(start)) == start


def is_saved_by_path(file: Hdf5File) -> bool:
    """Return whether the layout is that of Keras 3: groups with `vars` in them, and no lists."""
    lists = (file.attribute("", key) for key in ("layer_names", "layer_names0"))
    listed = any(each is not None for each in lists)
    return not listed and any(last(group) == "vars" for group in file.groups)


def open_layout(
    path: Path, *, verify: bool, mmap: bool = True, like: str | Path | None = None
) -> Hdf5Source:
    """Open the file, archive, index or folder at *path*; *verify* finds nothing to check."""
    lender = None if like is None else lender_at(Path(like))
    with noting(f"while reading {path}"):
        if path.is_dir():
            from ..keras.archive import open_folder

            return open_folder(path, mmap=mmap, like=lender)
        if path.name.lower().endswith(".weights.json"):
            from ..keras.sharded import open_sharded

            return open_sharded(path, mmap=mmap, like=lender)
        if begins(path, b"PK\3\4"):
            from ..keras.archive import open_archive

            return open_archive(path, mmap=mmap, like=lender)
        file = Hdf5File.at(path, mmap=mmap)
        if is_saved_by_path(file):
            from ..keras.reading import opened

            return opened(str(path), [file], None, lender)
        from .reading import open_legacy

        return open_legacy(path, file, lender)


def lender_at(path: Path) -> "Lender":
    """Return the tensors of the file at *path*, to borrow their names."""
    from ..keras.names import Lender

    with open_layout(path, verify=False) as other:
        return Lender(str(path), {place: other.specs[name] for name, place in other.paths.items()})
