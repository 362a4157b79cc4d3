"""Processes that work together, quickly: forked from one that has imported all they need.

    python zygote.py torch_scenarios

Each line of standard input is {"function", "count", "folder", "arguments"}: as many processes run
that function of the module, once its `begin` has let them find each other, and the answer is a line
with what became of each.
"""

import importlib
import json
import os
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

scenarios = importlib.import_module(sys.argv[1])

#: Seconds that the processes may take together.
LIMIT = 100


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what is printed is not an answer
    warnings.simplefilter("ignore", DeprecationWarning)  # to fork beside threads
    for line in sys.stdin:
        task = json.loads(line)
        print(json.dumps(run(task)), file=answers)


def run(task: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what became of each process: what it returned, or raised, or the signal."""
    with tempfile.TemporaryDirectory() as scratch:
        children = [forked(task, rank, Path(scratch)) for rank in range(task["count"])]
        deadline = time.monotonic() + LIMIT
        statuses = [waited(child, deadline) for child in children]
        return [outcome(Path(scratch), rank, status) for rank, status in enumerate(statuses)]


def forked(task: dict[str, Any], rank: int, scratch: Path) -> int:
    """Begin the process *rank*; return its id."""
    child = os.fork()
    if child:
        return child
    try:
        result = scratch / f"{rank}"
        try:
            value = in_group(task, rank, scratch)
            text = json.dumps({"returned": value})
            result.write_text(text)
            scenarios.end()
        except BaseException as error:
            traceback.print_exc()
            notes = getattr(error, "__notes__", ())
            text = json.dumps(
                {"raised": type(error).__name__, "text": "\n".join([str(error), *notes])}
            )
        result.write_text(text)
    finally:
        os._exit(0)


def in_group(task: dict[str, Any], rank: int, scratch: Path) -> Any:
    """Run the function of *task* as process *rank*."""
    scenarios.begin(rank, task["count"], scratch)
    function = getattr(scenarios, task["function"])
    return function(Path(task["folder"]), **task["arguments"])


def waited(child: int, deadline: float) -> int:
    """Return the status with which *child* ended, killed at the *deadline* if need be."""
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        time.sleep(0.005)
    os.kill(child, 9)
    return os.waitpid(child, 0)[1]


def outcome(scratch: Path, rank: int, status: int) -> dict[str, Any]:
    """Return what the process *rank* left."""
    if os.WIFSIGNALED(status):
        return {"killed": os.WTERMSIG(status)}
    found: dict[str, Any] = json.loads((scratch / f"{rank}").read_text())
    return found


if __name__ == "__main__":
    main()
