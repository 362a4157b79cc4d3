"""`warmstart diff`: two checkpoints, tensor by tensor."""

from typing import Any

import click

from .choosing import all_rules, rename_option, rule_option, rules_option
from .opening import opening_options
from .output import json_option, print_json, print_lines, progress_bar


def tolerance(_context: click.Context, _option: click.Parameter, value: float) -> float:
    """Return *value*, refusing what nothing could be within."""
    if not value >= 0:
        raise click.BadParameter(f"{value} is not a number from 0 up")
    return value


@click.command(
    "diff", epilog="Example: warmstart diff base.npz runs/ --rename 'fc.*=fc/*' --atol 1e-6"
)
@click.argument("a")
@click.argument("b")
@click.option(
    "--rtol", type=float, callback=tolerance, default=0, help="Relative tolerance.  [default: 0]"
)
@click.option(
    "--atol", type=float, callback=tolerance, default=0, help="Absolute tolerance.  [default: 0]"
)
@rename_option
@rules_option
@rule_option
@click.option("--all", "run_state", is_flag=True, help="Compare run state and metadata too.")
@opening_options
@json_option
def command(
    *,
    a: str,
    b: str,
    rtol: float,
    atol: float,
    renames: tuple[str, ...],
    rules: tuple[str, ...],
    rule_files: tuple[str, ...],
    run_state: bool,
    as_json: bool,
    **reading: Any,
) -> int:
    """Compare the checkpoints A and B, of any formats.  Exits with 1 if they differ.

    Without a tolerance bytes are compared.  Renames and rules apply to the names of A; what a rule
    drops is left out of B too.
    """
    from ..files.diff import diff

    with progress_bar("comparing") as progress:
        found = diff(
            a, b, rules=all_rules(renames, rules, rule_files), rtol=rtol, atol=atol, all=run_state,
            progress=progress, **reading,
        )  # fmt: skip
    if as_json:
        print_json(found.to_dict())
    else:
        print_lines(found.lines())
    return 0 if found.same else 1
