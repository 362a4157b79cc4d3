"""What every form of a PyTorch file comes down to: a value, and the bytes of its storages."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...binary.pickle import Truncated, load_at
from ...binary.window import FileBytes
from .calls import TORCH
from .nodes import Storage

#: Bytes of a file that is not mapped in which a pickle is looked for first.
WINDOW = 1 << 20

#: (storage, begin, end) -> those bytes of it.
PartOf = Callable[[Storage, int, int], memoryview]


@dataclass(frozen=True, slots=True)
class Contents:
    """A file as read: `value` is still of nodes, `pickled` how many bytes it was made of."""

    value: Any
    pickled: int
    part_of: PartOf
    byteorder: str = "<"
    note: bytes | None = None
    sources: Mapping[str, str] = field(default_factory=dict)  # of TorchScript: class -> its code
    constants: Any = ()
    unclaimed: Callable[[], Iterator[str]] = lambda: iter(())


def pickle_at(
    file: FileBytes, begin: int, persistent: Callable[[Any], Any] | None = None
) -> tuple[Any, int]:
    """Return the value of the pickle at byte *begin* of *file*, and where it ends.

    A file that is not mapped is read in ever larger pieces, until the pickle is whole.
    """
    if isinstance(file, memoryview):
        return load_at(file, begin, builders=TORCH, persistent=persistent, views=True)
    room = WINDOW
    while True:
        piece = file[begin : begin + room]
        try:
            value, end = load_at(piece, 0, builders=TORCH, persistent=persistent, views=True)
        except Truncated:
            if begin + room >= len(file):
                raise
            room *= 4
        else:
            return value, begin + end
