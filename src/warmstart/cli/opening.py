"""The options of reading, the same on every command that opens a checkpoint."""

from collections.abc import Callable
from typing import Any

import click

Command = Callable[..., Any]

OPTIONS = (
    click.option("--no-mmap", "mmap", is_flag=True, flag_value=False, default=True,
                 help="Read files and do not map them, for network file systems."),
    click.option("--untrusted", is_flag=True,
                 help="Read HDF5 and tensorstore files in a child process with limits."),
    click.option("--like", metavar="FILE",
                 help="Borrow names and structure from this checkpoint."),
    click.option("--dequantize", is_flag=True,
                 help="Show quantised tensors as float32, not as bytes."),
)  # fmt: skip


def opening_options(command: Command) -> Command:
    """Add the options of reading to *command*, which is given them as the keywords of `ws.open`."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command
