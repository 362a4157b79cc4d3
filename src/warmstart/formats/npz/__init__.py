"""NumPy's own files: one array (.npy), or a zip archive of them (.npz).

    .npy = "\\x93NUMPY" | u8 major | u8 minor | u16 or u32 n | n bytes of header | values
    .npz = a zip archive of .npy members, stored or deflated

The header is a Python literal, {'descr': ..., 'fortran_order': ..., 'shape': ...}; it is parsed
here.  The one array of an .npy file is named after the file.  An array of objects is a pickle; it
is read without running it, and what it holds is taken apart (`objects`).  What this library notes
(`formats.notes`: roles, aliases, metadata, and the dtypes that NumPy saves as raw bytes, such as
bfloat16) is in the member `_RUN/state.npy`, JSON as uint8.
Source: NumPy 2.4, numpy/lib/format.py.
"""

from pathlib import Path

from ...binary.window import opened
from ...errors import CannotHold
from ...source import Source
from .npy import MAGIC
from .reading import NpzSource, open_npy
from .writing import write_npz

EXTENSIONS = (".npz", ".npy")
OPTIONS = frozenset({"mmap"})
CHECKS = (
    "structure, the CRC-32 of every member of the zip (a lone .npy has no checksum), and that "
    "every byte is accounted for"
)


def locate(path: Path) -> Path | None:
    """Return *path* if it is a file called so, or one that begins so."""
    if not path.is_file():
        return None
    return path if path.name.lower().endswith(EXTENSIONS) or looks_like(path) else None


def looks_like(path: Path) -> bool:
    """Return whether the file is an .npy, or a zip archive whose first member is one."""
    with opened(path) as file:
        start = file.read(30)
        if start.startswith(MAGIC):
            return True
        name = file.read(int.from_bytes(start[26:28], "little"))
    return start.startswith(b"PK\3\4") and name.endswith(b".npy")


def open_source(path: Path, *, verify: bool, mmap: bool = True) -> Source:
    """Open an archive, or a single array; with *verify* each member's CRC-32 is checked."""
    with opened(path) as file:
        start = file.read(len(MAGIC))
    single = start == MAGIC or (path.suffix.lower() == ".npy" and not start.startswith(b"PK"))
    return open_npy(path, mmap=mmap) if single else NpzSource(path, verify=verify, mmap=mmap)


def save_source(source: Source, path: Path) -> None:
    """Write *source* as an archive; an .npy has no place for names and is refused."""
    if path.name.lower().endswith(".npy"):
        raise CannotHold(
            f"an .npy file holds one array without a name; save to {path.stem}.npz instead"
        )
    write_npz(source, path)
