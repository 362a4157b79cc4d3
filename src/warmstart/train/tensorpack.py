"""Runs that Tensorpack left: a checkpoint without run state, and `stats.json` beside it.

    checkpoint  graph-0101-120000.meta  model-500.index  model-500.data-00000-of-00001  stats.json

`stats.json` is a list with an object for each epoch, which has `epoch_num` and `global_step`; what
a program measured within an epoch stands in objects before it, with the same `epoch_num`.
Source: tensorpack 0.11, callbacks/monitor.py (JSONWriter), train/config.py (AutoResumeTrainConfig).
"""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CorruptCheckpoint, ResumeError
from ..formats import open_source

log = logging.getLogger("warmstart")

STATISTICS = "stats.json"
GLOBAL_STEP = "global_step"  # the variable of every graph of Tensorpack


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run stood: completed steps and completed epochs."""

    step: int
    epoch: int


def tensorpack_place(checkpoint: Path, optional: bool) -> Place | None:
    """Return where the run that wrote *checkpoint* stood, by the `stats.json` beside it.

    When that cannot be told: None if it is *optional*, else ResumeError.
    """
    try:
        return _place_after(_step_of(checkpoint), checkpoint.with_name(STATISTICS))
    except ResumeError:
        if optional:
            return None
        raise


def _step_of(checkpoint: Path) -> int:
    """Return the step in the name `model-STEP`, or else in the variable `global_step`.

    The best checkpoint by a metric, `max-accuracy`, has none in its name.
    """
    found = re.fullmatch(r".*-(\d+)", checkpoint.name)
    if found is not None:
        return int(found[1])
    with open_source(checkpoint) as source:
        spec = source.specs.get(GLOBAL_STEP)
        if spec is not None and spec.size == 1 and "int" in spec.dtype:
            return int(source.read(GLOBAL_STEP).reshape(-1)[0])
    raise ResumeError(
        f"epoch: the name {checkpoint.name!r} does not end in -STEP, nor is there an integer "
        f"{GLOBAL_STEP!r} in the checkpoint, so that the step of its run is not known; to begin at "
        'starting_epoch with its variables: accept=("epoch",)'
    )


def _place_after(step: int, statistics: Path) -> Place:
    if not statistics.exists():
        raise ResumeError(
            f"epoch: the checkpoint has no run state, and there is no {statistics} to tell its "
            'epoch; to begin at starting_epoch with its variables: accept=("epoch",)'
        )
    ends = _ends_of_epochs(statistics)
    epoch = epoch_after(step, ends)
    if epoch is None:
        raise ResumeError(
            f"epoch: {statistics} has no epoch that ended at step {step}; it has the steps "
            f'{sorted(ends.values())}; to begin at starting_epoch: accept=("epoch",)'
        )
    if step not in ends.values():
        log.warning(
            "%s ends before step %d; as its epochs have %d steps, that is the end of epoch %d",
            statistics, step, step // epoch, epoch,
        )  # fmt: skip
    return Place(step, epoch)


def epoch_after(step: int, ends: Mapping[int, int]) -> int | None:
    """Return the epoch that ended at *step*, given the last step there is of each.

    Tensorpack saves before it writes its statistics, so that a kill in between leaves a checkpoint
    that they do not know: its epoch is told by the length of those before, where all are alike.
    By it too the last epoch is seen to have no end yet.  None where it cannot be told.

    >>> ends = {1: 5, 2: 10, 3: 12}
    >>> epoch_after(10, ends), epoch_after(15, ends), epoch_after(12, ends), epoch_after(7, {})
    (2, 3, None, None)
    """
    if not ends:
        return None
    last = max(ends)
    lengths = {end / epoch for epoch, end in ends.items() if epoch not in (0, last)}
    length = lengths.pop() if len(lengths) == 1 else None
    if length is None and len(ends) == 1 and last:
        length = ends[last] / last
    if length is None or step < ends[last] or ends[last] > last * length:
        return next((epoch for epoch, end in ends.items() if end == step), None)
    epoch, rest = divmod(step, length)
    return int(epoch) if length % 1 == 0 and rest == 0 else None


def _ends_of_epochs(statistics: Path) -> dict[int, int]:
    """Return number of an epoch -> the last global step that the statistics have of it."""
    try:
        entries: Any = json.loads(statistics.read_bytes())
        ends: dict[int, int] = {}
        for entry in entries:
            epoch, step = int(entry["epoch_num"]), int(entry["global_step"])
            ends[epoch] = max(step, ends.get(epoch, step))
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        raise CorruptCheckpoint(
            f"{statistics} is not a list of objects with global_step and epoch_num"
        ) from error
    return ends
