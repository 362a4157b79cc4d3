"""What a checkpoint of version 1 holds, as its header says it; the layout is in the package."""

from collections.abc import Iterator
from typing import NamedTuple

from ...binary.wire import as_bytes, as_number, as_text, fields, read_varint, text
from ...errors import CorruptCheckpoint, UnsupportedCheckpoint, noting
from ...spec import checked_nbytes
from ..tf_bundle.protos import Slice, decode_shape, decode_slice, dtype_called

VERSION = 1


class Saved(NamedTuple):
    """A tensor, and the pieces of it that a file has."""

    dtype: str
    shape: tuple[int, ...]
    slices: tuple[Slice, ...]


def decode_header(message: bytes) -> dict[str, Saved]:
    """Return every tensor by name; a name that comes twice is refused."""
    found: dict[str, Saved] = {}
    for name, saved in saved_in(message):
        if name in found:
            raise CorruptCheckpoint(f"the header names the tensor {name!r} twice")
        found[name] = saved
    return found


def saved_in(message: bytes) -> Iterator[tuple[str, Saved]]:
    """Yield the name of every tensor that the header names, and what it says of it."""
    known = Alike()
    for number, value in fields(message):
        for inner, part in fields(as_bytes(value, "the header")) if number == 1 else ():
            if inner == 1:
                yield decode_tensor(as_bytes(part, "a tensor"), known)
            elif inner == 2:
                check_version(as_bytes(part, "the version"))


def check_version(message: bytes) -> None:
    """Refuse a file that a newer TensorFlow must read."""
    asked = as_number(dict(fields(message)).get(2, 0), "the version")
    if asked > VERSION:
        raise UnsupportedCheckpoint(
            f"the checkpoint asks for a reader of version {asked}; this one knows {VERSION}"
        )


class Alike(dict[bytes, Saved]):
    """What is said of a tensor by the bytes that say it, parsed once for all that are alike."""

    def __missing__(self, message: bytes) -> Saved:
        shape, dtype, slices = b"", 0, []
        for number, value in fields(message):
            if number == 2:
                shape += as_bytes(value, "a shape")
            elif number == 3:
                dtype = as_number(value, "a dtype")
            elif number == 4:
                slices.append(as_bytes(value, "a slice"))
        sides = decode_shape(shape)
        pieces = dict.fromkeys(decode_slice(each, len(sides)) for each in slices)
        saved = self[message] = Saved(dtype_called(dtype), sides, tuple(pieces))
        checked_nbytes(saved.dtype, saved.shape)
        return saved


def decode_tensor(message: bytes, known: Alike) -> tuple[str, Saved]:
    """Return the name of a tensor and what the header says of it; the name stands first."""
    at, name = 0, ""
    if message[:1] == b"\x0a":
        size, begin = read_varint(message, 1)
        at = begin + size
        name = as_text(message[begin:at], 1)
    else:
        name = text(message, 1)
    with noting(f"in tensor {name!r}"):
        return name, known[message[at:]]
