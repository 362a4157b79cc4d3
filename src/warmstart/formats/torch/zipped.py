"""The zip form, since PyTorch 1.6, and TorchScript's, since 1.0.

    TOP/data.pkl  TOP/data/KEY...  [TOP/byteorder  TOP/.format_version  TOP/version  ...]
    TorchScript: also TOP/constants.pkl  TOP/constants/KEY...  TOP/code/...

TOP is any name, mostly that of the file.  Storages are members stored as they are, so that tensors
are views of the mapped file.
Source: PyTorch 2.13, torch/serialization.py, caffe2/serialize/inline_container.h.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ...binary.checksum import crc32_of
from ...binary.pickle import brief, loads
from ...binary.window import FileBytes
from ...binary.zip import Member, member_bytes, read_members, runs_between
from ...errors import CorruptCheckpoint, UnsupportedCheckpoint, noting
from .calls import TORCH, storage_of
from .nodes import Storage

DATA = "data.pkl"
STORAGES = "data/"
CONSTANTS = "constants.pkl"
NOTE = ".data/warmstart"

#: Bytes that a member other than a stored one is unpacked to at most, for each of the archive's:
#: PyTorch deflates nothing, other tools the pickle at best to a twentieth.
UNPACKED, UNPACKED_ONCE = 32, 1 << 20


@dataclass(slots=True)
class Archive:
    """An archive and which of its members have been found sound."""

    file: FileBytes
    verify: bool
    members: dict[str, Member]
    all_members: list[Member]
    top: str
    checksummed: bool
    _sound: set[str] = field(default_factory=set)

    def has(self, name: str) -> bool:
        """Return whether there is a member called *name* below the top folder."""
        return self.top + name in self.members

    def bytes_of(self, name: str) -> memoryview:
        """Return the bytes of the member *name*, checked at their first reading."""
        member = self.member(name)
        with noting(f"in the member {member.name!r}"):
            raw = unpacked(self.file, member)
            if self.verify and self.checksummed and name not in self._sound:
                if crc32_of(raw) != member.crc:
                    raise CorruptCheckpoint(
                        "its CRC-32 is not that of its bytes: they were changed"
                    )
                self._sound.add(name)
        return raw

    def part_of(self, name: str, begin: int, end: int) -> memoryview:
        """Return some bytes of a member: only those are read, once all are known to be sound."""
        member = self.member(name)
        if member.deflated or (self.verify and self.checksummed and name not in self._sound):
            return self.bytes_of(name)[begin:end]
        return self.file[member.begin + begin : member.begin + end]

    def member(self, name: str) -> Member:
        """Return the member *name* below the top folder."""
        try:
            return self.members[self.top + name]
        except KeyError:
            raise CorruptCheckpoint(f"the archive has no member {self.top + name!r}") from None

    def unclaimed(self) -> Iterator[str]:
        """Yield in words the bytes between the members."""
        yield from runs_between(self.file, self.all_members)


def open_archive(file: FileBytes, *, verify: bool) -> Archive:
    """Return the archive that *file* is, which has one pickle of data."""
    all_members = read_members(file)
    members = {member.name: member for member in all_members}
    if len(members) != len(all_members):
        raise CorruptCheckpoint(f"{len(all_members) - len(members)} members are there twice")
    tops = [name.removesuffix(DATA) for name in members if f"/{name}".endswith("/" + DATA)]
    tops = sorted(tops, key=lambda top: (top.count("/"), top))
    if not tops:
        raise CorruptCheckpoint(f"the archive has no member {DATA}")
    checksummed = any(member.crc for member in all_members if member.size)
    return Archive(file, verify, members, all_members, tops[0], checksummed)


def unpacked(file: FileBytes, member: Member) -> memoryview:
    """Return the bytes of *member*: a view of the file, or unpacked where it was deflated."""
    packed = member.end - member.begin
    allowed = UNPACKED_ONCE + UNPACKED * packed
    if member.deflated and member.size > allowed:
        raise UnsupportedCheckpoint(
            f"{packed} bytes unpack to {member.size}, more than {allowed}: no checkpoint does"
        )
    return member_bytes(file, member)


def read_pickle(archive: Archive, name: str, folder: str) -> Any:
    """Return what the pickle *name* holds; its storages are the members in *folder*, "data/"."""

    def persistent(identity: Any) -> Storage:
        match identity:
            case ("storage" | b"storage", cls, key, location, elements):
                storage = storage_of(cls, key, elements, location, folder=folder)
                return checked_storage(archive, storage)
        raise CorruptCheckpoint(f"the pickle refers to {brief(identity)}, which is no storage")

    with noting(f"in the member {archive.top + name!r}"):
        return loads(archive.bytes_of(name), builders=TORCH, persistent=persistent, views=True)


def checked_storage(archive: Archive, storage: Storage) -> Storage:
    """Return *storage*, whose member must be there and large enough."""
    if storage.missing:
        return storage
    member = archive.member(storage.key)
    if member.size < storage.nbytes:
        raise CorruptCheckpoint(
            f"the storage {storage.key!r} has {storage.nbytes} bytes, but its member {member.size}"
        )
    return storage


def byte_order(archive: Archive) -> str:
    """Return "<" or ">", as the archive says; little-endian where it says nothing."""
    if not archive.has("byteorder"):
        return "<"
    order = bytes(archive.bytes_of("byteorder")[:10])
    if order not in (b"little", b"big"):
        raise CorruptCheckpoint(f"the byte order is {order!r}, neither b'little' nor b'big'")
    return "<" if order == b"little" else ">"


__all__ = ["Archive", "byte_order", "open_archive", "read_pickle"]
