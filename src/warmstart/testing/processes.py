"""Threads in the place of processes, for tests of what several processes do together.

results = run_together(lambda processes: save_together(..., processes), count=3)
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..processes import Processes, Store


class MemoryStore:
    """A store for the threads of one process."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self._changed = threading.Condition()

    def put(self, key: str, value: bytes) -> None:
        """Set *key*; a second value for it is a fault of what is tested."""
        with self._changed:
            if key in self.values:
                raise ValueError(f"{key!r} was put twice")
            self.values[key] = value
            self._changed.notify_all()

    def get(self, key: str, timeout: float) -> bytes | None:
        """Return the value of *key*, waiting at most *timeout* seconds for it."""
        with self._changed:
            self._changed.wait_for(lambda: key in self.values, timeout)
            return self.values.get(key)

    def delete(self, key: str) -> None:
        """Forget *key*."""
        del self.values[key]


def run_together(
    do: Callable[[Processes], Any],
    count: int = 3,
    *,
    timeout: float = 5.0,
    store: Store | None = None,
) -> list[Any]:
    """Return what *do* returns in each of *count* processes, or the exception that it raises."""
    shared = store or MemoryStore()

    def one(rank: int) -> Any:
        try:
            return do(Processes(rank, count, shared, timeout))
        except Exception as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))
