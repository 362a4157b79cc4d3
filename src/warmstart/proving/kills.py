"""Kills at random moments of a run, inside steps and inside saves, timed by an unkilled run."""

import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

from .processes import Process
from .watching import Watch, cut_short, save_lengths

#: Changes of the folder at which a save is looked for before a kill that aims at one gives up.
LOOKS = 8

LEAST = 0.2  # seconds of work below which there is no time to be killed in


@dataclass(frozen=True, slots=True)
class Pace:
    """How an unkilled run went: seconds from its start."""

    begin: float  # until the first change of its folder: imports and the like
    end: float
    saving: float  # from the first to the last change of a save, half of them taking longer
    passing: frozenset[str] = frozenset()  # names of files that saves remove again

    @property
    def work(self) -> float:
        """How long it had to be killed in."""
        return self.end - self.begin

    def at_twice_the_speed(self) -> "Pace":
        """Return the pace of a run that takes half the time."""
        return replace(self, begin=self.begin / 2, end=self.end / 2, saving=self.saving / 2)


@dataclass(frozen=True, slots=True)
class Aim:
    """What a kill aims at: so long after the work has begun, at once or in the next save."""

    seconds: float
    in_save: bool
    into_save: float = 0.0  # seconds from its first change


@dataclass(frozen=True, slots=True)
class Kill:
    """A kill that hit: after how many seconds of its process, and what shows it was in a save."""

    seconds: float
    cut_short: str  # "" when it hit a step

    def to_dict(self) -> dict[str, Any]:
        """Return the kill as JSON holds it."""
        return {**asdict(self), "where": self.where}

    @property
    def where(self) -> str:
        """Return whether it hit a step or a save."""
        return "save" if self.cut_short else "step"

    def __str__(self) -> str:
        evidence = f" ({self.cut_short})" if self.cut_short else ""
        return f"after {self.seconds:.2f} s, in a {self.where}{evidence}"


def pace_of(watch: Watch, end: float) -> Pace:
    """Return the pace of a run that ended at *end*, its folder having been watched."""
    times, lengths = watch.times, save_lengths(watch.times)
    begin = times[0] if times else 0.0
    return Pace(begin, end, median(lengths) if lengths else 0.0, watch.passing)


def aims(pace: Pace, kills: int, seed: int) -> Iterator[Aim]:
    """Yield what *kills* kills aim at, every second at a save; the same for the same *seed*.

    Each start of the command gets a part of the work done, so much that the kills lie all over the
    run and yet it does not end before the last of them.
    """
    draw = random.Random(seed)
    longest = 1.5 * pace.work / (kills + 1)
    for number in range(kills):
        seconds = draw.uniform(0, longest)
        yield Aim(seconds, number % 2 == 1, draw.uniform(0, pace.saving))


def killed(process: Process, watch: Watch, pace: Pace, aim: Aim) -> Kill | None:
    """Kill *process* as aimed; None when it ends before."""
    begin = wait_for_work(process, watch, pace)
    while process.code() is None and process.seconds < begin + aim.seconds:
        watch.look_in_passing(process.seconds)
    if aim.in_save:
        go_into_a_save(process, watch, pace, aim)
    if process.code() is not None:
        return None
    return now(process, watch, pace)


def go_into_a_save(process: Process, watch: Watch, pace: Pace, aim: Aim) -> None:
    """Wait until *process* is inside a save, and hold it there; give up after `LOOKS` changes.

    It is held before it is looked at: a look takes longer than many a save.
    """
    for left in range(LOOKS, 0, -1):
        while not watch.look(process.seconds):
            if process.code() is not None:
                return
        time.sleep(aim.into_save * left / LOOKS)
        process.hold()
        if cut_short(watch, pace.passing):
            return
        process.release()


def wait_for_work(process: Process, watch: Watch, pace: Pace) -> float:
    """Return when *process* has begun to work: its folder changes, or it is time that it did."""
    while process.code() is None and process.seconds < pace.begin:
        if watch.look_in_passing(process.seconds):
            break
    return process.seconds


def now(process: Process, watch: Watch, pace: Pace) -> Kill | None:
    """Kill *process*; None when it has just ended by itself."""
    seconds = process.seconds
    process.kill()
    evidence = cut_short(watch, pace.passing)
    return Kill(seconds, evidence) if (process.code() or 0) < 0 else None
