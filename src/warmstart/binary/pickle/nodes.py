"""What stands in a value for the names and calls of its pickle."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Global:
    """Something that the pickle asks to be imported, which nobody does."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False, slots=True)
class Call:
    """A call that nobody makes: an object of a class that the table of builders does not have.

    `function` is a `Global`, or whatever else the pickle asks to be called.  `items` are pairs that
    would be set on the object, `appended` what would be appended or added to it.
    """

    function: Any
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] | None = None
    state: Any = None
    appended: Sequence[Any] = ()
    items: Sequence[tuple[Any, Any]] = ()

    def set_state(self, state: Any) -> None:
        self.state = state

    def append(self, values: Sequence[Any]) -> None:
        self.appended = extended(self.appended, values)

    def set_items(self, pairs: Sequence[tuple[Any, Any]]) -> None:
        self.items = extended(self.items, pairs)


def extended(before: Sequence[Any], more: Sequence[Any]) -> list[Any]:
    """Return *before* with *more* after it: itself, once it is a list."""
    longer = before if isinstance(before, list) else []
    longer.extend(more)
    return longer


class Attributed(dict[Any, Any]):
    """A dict that had a class of its own (OrderedDict, defaultdict): `state` are its attributes."""

    state: Any = None

    def set_state(self, state: Any) -> None:
        self.state = state


def brief(value: Any) -> str:
    """Return *value* in a word for a message; its parts, which may go very deep, are left out."""
    if isinstance(value, str | bytes):
        return repr(value[:60])
    if value is None or (isinstance(value, int | float) and abs(value) < 2**64):
        return repr(value)
    return str(value)[:100] if isinstance(value, Global) else f"a {type(value).__name__}"
