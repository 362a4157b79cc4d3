"""Keys of dicts and items of sets, of which a pickle may only make what is cheap to look up.

Python hashes a tuple anew each time and as deep as it goes, and compares equal ones to the end; and
tuples of numbers can be found that all have one hash.  A few bytes could so cost hours.
"""

from collections.abc import Iterable
from typing import Any

from ...errors import CorruptCheckpoint, UnsupportedCheckpoint
from .nodes import Call, Global

MAX_TEXT = 1 << 16
MAX_PARTS = 64  # of a tuple, all levels together
MAX_NUMERIC = 10_000  # keys that are tuples with numbers in them, or complex

SIMPLE = frozenset((float, bool, type(None), Global, Call))


class Keys:
    """The keys of one pickle, or of one call in it."""

    def __init__(self) -> None:
        self._numeric = 0

    def checked(self, keys: Iterable[Any]) -> list[Any]:
        """Return *keys*, or refuse those that no checkpoint has."""
        keys = list(keys)
        self.check(keys)
        return keys

    def check(self, keys: Iterable[Any]) -> None:
        """Refuse those of *keys* that no checkpoint has."""
        for key in keys:
            kind = type(key)
            if kind is str or kind is bytes:
                if len(key) > MAX_TEXT:
                    raise UnsupportedCheckpoint(
                        f"a key has {len(key)} characters; {MAX_TEXT} are allowed"
                    )
            elif kind is int:
                if not -(2**63) <= key < 2**64:
                    raise UnsupportedCheckpoint("a key is a number of more than 64 bits")
            elif kind not in SIMPLE:
                self._check_compound(key)

    def _check_compound(self, key: Any) -> None:
        parts = parts_of(key)
        self.check(part for part in parts if not isinstance(part, complex))
        if any(isinstance(part, int | float | complex) for part in parts):
            self._numeric += 1
        if self._numeric > MAX_NUMERIC:
            raise UnsupportedCheckpoint(
                f"more than {MAX_NUMERIC} keys are tuples of numbers; so many could be made to "
                "take hours"
            )


def parts_of(key: Any) -> list[Any]:
    """Return what lies in the tuples and frozen sets of *key*, or *key* itself."""
    found, waiting, steps = [], [key], 0
    while waiting:
        part = waiting.pop()
        steps += 1
        if steps > MAX_PARTS:
            raise UnsupportedCheckpoint(f"a key is a tuple of more than {MAX_PARTS} parts")
        if isinstance(part, tuple | frozenset):
            waiting += part if len(part) <= MAX_PARTS else [part] * MAX_PARTS
        elif isinstance(part, complex) or type(part) in (str, bytes, int, *SIMPLE):
            found.append(part)
        else:
            raise CorruptCheckpoint(f"a key is a {type(part).__name__}, which cannot be one")
    return found
