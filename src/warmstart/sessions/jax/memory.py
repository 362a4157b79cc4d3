"""Memory that is free given back to the system while the values of a model are replaced.

What XLA has made lies in blocks of glibc's heap, of up to 32 MiB each.  One that is let go leaves a
hole there, and what takes its place lies elsewhere (see `binary.room`).  Without this a model that
is filled grows by what it had, which is free and taken all the same.
"""

import sys
from collections.abc import Callable
from ctypes import CDLL
from functools import cache

#: How many bytes are replaced before what is free is given back, which takes a millisecond.
ENOUGH = 8 << 20


class Replaced:
    """How much has been replaced since free memory was given back."""

    def __init__(self) -> None:
        self._nbytes = 0

    def add(self, nbytes: int) -> None:
        """Count *nbytes*, and give back what is free if it is enough to be worth it."""
        self._nbytes += nbytes
        if self._nbytes >= ENOUGH:
            self._nbytes = 0
            trim()


def trim() -> None:
    """Give the system back all memory that is free, where the C library can."""
    function = malloc_trim()
    if function is not None:
        function(0)


@cache
def malloc_trim() -> Callable[[int], int] | None:
    """Return glibc's function of that name; other C libraries have none."""
    return getattr(CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
