"""What `warmstart ls` prints of a folder of several checkpoints."""

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from ..errors import number_of
from ..files.folder import Entry, Folder
from ..spec import size_text
from .output import columns

HEADER = ("NAME", "FORMAT", "STEP", "AGE", "SIZE", "TENSORS", "STATE")
HEADER_IN_A_PIPE = ("NAME", "FORMAT", "STEP", "MODIFIED", "SIZE", "TENSORS", "STATE")

#: Seconds in each unit, the largest first.
UNITS = {"year": 31_557_600, "day": 86_400, "h": 3600, "min": 60, "s": 1}
MAX_REASON = 100  # characters of a reason, on a terminal


def listing(found: Folder, now: float | None = None) -> Iterator[str]:
    """Yield the lines of a folder's listing: checkpoints, the latest last, and totals."""
    for_people = sys.stdout.isatty()
    seen_at = time.time() if now is None else now
    rows = [row(entry, seen_at if for_people else None) for entry in found.checkpoints]
    if rows:
        yield from columns([HEADER if for_people else HEADER_IN_A_PIPE, *rows])
    yield from (f"{left}, {size_text(left.nbytes)}" for left in found.leftovers)
    yield ""
    total = size_text(sum(entry.nbytes for entry in found.checkpoints))
    yield f"{number_of(len(found.checkpoints), 'checkpoint')}, {total}"


def row(entry: Entry, now: float | None) -> tuple[str, ...]:
    """Return the cells of *entry*; without *now* the time and the size are for programs."""
    if now is None:
        when, size = datetime.fromtimestamp(entry.modified, UTC).isoformat("T", "seconds"), None
    else:
        when, size = age_text(now - entry.modified), size_text(entry.nbytes)
    state = " ".join(entry.state.split())
    if now is not None and len(state) > MAX_REASON:
        state = state[: MAX_REASON - 3] + "..."
    return (
        entry.name,
        entry.format or "-",
        "-" if entry.step is None else str(entry.step),
        when,
        size or str(entry.nbytes),
        "-" if entry.tensors is None else str(entry.tensors),
        f"{state} (latest)" if entry.latest else state,
    )


def age_text(seconds: float) -> str:
    """Return an age as people say it.

    >>> age_text(200), age_text(200_000), age_text(3700), age_text(-5)
    ('3 min', '2 days', '1 h', '0 s')
    """
    seconds = max(seconds, 0)
    unit = next((unit for unit, length in UNITS.items() if seconds >= length), "s")
    count = int(seconds // UNITS[unit])
    return f"{count} {unit}s" if unit in ("year", "day") and count > 1 else f"{count} {unit}"
