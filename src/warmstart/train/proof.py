"""The proof that variables did not move in a run, and when they did if they did.

same    same    same    moved   moved   moved
|-------|-------|-------|-------|-------|          checkpoints by step; the first is compared
                after   by                         with the others, by bisection
"""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ..errors import CheckpointNotFound
from ..formats import open_source
from ..freezing.frozen import Patterns, hash_at, places
from ..source import Index, Source
from .newest import newest_first


@dataclass(frozen=True, slots=True)
class Moved:
    """A variable that moved in one of the steps `after + 1` to `by`."""

    name: str
    after: int  # steps completed when it was last seen unchanged
    by: int  # steps completed when it was first seen changed

    def __str__(self) -> str:
        if self.by == self.after + 1:
            return f"{self.name!r} moved in step {self.by}"
        return f"{self.name!r} moved in one of the steps {self.after + 1} to {self.by}"


def first_moved(folder: str | os.PathLike[str], patterns: Patterns) -> dict[str, Moved]:
    """Return which variables that match *patterns* moved in the run in *folder*, and when.

    Its checkpoints `model-STEP` are compared with the oldest that is kept.  A mapping says where:
    `{"embedding": np.s_[:1000]}`.  Raise FreezeError for patterns that match nothing, and
    CheckpointNotFound for a folder with fewer than two checkpoints.
    """
    run = Path(folder)
    steps = steps_in(run)
    if len(steps) < 2:
        raise CheckpointNotFound(
            f"{run} has {len(steps)} checkpoints model-STEP; to see what moved takes two"
        )
    with Checkpoints(run) as checkpoints:
        oldest, newest = checkpoints[steps[0]], checkpoints[steps[-1]]
        where = places(oldest, patterns)
        hashes = {name: hash_at(oldest, name, index) for name, index in where.items()}
        moved = {n: hash_ for n, hash_ in hashes.items() if hash_at(newest, n, where[n]) != hash_}
        return {
            name: bisected(name, checkpoints.comparing(name, where[name], hash_), steps)
            for name, hash_ in moved.items()
        }


def steps_in(folder: Path) -> list[int]:
    """Return the steps of the checkpoints in *folder*, rising."""
    return sorted(int(path.name.removeprefix("model-")) for path in newest_first(folder))


def bisected(name: str, same: Callable[[int], bool], steps: Sequence[int]) -> Moved:
    """Return between which two of *steps* the variable moved, given that it did in between.

    At the first of them it was the same and at the last it was not.
    """
    low, high = 0, len(steps) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if same(steps[middle]) else (low, middle)
    return Moved(name, steps[low], steps[high])


class Checkpoints(ExitStack):
    """The checkpoints of a run by their step, each opened once."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._opened: dict[int, Source] = {}

    def __getitem__(self, step: int) -> Source:
        if step not in self._opened:
            source = open_source(self._folder / f"model-{step}")
            self._opened[step] = self.enter_context(source)
        return self._opened[step]

    def comparing(self, name: str, index: Index, expected: str) -> Callable[[int], bool]:
        """Return whether the variable *name* has the hash *expected* at a step, as a function."""
        return lambda step: hash_at(self[step], name, index) == expected
