"""Where one of several processes is killed: at some of its changes of files, or at all of them."""

import os
from collections.abc import Iterable, Sequence

STRIDE = int(os.environ.get("WARMSTART_CRASH_STRIDE", "0"))

#: Seconds that one process waits for the other when that was killed.
SOON = 2.0


def tried(count: int, some: Sequence[int]) -> Iterable[int]:
    """Return which of *count* points are tried: *some*, or as many as the environment says."""
    return range(STRIDE - 1, count, STRIDE) if STRIDE else some


def newest(points: list[list[str]]) -> set[str]:
    """Return the checkpoints that may be resumed after these changes by process 0.

    One whose index is there, and that the file `checkpoint` did not yet name, may be, or not.
    """
    committed, pointed = "", ""
    for call, _, to in points:
        if call == "replace" and to.startswith("model-") and to.endswith(".index"):
            committed = to.removesuffix(".index")
        if call == "replace" and to == "checkpoint":
            pointed = committed
    return {committed, pointed} - {""} or {"None"}
