"""`warmstart verify`: whether a checkpoint is sound."""

from typing import Any

import click

from .opening import opening_options
from .output import json_option, print_json, print_lines, progress_bar


@click.command("verify", epilog="Example: warmstart verify runs/")
@click.argument("path")
@opening_options
@json_option
def command(path: str, as_json: bool, **reading: Any) -> int:
    """Read all of the checkpoint at PATH and say whether it is sound.  Exits with 1 if it is not.

    Checked are the structure and the checksums, where the format has them.  NaN, infinities and
    constant tensors are noted, but no fault.
    """
    from ..files.verify import verify

    with progress_bar("verifying") as progress:
        found = verify(path, progress=progress, **reading)
    if as_json:
        print_json(found.to_dict())
    else:
        print_lines(str(found).splitlines())
    return 0 if found.sound else 1
