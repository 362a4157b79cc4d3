"""A folder while a command writes into it: when it changes, and whether a save was cut short."""

import os
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import CheckpointError
from ..files.folder import survey
from ..train.newest import newest_first

POLL = 0.001  # seconds
GAP = 0.05  # seconds without a change that end a save, as far as can be seen from outside

#: What a folder holds, to be compared: path -> size and time of change.
Seen = dict[str, tuple[int, int]]


def seen_in(folder: Path) -> Seen:
    """Return every file below *folder* with its size and time; what has just gone is left out."""
    found: Seen = {}
    waiting = [str(folder)]
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                with suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    found[entry.path] = (status.st_size, status.st_mtime_ns)
    return found


@dataclass(slots=True)
class Watch:
    """The changes of a folder, with the seconds at which they were seen."""

    folder: Path
    times: list[float] = field(default_factory=list)
    _passed: set[str] = field(default_factory=set)
    _first: Seen = field(default_factory=dict)
    _last: Seen = field(default_factory=dict)
    _since: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._first = self._last = seen_in(self.folder)

    @property
    def passing(self) -> frozenset[str]:
        """The names of files that were there for a moment only, as saves name them at first."""
        return frozenset(self._passed) - {Path(path).name for path in self._last}

    def new(self) -> list[str]:
        """Return the paths of the files that are new or changed since the watch began."""
        return [
            path for path, what in seen_in(self.folder).items() if self._first.get(path) != what
        ]

    def look(self, seconds: float) -> bool:
        """Return whether the folder has changed since the last look; *seconds* is now."""
        now = seen_in(self.folder)
        changed = now != self._last
        if changed:
            self.times.append(seconds)
            self._note(now, seconds)
        self._last = now
        return changed

    def look_in_passing(self, seconds: float) -> bool:
        """Do the same, and rest, so that looking takes no more than a tenth of the time."""
        began = time.perf_counter()
        changed = self.look(seconds)
        time.sleep(max(POLL, 9 * (time.perf_counter() - began)))
        return changed

    def _note(self, now: Seen, seconds: float) -> None:
        """Remember since when files are there, and those that are gone already."""
        self._since |= dict.fromkeys(now.keys() - self._last.keys(), seconds)
        for path in self._last.keys() - now.keys():
            if seconds - self._since.get(path, -GAP) < GAP:
                self._passed.add(Path(path).name)


def save_lengths(times: list[float]) -> list[float]:
    """Return how long each run of changes took that no gap interrupts.

    >>> save_lengths([1.0, 1.01, 1.02, 3.0, 3.01])
    [0.02, 0.01]
    """
    lengths: list[float] = []
    begin = last = None
    for now in [*times, float("inf")]:
        if begin is None or last is None or now - last > GAP:
            if begin is not None and last is not None:
                lengths.append(round(last - begin, 6))
            begin = now
        last = now
    return lengths


def cut_short(watch: Watch, passing: Collection[str] = ()) -> str:
    """Return what shows that a save was stopped on its way since the watch began; "" if nothing.

    That is a temporary file, known by its name or one of those that are only *passing*, a
    checkpoint that is torn, or one that is whole while the file `checkpoint` does not point to it
    yet.
    """
    new = {Path(path).name for path in watch.new()}
    for place, below, files in os.walk(watch.folder):
        below.sort()
        for name, what in signs_in(Path(place), {*below, *files}.intersection(passing)):
            if any(each.startswith(name) for each in new):
                return what
    return ""


def signs_in(folder: Path, passing: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield what *folder* has of a save that was stopped: a name, and what is the matter with it.

    The file is called so, or begins so.
    """
    yield from ((name, name) for name in sorted(passing))
    try:
        found = survey(folder)
        ahead = not_pointed_to(folder, found.stands_for)
    except CheckpointError:
        return
    yield from ((left.name, left.name) for left in found.leftovers)
    torn = [entry.name for entry in found.checkpoints if entry.sound is False]
    yield from ((name, f"{name} is torn") for name in reversed(torn))
    if ahead:
        yield ahead, f"{ahead} is whole, and `checkpoint` does not point to it yet"


def not_pointed_to(folder: Path, latest: str | None) -> str:
    """Return the newest `model-STEP` of *folder* when *latest* is an older one, else ""."""
    found = newest_first(folder)
    return found[0].name if latest is not None and Path(latest) in found[1:] else ""
