"""The options of reading on the command line."""

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("checkpoint")
Run = Callable[..., Any]

COMMANDS = [
    ("ls", "m.npz"),
    ("show", "m.npz"),
    ("diff", "m.npz", "m.npz"),
    ("verify", "m.npz"),
    ("convert", "m.npz", "n"),
    ("dump", "m.npz", "n"),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_every_command_takes_them(arguments: tuple[str, ...], warmstart: Run) -> None:
    warmstart("convert", "m", "m.npz")
    assert warmstart(*arguments, "--no-mmap", "--untrusted").code == 0
    done = warmstart(*arguments, "--like", "other.npz")
    assert (done.code, done.out) == (2, "")
    assert "no option 'like': like is a checkpoint to borrow names" in done.err
    assert "no option 'dequantize'" in warmstart(*arguments, "--dequantize").err
