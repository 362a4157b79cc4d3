"""`warmstart dump`: what inference needs."""

from typing import Any

import click

from .choosing import all_rules, rename_option, rule_option, rules_option
from .opening import opening_options
from .output import json_option, print_json, progress_bar


@click.command("dump", epilog="Example: warmstart dump runs/ model.npz --meta runs/graph-1122.meta")
@click.argument("path")
@click.argument("dst")
@click.option("--meta", metavar="FILE", help="The metagraph that tells which variables are needed.")
@rename_option
@rules_option
@rule_option
@opening_options
@json_option
def command(
    *,
    path: str,
    dst: str,
    meta: str | None,
    renames: tuple[str, ...],
    rules: tuple[str, ...],
    rule_files: tuple[str, ...],
    as_json: bool,
    **reading: Any,
) -> None:
    """Write to DST what inference needs of the checkpoint at PATH.

    Left out are optimizer slots, step counters and run state: known by the graph with --meta, else
    by the roles the checkpoint records, else by TensorFlow's names for them.  Renames and rules
    apply to what is left.
    """
    from ..files.dump import dump

    chosen = all_rules(renames, rules, rule_files)
    with progress_bar("writing") as progress:
        done = dump(path, dst, meta=meta, rules=chosen, progress=progress, **reading)
    if as_json:
        print_json(done.to_dict())
    else:
        click.echo(str(done))
