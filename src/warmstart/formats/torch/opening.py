"""A PyTorch file, of whichever form it is, as a source."""

from pathlib import Path

from ...binary.garbage import collection_paused
from ...binary.window import FileBytes, file_bytes
from ...errors import CorruptCheckpoint, noting
from .contents import Contents
from .nodes import Storage
from .reading import TorchSource
from .stream import START, read_stream
from .tarred import BLOCK, is_tar, read_tar
from .zipped import (
    CONSTANTS,
    DATA,
    NOTE,
    STORAGES,
    Archive,
    byte_order,
    open_archive,
    read_pickle,
)

CODE = "code/"


def open_file(path: Path, *, verify: bool, mmap: bool = True) -> TorchSource:
    """Open the file at *path*."""
    place = f"while reading {path}"
    with noting(place), collection_paused():
        contents = contents_of(file_bytes(path, mmap=mmap), verify=verify)
        return TorchSource(contents, place, path.stem)


def contents_of(file: FileBytes, *, verify: bool) -> Contents:
    """Return what *file* holds; its first bytes tell the form."""
    start = bytes(file[:BLOCK])
    if start.startswith(b"PK"):
        return read_zip(file, verify=verify)
    if is_tar(start):
        return read_tar(file)
    if start.startswith(START):
        return read_stream(file)
    raise CorruptCheckpoint(
        f"the file begins {start[:12]!r}, as neither a zip nor a tar archive nor a stream of "
        "torch.save does"
    )


def read_zip(file: FileBytes, *, verify: bool) -> Contents:
    """Return what an archive holds."""
    archive = open_archive(file, verify=verify)
    scripted = archive.has(CONSTANTS)

    def part_of(storage: Storage, begin: int, end: int) -> memoryview:
        return archive.part_of(storage.key, begin, end)

    return Contents(
        read_pickle(archive, DATA, STORAGES),
        archive.member(DATA).size,
        part_of,
        byte_order(archive),
        bytes(archive.bytes_of(NOTE)) if archive.has(NOTE) else None,
        sources(archive) if scripted else {},
        read_pickle(archive, CONSTANTS, "constants/") if scripted else (),
        archive.unclaimed,
    )


def sources(archive: Archive) -> dict[str, str]:
    """Return the code of TorchScript by module: code/__torch__/a/b.py is that of __torch__.a.b."""
    start = archive.top + CODE
    names = [n for n in archive.members if n.startswith(start) and n.endswith(".py")]
    return {
        name[len(start) : -len(".py")].replace("/", "."): str(
            archive.bytes_of(name.removeprefix(archive.top)), "utf-8", "replace"
        )
        for name in names
    }
