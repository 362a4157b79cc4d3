"""Runs that Tensorpack left: a checkpoint without run state, and `stats.json` beside it."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CorruptCheckpoint, ResumeError

STATISTICS = "stats.json"  # a JSON list with an object for each epoch: epoch_num, global_step, ...


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
    """Return the step in the name `model-STEP`."""
    found = re.fullmatch(r".*-(\d+)", checkpoint.name)
    if found is None:
        raise ResumeError(f"epoch: the name {checkpoint.name!r} does not end in -STEP")
    return int(found[1])


def _place_after(step: int, statistics: Path) -> Place:
    if not statistics.exists():
        raise ResumeError(
            f"epoch: the checkpoint has no run state, and there is no {statistics} to tell its "
            'epoch; to begin at starting_epoch with its variables: accept=("epoch",)'
        )
    epochs = _epochs_by_step(statistics)
    if step not in epochs:
        raise ResumeError(
            f"epoch: {statistics} has no epoch that ended at step {step}; it has the steps "
            f'{sorted(epochs)}; to begin at starting_epoch: accept=("epoch",)'
        )
    return Place(step, epochs[step])


def _epochs_by_step(statistics: Path) -> dict[int, int]:
    """Return global step -> number of the epoch that ended there."""
    try:
        entries: Any = json.loads(statistics.read_bytes())
        return {int(entry["global_step"]): int(entry["epoch_num"]) for entry in entries}
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        raise CorruptCheckpoint(
            f"{statistics} is not a list of objects with global_step and epoch_num"
        ) from error
