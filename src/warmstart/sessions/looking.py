"""Mappings over a live model that look through all of it only when they must.

live.specs["fc.weight"]        one tensor is looked at, where it was seen last
list(live.specs)               the model is looked through
specs = live.specs             and so it is once, however much is asked of *specs* after that
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

T = TypeVar("T")


class Unsure(Exception):
    """What was seen last does not tell."""


class Live(Mapping[str, T]):
    """Values by name: first asked for one by one, then all of them, as of that moment."""

    def __init__(self, last_seen: Callable[[str], T], look: Callable[[], Mapping[str, T]]) -> None:
        """Ask *last_seen* for one value; it may raise KeyError or Unsure.  *look* returns all."""
        self._last_seen = last_seen
        self._look = look
        self._all: Mapping[str, T] | None = None

    def __getitem__(self, name: str) -> T:
        if self._all is None:
            try:
                return self._last_seen(name)
            except Unsure:
                pass
        return self._whole()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole())

    def __len__(self) -> int:
        return len(self._whole())

    def __repr__(self) -> str:
        return repr(dict(self))

    def _whole(self) -> Mapping[str, T]:
        if self._all is None:
            self._all = self._look()
        return self._all
