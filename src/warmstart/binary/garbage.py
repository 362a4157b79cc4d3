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
            grown_old()
            gc.enable()


def grown_old() -> None:
    """Have all that was made looked at with the oldest things, and not at once: it takes long.

    What somebody has frozen stays frozen, and then the search is what it was.
    """
    if not gc.get_freeze_count():
        gc.freeze()
        gc.unfreeze()  # into the oldest generation
