"""Python's search for garbage, put off where very many objects are made and all are kept."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collection_paused() -> Iterator[None]:
    """Search for no garbage while the block runs; what it makes would be looked at again and again.

    Of two threads that do so the first to come through lets the search go on.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
