"""The index of a bundle: its header, its entries, and a lazy mapping of specs over them.

A name is looked up in one block of the table; only a listing decodes all of it.
"""

import logging
from collections.abc import Callable, ItemsView, Iterator, Mapping, ValuesView
from functools import cached_property

from ...binary.mapped import Mapped
from ...binary.table import Table
from ...errors import CorruptCheckpoint, UnsupportedCheckpoint
from ...spec import RUN_PREFIX, TensorSpec
from ..notes import Notes
from .protos import Entry, Heads, decode_entry, decode_header, head_end

#: The scalar string tensor that holds the note on roles, aliases and metadata.
NOTE = RUN_PREFIX + "state"

LOG = logging.getLogger("warmstart")


class Index:
    """What an index file says."""

    def __init__(self, data: Mapped, *, verify: bool) -> None:
        self._table = Table(data, verify=verify)
        self._heads = Heads()
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
        return None if message is None else decode_entry(message, self._heads)

    def entries(self) -> Iterator[tuple[str, Entry]]:
        """Yield every tensor's name and entry, sorted; those that are no arrays are left out."""
        heads = self._heads
        for name, message in self._messages():
            yield name, decode_entry(message, heads)

    def heads(self) -> Iterator[tuple[str, tuple[str, tuple[int, ...]]]]:
        """Yield every tensor's name, and its dtype and shape: what a listing needs, faster."""
        heads = self._heads
        for name, message in self._messages():
            yield name, heads[message[: head_end(message)]]

    def _messages(self) -> Iterator[tuple[str, bytes]]:
        """Yield every tensor's name and encoded entry; warn of those left out, being no arrays."""
        heads, opaque = self._heads, []
        for items in self._table.blocks():
            for key, message in items:
                if is_hidden(key):
                    continue
                name = decoded(key)
                try:
                    heads[message[: head_end(message)]]
                except UnsupportedCheckpoint as error:
                    opaque.append(f"{name!r} ({error})")
                else:
                    yield name, message
        if opaque:
            LOG.warning("%d tensors are left out: %s", len(opaque), "; ".join(opaque))


def is_hidden(key: bytes) -> bool:
    """Return whether *key* is the header's or a slice's, not a tensor's name."""
    return not key or key[0] == 0


def decoded(key: bytes) -> str:
    """Return the name that *key* is."""
    try:
        return key.decode()
    except UnicodeDecodeError as error:
        raise CorruptCheckpoint(f"the name {key[:60]!r} is not UTF-8 text") from error


class Specs(Mapping[str, TensorSpec]):
    """The specs of a bundle by name, sorted, decoded when they are asked for."""

    def __init__(self, index: Index, notes: Callable[[], Notes]) -> None:
        """Show *index* with the roles and without the aliases that *notes* returns."""
        self._index = index
        self._notes = notes

    def __getitem__(self, name: str) -> TensorSpec:
        entry = None if self._is_hidden(name) else self._index.find(name)
        if entry is None:
            raise KeyError(name)
        return TensorSpec(name, entry.dtype, entry.shape, role_of(name, self._notes().roles))

    def __contains__(self, name: object) -> bool:
        return (
            isinstance(name, str)
            and not self._is_hidden(name)
            and self._index.find(name) is not None
        )

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
        aliases = self._notes().aliases
        return {
            name: TensorSpec(name, dtype, shape, role_of(name, roles))
            for name, (dtype, shape) in self._index.heads()
            if name != NOTE and name not in aliases
        }


def role_of(name: str, roles: Mapping[str, str]) -> str | None:
    """Return the role of *name*: run state is known by its name."""
    return "run" if name.startswith(RUN_PREFIX) else roles.get(name)
