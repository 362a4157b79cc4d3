"""What the processes of the tests do in every engine."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import warmstart as ws
from warmstart import processes
from warmstart.testing import crashes


def watched(run: Callable[[], dict[str, Any]], point: int = -1) -> dict[str, Any]:
    """Return what came of *run*, and where files were changed.

    The process is killed at the change with the number *point*.  The others are not given the time
    that process 0 may take for an answer: it is dead.
    """
    processes.MARGIN = 0.5
    watch = crashes.Watch(crashes.Fault.KILLED, point)
    with crashes.watching(watch):
        result = run()
    points = [(p.call, Path(p.path).name, Path(p.to).name) for p in watch.points]
    return {**result, "points": points}


def refused(wrong: Mapping[str, Callable[[], object]]) -> dict[str, str]:
    """Return with what each of *wrong* is refused."""
    said = {}
    for name, do in wrong.items():
        try:
            do()
        except ws.CheckpointError as error:
            said[name] = f"{type(error).__name__}: {error}"
    return said
