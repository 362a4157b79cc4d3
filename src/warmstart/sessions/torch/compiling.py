"""What holds variables still, beside torch.compile."""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def untraced(function: F) -> F:
    """Let torch.compile run *function* as it is: what it keeps between calls is none of a graph.

    That is what torch.compiler.disable marks it with, which takes a second to import.
    """
    function._torchdynamo_disable = True  # type: ignore[attr-defined]
    return function


def compile_anew() -> None:
    """Let torch.compile compile again what it has: what it made does not look for new hooks."""
    dynamo = sys.modules.get("torch._dynamo")
    if dynamo is not None:
        dynamo.reset()
