"""A `.keras` archive, or a folder of the same members, and its description of the model."""

from pathlib import Path

from ...binary.mapped import map_file
from ...binary.window import file_bytes
from ...binary.zip import Member, member_bytes, read_members
from ...errors import CheckpointNotFound, CorruptCheckpoint, UnsupportedCheckpoint
from ..hdf5.opened import Hdf5File
from ..hdf5.source import Hdf5Source
from .names import Lender
from .notes import text_of
from .reading import CONFIG, METADATA, opened

WEIGHTS = "model.weights.h5"
#: member -> the key of its text in the metadata
TEXTS = {"config.json": CONFIG, "metadata.json": METADATA}
MAX_TEXT = 1 << 28


def open_archive(path: Path, *, mmap: bool = True, like: Lender | None = None) -> Hdf5Source:
    """Open the archive at *path*."""
    file = file_bytes(path, mmap=mmap)
    whole = file if isinstance(file, memoryview) else file[:]
    members = members_of(whole)
    if WEIGHTS not in members:
        raise UnsupportedCheckpoint(
            f"the archive holds no {WEIGHTS}, where Keras 3 keeps the values; it holds: "
            f"{', '.join(members)}"
        )
    texts = {
        key: text_of(bytes_of_member(whole, members[name], MAX_TEXT))
        for name, key in TEXTS.items()
        if name in members
    }
    weights = bytes_of_member(whole, members[WEIGHTS])
    return opened(str(path), [Hdf5File.within(weights, WEIGHTS)], texts, like)


def open_folder(path: Path, *, mmap: bool = True, like: Lender | None = None) -> Hdf5Source:
    """Open the folder that `save(..., zipped=False)` makes instead of an archive."""
    texts = {key: text_of(read_text(path / name)) for name, key in TEXTS.items()}
    return opened(str(path), [Hdf5File.at(path / WEIGHTS, mmap=mmap)], texts, like)


def read_text(path: Path) -> bytes:
    """Return the bytes of a small file."""
    if not path.is_file():
        raise CheckpointNotFound(f"{path} is not there; a saved model has it beside {WEIGHTS}")
    data = bytes(map_file(path)[: MAX_TEXT + 1])
    if len(data) > MAX_TEXT:
        raise CorruptCheckpoint(f"{path.name} has more than {MAX_TEXT} bytes")
    return data


def members_of(file: memoryview) -> dict[str, Member]:
    """Return the members by name; two of one name are refused."""
    members = read_members(file)
    found = {member.name: member for member in members}
    if len(found) != len(members):
        raise CorruptCheckpoint("the archive has members of one name")
    return found


def bytes_of_member(file: memoryview, member: Member, limit: int | None = None) -> memoryview:
    """Return the bytes of *member*: a view of the archive, or unpacked."""
    if limit is not None and member.size > limit:
        raise CorruptCheckpoint(f"{member.name} claims {member.size} bytes; {limit} are allowed")
    return member_bytes(file, member)
