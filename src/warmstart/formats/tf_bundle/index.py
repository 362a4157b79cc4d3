"""The index of a bundle: its header, its entries, and a lazy mapping of specs over them.

A name is looked up in one block of the table; only a listing decodes all of it.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, ItemsView, Iterator, Mapping, ValuesView
from functools import cached_property

from ...binary.table import Table
from ...binary.window import FileBytes
from ...binary.wire import as_number, fields
from ...errors import CheckpointError, CorruptCheckpoint, number_of
from ...spec import RUN_PREFIX, TensorSpec
from ..notes import ByLists, Notes
from .protos import (
    ARRAY_HEADS,
    Entry,
    Heads,
    decode_entry,
    decode_header,
    head_end,
    kind_of_no_array,
)

#: The scalar string tensor that holds the note on roles, aliases and metadata.
NOTE = RUN_PREFIX + "state"


class Index:
    """What an index file says."""

    def __init__(self, data: FileBytes, *, verify: bool) -> None:
        self._table = Table(data, verify=verify)
        self.known_heads = Heads()
        self.no_arrays: dict[str, str] = {}  # name -> kind, once the entries have been gone through
        header = self._table.get(b"")
        if header is None:
            raise CorruptCheckpoint("the table has no header: it is no index of a bundle")
        self.header = decode_header(header)

    def find(self, name: str) -> Entry | None:
        """Return the entry of the tensor *name*, or None."""
        try:
            key = name.encode()
        except UnicodeEncodeError:  # a lone surrogate, which no name in a file can have
            return None
        return None if is_hidden(key) else self.find_key(key)

    def find_key(self, key: bytes) -> Entry | None:
        """Return the entry of *key*, which may be that of a slice, or None."""
        message = self._table.get(key)
        return None if message is None else decode_entry(message, self.known_heads)

    def decoded(self, message: bytes) -> Entry:
        """Return the entry in *message*."""
        return decode_entry(message, self.known_heads)

    def messages(self, *, hidden: Collection[str] = ()) -> tuple[list[str], list[bytes]]:
        """Return every name but the *hidden*, sorted, and the encoded entries beside them.

        Entries that are no arrays (TensorFlow's resources and variants, and dtypes of a newer one)
        are left out, with one warning.
        """
        names: list[str] = []
        messages: list[bytes] = []
        for some_names, some_messages in self._parts(hidden):
            names += some_names
            messages += some_messages
        return names, messages

    def _parts(self, hidden: Collection[str]) -> Iterator[tuple[list[str], list[bytes]]]:
        """Yield what `messages` returns, block by block: a million entries need not be kept."""
        hidden, left_out = set(hidden), dict[str, str]()
        for keys, values in self._table.blocks():
            first = bisect_left(keys, b"\1")  # before it: the header and slices
            names, messages = decoded(keys[first:]), values[first:]
            if not {message[:2] for message in messages} <= ARRAY_HEADS:
                odd = zip(names, map(kind_of_no_array, messages), strict=True)
                left_out |= {name: kind for name, kind in odd if kind}
            if not (hidden.isdisjoint(names) and left_out.keys().isdisjoint(names)):
                pairs = zip(names, messages, strict=True)
                kept = [(n, m) for n, m in pairs if n not in hidden and n not in left_out]
                names, messages = [n for n, _ in kept], [m for _, m in kept]
            yield names, messages
        if left_out and not self.no_arrays:
            warn_of_no_arrays(left_out)
        self.no_arrays = left_out

    def has_array(self, name: str) -> bool:
        """Return whether there is an array called *name*."""
        key = name.encode(errors="replace")
        message = None if is_hidden(key) else self._table.get(key)
        return message is not None and kind_of_no_array(message) is None

    def places(self) -> Iterator[tuple[int, int, int]]:
        """Yield data file, offset and size of all that is stored: pieces, and no arrays, too."""
        for keys, values in self._table.blocks():
            for key, message in zip(keys, values, strict=True):
                numbers = dict(fields(message))
                if key and 7 not in numbers:  # a tensor in pieces has no place itself
                    shard, offset, size = (numbers.get(n, 0) for n in (3, 4, 5))
                    yield (
                        as_number(shard, "a data file"),
                        as_number(offset, "an offset"),
                        as_number(size, "a size"),
                    )

    def unclaimed(self) -> Iterator[str]:
        """Yield each run of bytes of the index that is in no block, in words."""
        return self._table.unclaimed()

    def heads(self, hidden: Collection[str]) -> Iterator[tuple[str, tuple[str, tuple[int, ...]]]]:
        """Yield every name but the *hidden* with its dtype and shape, all that a listing needs."""
        heads, name = self.known_heads, ""
        try:
            for names, messages in self._parts(hidden):
                for name, message in zip(names, messages, strict=True):
                    yield name, heads[message[: head_end(message)]]
        except CheckpointError as error:
            error.add_note(f"in tensor {name!r}")
            raise


def warn_of_no_arrays(kinds: Mapping[str, str]) -> None:
    """Say which tensors are left out, with what they are."""
    import logging  # 3 ms, which a listing does without

    logging.getLogger("warmstart").warning(
        "%s left out, being no arrays: %s",
        number_of(len(kinds), "tensor"),
        ", ".join(f"{name} ({kind})" for name, kind in kinds.items()),
    )


def is_hidden(key: bytes) -> bool:
    """Return whether *key* is the header's or a slice's, not a tensor's name."""
    return not key or key[0] == 0


def decoded(keys: list[bytes]) -> list[str]:
    """Return the names that *keys* are."""
    try:
        return [key.decode() for key in keys]
    except UnicodeDecodeError as error:
        raise CorruptCheckpoint(f"the name {error.object[:60]!r} is not UTF-8 text") from error


class Specs(Mapping[str, TensorSpec]):
    """The specs of a bundle by name, sorted, decoded when they are asked for."""

    def __init__(self, index: Index, notes: Callable[[], Notes]) -> None:
        """Show *index* with the roles and without the aliases that *notes* returns."""
        self._index = index
        self._notes = notes

    def __getitem__(self, name: str) -> TensorSpec:
        entry = self._index.find(name) if name in self else None
        if entry is None:
            raise KeyError(name)
        return TensorSpec(name, entry.dtype, entry.shape, role_of(name, self._notes().roles))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and not self._is_hidden(name) and self._index.has_array(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def items(self) -> ItemsView[str, TensorSpec]:
        return self._all.items()

    def values(self) -> ValuesView[TensorSpec]:
        return self._all.values()

    def _is_hidden(self, name: str) -> bool:
        return name == NOTE or name in self._notes().aliases

    @cached_property
    def _all(self) -> dict[str, TensorSpec]:
        roles = self._notes().roles
        role = (roles.whole if isinstance(roles, ByLists) else roles).get
        heads = self._index.heads({NOTE, *self._notes().aliases})
        specs = {name: TensorSpec(name, *head, role(name)) for name, head in heads}
        for name in [name for name in specs if name.startswith(RUN_PREFIX)]:
            specs[name] = specs[name]._replace(role="run")
        return specs


def role_of(name: str, roles: Mapping[str, str]) -> str | None:
    """Return the role of *name*: run state is known by its name."""
    return "run" if name.startswith(RUN_PREFIX) else roles.get(name)
