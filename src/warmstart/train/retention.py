"""Which checkpoints of a folder are kept: the last few, the best, and one every so often for good.

What must be remembered from one process to the next stands in the file `checkpoint`, in the fields
that TensorFlow's CheckpointManager keeps there (2.21, python/checkpoint/checkpoint_management.py)
and in a comment beside them, and not in the checkpoints themselves: the times on the clock would
make each of them different.
"""

import json
import logging
import math
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..formats.tf_bundle.paths import has_index
from ..formats.tf_bundle.state import read_state, write_state

log = logging.getLogger("warmstart")

#: The checkpoints that may be deleted: those that ModelSaver writes, and Tensorpack's.
OURS = re.compile(r"model-(\d+)")
MODES = {"min": 1.0, "max": -1.0}


@dataclass(frozen=True, slots=True)
class Best:
    """Keep also the *k* checkpoints with the lowest (*mode* "min") or highest ("max") *stat*.

    *stat* is a metric of the epoch as it stands when the checkpoint is saved.  A checkpoint that
    has none, or NaN, is never among the best.
    """

    stat: str
    k: int = field(default=1, kw_only=True)
    mode: str = field(default="min", kw_only=True)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode is {self.mode!r}; expected 'min' or 'max'")
        if self.k < 1:
            raise ValueError(f"k is {self.k}; expected 1 or more")

    def among(self, saved: "Iterable[Saved]") -> set[str]:
        """Return the names of the best of *saved*; of equal ones the older."""
        rated = [each for each in saved if self.stat in each.values]
        rated.sort(key=lambda each: MODES[self.mode] * each.values[self.stat])
        return {each.name for each in rated[: self.k]}


@dataclass(frozen=True, slots=True)
class Keep:
    """How many checkpoints are kept."""

    last: int | None  # None: all
    hours: float | None = None  # between those kept for good
    steps: int | None = None
    best: tuple[Best, ...] = ()

    def values(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Return those of *metrics* that decide what is kept."""
        stats = {best.stat for best in self.best} & metrics.keys()
        return {s: float(metrics[s]) for s in sorted(stats) if not math.isnan(metrics[s])}

    def refuse_unknown(self, metrics: Mapping[str, float]) -> None:
        """Raise ValueError for a stat that the *metrics* of an epoch do not have."""
        unknown = sorted({best.stat for best in self.best} - metrics.keys())
        if unknown:
            there = ", ".join(map(repr, metrics)) or "none"
            raise ValueError(
                f"keep_best goes by {', '.join(map(repr, unknown))}, which the first epoch does "
                f"not have; it has {there}"
            )


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint that may still be deleted."""

    name: str
    when: float  # seconds since 1970
    values: Mapping[str, float] = field(default_factory=dict)

    @property
    def step(self) -> int:
        """The step in the name."""
        match = OURS.fullmatch(self.name)
        return int(match[1]) if match else 0


@dataclass(frozen=True, slots=True)
class Kept:
    """The checkpoints that may still be deleted, and the last ones that no longer may."""

    saved: tuple[Saved, ...]  # oldest first, the latest last
    preserved_time: float  # when the last that is kept for good by its time was saved
    preserved_step: int = 0  # the last that is kept for good by its step

    def with_latest(self, latest: Saved) -> "Kept":
        """Return the same with *latest* saved just now; a name saved again counts once.

        A clock that was set back is taken at its word, as TensorFlow has it: no time is later.
        """
        now = latest.when
        others = [each for each in self.saved if each.name != latest.name]
        saved = tuple(replace(each, when=min(each.when, now)) for each in others)
        return Kept((*saved, latest), min(self.preserved_time, now), self.preserved_step)

    def there(self, folder: Path) -> "Kept":
        """Return the same without those that are not in *folder* any more."""
        return replace(
            self, saved=tuple(each for each in self.saved if has_index(folder / each.name))
        )

    def going_on_from(self, name: str) -> "Kept":
        """Return the same with *name* as the latest, whatever was saved after it.

        Those were passed over, so that none of them must outlive it.
        """
        found = [each for each in self.saved if each.name == name]
        others = [each for each in self.saved if each.name != name]
        return replace(self, saved=(*others, *found))


def decide(kept: Kept, keep: Keep) -> tuple[Kept, list[str]]:
    """Return what is kept on, and the names to delete.

    One that leaves the last few stays for good when it was saved so many hours, or steps, or more
    after the last that did; it leaves the list, so that nothing can delete it any more.  One of the
    best stays in the list, for others may be better.
    """
    if keep.last is None:
        return kept, []
    best = set[str]().union(*(each.among(kept.saved) for each in keep.best))
    time, step, stay, doomed = kept.preserved_time, kept.preserved_step, [], []
    for each in kept.saved[: -keep.last]:
        by_time = keep.hours is not None and each.when - keep.hours * 3600 >= time
        by_step = keep.steps is not None and each.step - keep.steps >= step
        time, step = each.when if by_time else time, each.step if by_step else step
        if by_time or by_step:
            continue
        if each.name in best:
            stay.append(each)
        else:
            doomed.append(each.name)
    return Kept((*stay, *kept.saved[-keep.last :]), time, step), doomed


def read_kept(folder: Path, now: float) -> Kept:
    """Return what the file `checkpoint` in *folder* lists of ours and is still there.

    One that is broken, or cannot be read, lists nothing: what it listed is kept for good, and the
    next save replaces it.
    So is what goes by another name, such as the pretrained model that the run began with.
    """
    try:
        state = read_state(folder)
    except CheckpointError as error:
        log.warning("checkpoints saved before now are not deleted any more: %s", error)
        state = None
    if state is None:
        return Kept((), now)
    known = len(state.timestamps) == len(state.all_paths)
    times = state.timestamps if known else (now,) * len(state.all_paths)
    values, step = remembered(state.note)
    saved = zip(state.all_paths, times, strict=True)
    preserved = now if state.last_preserved is None else state.last_preserved
    listed = tuple(
        Saved(name, min(when, now), values.get(name, {}))
        for name, when in saved
        if OURS.fullmatch(name)
    )
    return Kept(listed, min(preserved, now), step).there(folder)


def write_kept(folder: Path, kept: Kept) -> None:
    """Make the last of *kept* the latest checkpoint of *folder*."""
    names = [each.name for each in kept.saved]
    times = [each.when for each in kept.saved]
    preserved = kept.preserved_time
    write_state(
        folder, names[-1], names, timestamps=times, last_preserved=preserved, note=note_of(kept)
    )


def note_of(kept: Kept) -> str:
    """Return what TensorFlow's fields have no room for, as one line; empty if it is nothing."""
    values = {each.name: dict(each.values) for each in kept.saved if each.values}
    note: dict[str, Any] = {"values": values} if values else {}
    if kept.preserved_step:
        note["preserved_step"] = kept.preserved_step
    return json.dumps(note) if note else ""


def remembered(note: str) -> tuple[dict[str, dict[str, float]], int]:
    """Return the values by name of the checkpoint, and the preserved step, that *note* says."""
    try:
        said: Any = json.loads(note or "{}")
        values = {name: as_values(each) for name, each in said.get("values", {}).items()}
        return values, int(said.get("preserved_step", 0))
    except (ArithmeticError, ValueError, TypeError, AttributeError, RecursionError) as error:
        log.warning("how good the checkpoints so far were is not known any more: %r", error)
        return {}, 0


def values_in(note: str) -> dict[str, float]:
    """Return the metrics of one checkpoint that *note* says; none where it says none."""
    with suppress(ValueError, TypeError, AttributeError, RecursionError):
        return as_values(json.loads(note))
    return {}


def as_values(said: Any) -> dict[str, float]:
    """Return what JSON *said* as metrics."""
    return {str(stat): float(value) for stat, value in said.items()}
