"""Several processes of torch.distributed, or of jax.distributed, at the call of a test."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

#: What the processes are started with, and run.
collect_ignore_glob = ["common.py", "zygote.py", "*_scenarios.py"]

Run = Callable[..., list[Any]]


@pytest.fixture(scope="session")
def zygote_of() -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Return a function for the process of an engine that the others are forked from."""
    with ExitStack() as stack:

        @cache
        def zygote(scenarios: str) -> subprocess.Popen[str]:
            program = [sys.executable, str(Path(__file__).with_name("zygote.py")), scenarios]
            process = stack.enter_context(
                subprocess.Popen(
                    program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
                )
            )
            stack.callback(process.kill)
            return process

        yield zygote


@pytest.fixture(scope="module")
def outcomes_of(
    request: pytest.FixtureRequest, zygote_of: Callable[[str], subprocess.Popen[str]]
) -> Run:
    """Return a function that runs one of the scenarios in several processes.

    A module says of which engine.  For each process the function returns {"returned": value},
    {"raised": class, "text": message} or {"killed": 9}.
    """
    zygote = zygote_of(getattr(request.module, "SCENARIOS", "torch_scenarios"))

    def run(function: str, count: int, folder: Path, **arguments: Any) -> list[Any]:
        task = {"function": function, "count": count, "folder": str(folder)}
        print(json.dumps({**task, "arguments": arguments}), file=zygote.stdin)
        assert zygote.stdout is not None
        found: list[Any] = json.loads(zygote.stdout.readline())
        return found

    return run


@pytest.fixture
def outcomes(outcomes_of: Run) -> Run:
    """Return the same, for one test."""
    return outcomes_of


@pytest.fixture
def together(outcomes: Run) -> Run:
    """Return a function like `outcomes` for what must succeed: it returns what each returned."""

    def run(*args: Any, **arguments: Any) -> list[Any]:
        found = outcomes(*args, **arguments)
        assert [set(each) for each in found] == [{"returned"}] * len(found), found
        return [each["returned"] for each in found]

    return run
