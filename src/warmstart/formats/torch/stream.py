"""The form before PyTorch 1.6: pickles back to back, then the storages.

    magic number | protocol 1001 | {"little_endian": ..., ...} | the value | [key, ...]
    for each key: i64 elements | their bytes, little-endian

Each of the first five is a pickle of its own.  A persistent id is ("storage", class, key, location,
elements, view), where the view is None or (key, offset, elements) of a part of the storage, or
("module", class, file, source).
Source: PyTorch 2.13, torch/serialization.py, `_legacy_save` and `_legacy_load`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from ...binary.pickle import brief
from ...binary.window import FileBytes, run_text
from ...errors import CorruptCheckpoint, UnsupportedCheckpoint
from .calls import storage_of
from .contents import Contents, pickle_at
from .nodes import Storage

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001

#: How such a file begins: protocol 2, LONG1 of ten bytes.
START = b"\x80\x02\x8a\x0a" + MAGIC.to_bytes(10, "little")


@dataclass(slots=True)
class Storages:
    """The storages that the pickle speaks of, and where they are found to lie."""

    known: dict[str, Storage] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)

    def persistent(self, identity: Any) -> Any:
        """Return what a persistent id stands for."""
        match identity:
            case ("storage" | b"storage", cls, key, location, elements, None):
                return self.storage(storage_of(cls, key, elements, location))
            case ("storage" | b"storage", cls, key, location, elements, (_, offset, part)):
                root = self.storage(storage_of(cls, key, elements, location))
                return part_of_storage(root, offset, part)
            case ("module" | b"module", cls, _, _):
                return cls
        raise CorruptCheckpoint(f"the pickle refers to {brief(identity)}, which is no storage")

    def storage(self, storage: Storage) -> Storage:
        """Return *storage*, which is the same each time it is spoken of."""
        known = self.known.setdefault(storage.key, storage)
        if known.nbytes != storage.nbytes:
            raise CorruptCheckpoint(
                f"the storage {storage.key!r} has {known.nbytes} bytes, and {storage.nbytes} "
                "where it is named again"
            )
        return known


def part_of_storage(root: Storage, offset: Any, elements: Any) -> Storage:
    """Return a part of a storage, counted in its elements."""
    if type(offset) is not int or type(elements) is not int or min(offset, elements) < 0:
        raise CorruptCheckpoint(f"a part of the storage {root.key!r} is not given by two numbers")
    begin, nbytes = offset * root.itemsize, elements * root.itemsize
    if begin + nbytes > root.nbytes:
        raise CorruptCheckpoint(
            f"a part of the storage {root.key!r} ends at byte {begin + nbytes} of {root.nbytes}"
        )
    return replace(root, begin=begin, nbytes=nbytes)


def read_stream(file: FileBytes) -> Contents:
    """Return what the file holds."""
    magic, at = pickle_at(file, 0)
    protocol, at = pickle_at(file, at)
    if magic != MAGIC or protocol != PROTOCOL:
        raise UnsupportedCheckpoint(
            f"the file is of protocol {brief(protocol)} of torch.save; {PROTOCOL} is known"
        )
    _, at = pickle_at(file, at)
    storages = Storages()
    value, end = pickle_at(file, at, storages.persistent)
    keys, begin = pickle_at(file, end)
    last = place_storages(file, storages, keys, begin)

    def part_of(storage: Storage, begin: int, end: int) -> memoryview:
        place = storages.places[storage.key] + storage.begin
        return file[place + begin : place + end]

    def unclaimed() -> Iterator[str]:
        if last < len(file):
            yield run_text(file, last, len(file))

    return Contents(value, end - at, part_of, unclaimed=unclaimed)


def place_storages(file: FileBytes, storages: Storages, keys: Any, begin: int) -> int:
    """Find where the storage of each key lies, from byte *begin* on; return where the last ends."""
    if not isinstance(keys, list) or not all(isinstance(key, str | int) for key in keys):
        raise CorruptCheckpoint("the pickle after the value is not the list of storages")
    at = begin
    for key in map(str, keys):
        storage = storages.known.get(key)
        if storage is None or key in storages.places:
            raise CorruptCheckpoint(f"the storage {key!r} is listed, and no tensor is in it")
        elements = int.from_bytes(file[at : at + 8], "little")
        if elements * storage.itemsize != storage.nbytes or at + 8 + storage.nbytes > len(file):
            raise CorruptCheckpoint(
                f"the storage {key!r} at byte {at} has {elements} elements, where its tensors "
                f"have {storage.nbytes} bytes and {len(file) - at} are left"
            )
        storages.places[key] = at + 8
        at += 8 + storage.nbytes
    missing = [k for k, s in storages.known.items() if k not in storages.places and not s.missing]
    if missing:
        raise CorruptCheckpoint(f"storages that are not there: {', '.join(map(repr, missing))}")
    return at
