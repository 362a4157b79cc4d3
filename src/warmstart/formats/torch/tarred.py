"""The oldest form, of PyTorch 0.1: a tar archive of three files.

    storages  n | n times: (key, location, class), i64 elements, their bytes | [(key, root, offset,
              elements), ...]
    tensors   n | n times: (key, storage, class), i32 dimensions, i32 0, i64 shape, i64 strides,
              i64 offset
    pickle    the value; a persistent id is the key of a tensor or a storage

Keys, counts and tuples are pickles of their own; numbers are little-endian.
Source: PyTorch 2.13, torch/serialization.py, `_legacy_load.legacy_load`; POSIX.1-1988, "ustar".
"""

from struct import Struct
from typing import Any

from ...binary.pickle import brief
from ...binary.window import FileBytes
from ...errors import CorruptCheckpoint, noting
from .calls import storage_of, tensor
from .contents import Contents, pickle_at
from .nodes import Storage, Tensor
from .stream import part_of_storage

BLOCK = 512
RECORD = 20 * BLOCK  # what tar writes at a time
MEMBERS = ("storages", "tensors", "pickle")
RANK = Struct("<ii")


def is_tar(start: bytes) -> bool:
    """Return whether a file that begins with *start* is a tar archive, by its checksum."""
    if len(start) < BLOCK:
        return False
    try:
        stated = int(start[148:156].strip(b" \0") or b"-", 8)
    except ValueError:
        return False
    return sum(start[:148]) + 8 * 0x20 + sum(start[156:BLOCK]) == stated


def members_of(file: FileBytes) -> dict[str, tuple[int, int]]:
    """Return where the data of each file in the archive begin and end."""
    if len(file) % RECORD:
        raise CorruptCheckpoint(
            f"the tar archive has {len(file)} bytes, not a multiple of {RECORD}: it was cut short"
        )
    found: dict[str, tuple[int, int]] = {}
    at = 0
    while at + BLOCK <= len(file):
        header = bytes(file[at : at + BLOCK])
        if not any(header):
            break
        if not is_tar(header):
            raise CorruptCheckpoint(f"the tar archive has no header at byte {at}")
        name = header[:100].rstrip(b"\0").decode("utf-8", "replace")
        size = size_in(header)
        begin = at + BLOCK
        if begin + size > len(file):
            raise CorruptCheckpoint(f"{name!r} in the tar archive claims {size} bytes")
        if header[156:157] in (b"0", b"\0"):
            found.setdefault(name.removeprefix("./"), (begin, begin + size))
        at = begin + -(-size // BLOCK) * BLOCK
    missing = [name for name in MEMBERS if name not in found]
    if missing:
        raise CorruptCheckpoint(f"the tar archive lacks {', '.join(missing)}")
    return found


def size_in(header: bytes) -> int:
    """Return the bytes of the member under *header*; a negative number would lead back to it."""
    digits = header[124:136].strip(b" \0") or b"0"
    if digits.strip(b"01234567"):
        raise CorruptCheckpoint(f"a member of the tar archive has {digits!r} bytes, not a number")
    return int(digits, 8)


def read_tar(file: FileBytes) -> Contents:
    """Return what the file holds."""
    places = members_of(file)
    objects: dict[str, Storage | Tensor] = {}
    with noting("in 'storages'"):
        begins = read_storages(file, *places["storages"], objects)
    with noting("in 'tensors'"):
        read_tensors(file, *places["tensors"], objects)

    def persistent(identity: Any) -> Any:
        key = identity[0] if isinstance(identity, tuple) and identity else identity
        if isinstance(key, str | int):
            return known(objects, key)
        return key  # the class of a module, beside its source

    def part_of(storage: Storage, begin: int, end: int) -> memoryview:
        place = begins[storage.key] + storage.begin
        return file[place + begin : place + end]

    begin, end = places["pickle"]
    with noting("in 'pickle'"):
        value, _ = pickle_at(file[:end], begin, persistent)
    return Contents(value, end - begin, part_of)


def known(objects: dict[str, Storage | Tensor], key: Any) -> Storage | Tensor:
    """Return the storage or the tensor called *key*."""
    found = objects.get(str(key)) if isinstance(key, str | int) else None
    if found is None:
        raise CorruptCheckpoint(f"there is no storage and no tensor {brief(key)}")
    return found


def counted(file: FileBytes, begin: int) -> tuple[int, int]:
    """Return the number in the pickle at *begin*, and where it ends."""
    n, at = pickle_at(file, begin)
    if type(n) is not int or n < 0:
        raise CorruptCheckpoint(f"there are {brief(n)} entries")
    return n, at


def triple(file: FileBytes, begin: int) -> tuple[Any, Any, Any, int]:
    """Return the three values of the tuple in the pickle at *begin*, and where it ends."""
    value, at = pickle_at(file, begin)
    match value:
        case (key, second, third) if isinstance(key, str | int):
            return key, second, third, at
    raise CorruptCheckpoint(f"an entry is {brief(value)}, not a key and two values")


def read_storages(
    file: FileBytes, begin: int, end: int, objects: dict[str, Storage | Tensor]
) -> dict[str, int]:
    """Enter all storages in *objects*; return where the bytes of each begin."""
    file = file[:end]
    begins: dict[str, int] = {}
    n, at = counted(file, begin)
    for _ in range(n):
        key, location, cls, at = triple(file, at)
        elements = int.from_bytes(file[at : at + 8], "little")
        storage = storage_of(cls, key, elements, location)
        at += 8
        if at + storage.nbytes > end:
            raise CorruptCheckpoint(
                f"the storage {storage.key!r} has {storage.nbytes} bytes; {end - at} are left"
            )
        objects[storage.key], begins[storage.key] = storage, at
        at += storage.nbytes
    views, _ = pickle_at(file, at)
    for key, root_key, offset, elements in as_views(views):
        root = known(objects, root_key)
        if not isinstance(root, Storage):
            raise CorruptCheckpoint(f"{brief(root_key)} is no storage")
        objects[str(key)] = part_of_storage(root, offset, elements)
    return begins


def as_views(views: Any) -> list[tuple[Any, ...]]:
    """Return the list of views, each of four values."""
    if isinstance(views, list | tuple) and all(
        isinstance(view, tuple) and len(view) == 4 for view in views
    ):
        return list(views)
    raise CorruptCheckpoint(f"the parts of storages are {brief(views)}, not a list of fours")


def read_tensors(
    file: FileBytes, begin: int, end: int, objects: dict[str, Storage | Tensor]
) -> None:
    """Enter all tensors in *objects*."""
    file = file[:end]
    n, at = counted(file, begin)
    for _ in range(n):
        key, storage_key, _, at = triple(file, at)
        if at + RANK.size > end:
            raise CorruptCheckpoint(f"the tensor {brief(key)} is cut short")
        rank, _ = RANK.unpack(file[at : at + RANK.size])
        at += RANK.size
        if not 0 <= rank <= (end - at) // 16:
            raise CorruptCheckpoint(f"the tensor {brief(key)} has {rank} dimensions")
        numbers = Struct(f"<{2 * rank + 1}q")
        if at + numbers.size > end:
            raise CorruptCheckpoint(f"the tensor {brief(key)} is cut short")
        *sizes, offset = numbers.unpack(file[at : at + numbers.size])
        at += numbers.size
        storage = known(objects, storage_key)
        objects[str(key)] = tensor(storage, offset, tuple(sizes[:rank]), tuple(sizes[rank:]))
