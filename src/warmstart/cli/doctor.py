"""`warmstart doctor`: what a checkpoint would resume of its run."""

from typing import Any

import click

from .opening import opening_options
from .output import columns, json_option, print_json, print_lines

HEADER = ("PIECE", "SAVED", "WHAT IS THERE, OR WHAT ITS LACK MEANS")


@click.command("doctor", epilog="Example: warmstart doctor runs/")
@click.argument("path")
@opening_options
@json_option
def command(path: str, as_json: bool, **reading: Any) -> int:
    """Say what the checkpoint at PATH would resume of its run, and what not.

    Exits with 1 if the run would not go on exactly where it stopped.  Checkpoints of this library
    say what they have; in those of others (Lightning, transformers, Accelerate, torch.save, Keras,
    TensorFlow, Tensorpack, Orbax, DCP) pieces are recognised by what they look like.
    """
    from ..doctor.diagnose import diagnose

    found = diagnose(path, **reading)
    if as_json:
        print_json(found.to_dict())
    else:
        rows = [HEADER, *(piece.row() for piece in found.pieces)]
        passed = [f"passed over {line}" for each in found.passed_over for line in each.splitlines()]
        print_lines([*(line.rstrip() for line in columns(rows)), "", *passed, found.verdict()])
    return 0 if found.exact else 1
