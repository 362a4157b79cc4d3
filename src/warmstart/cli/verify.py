"""`warmstart verify`: whether a checkpoint is sound."""

from typing import Any

import click

from .opening import opening_options
from .output import json_option, print_json, print_lines, progress_bar


@click.command("verify", epilog="Example: warmstart verify runs/")
@click.argument("path")
@click.option(
    "--deep",
    is_flag=True,
    help="All checkpoints of a folder, their run states, and what holds them together.",
)
@click.option(
    "--repair",
    is_flag=True,
    help="Of a run: let `checkpoint` name the newest sound one; remove halves of stopped saves.",
)
@click.option("--dry-run", is_flag=True, help="With --repair: only say what would be done.")
@opening_options
@json_option
def command(path: str, as_json: bool, **options: Any) -> int:
    """Read all of the checkpoint at PATH and say whether it is sound.  Exits with 1 if it is not.

    Checked are the structure and the checksums, where the format has them.  NaN, infinities and
    constant tensors are noted, but no fault.
    """
    deep, mend, dry_run = (options.pop(name) for name in ("deep", "repair", "dry_run"))
    if dry_run and not mend:
        raise click.UsageError("--dry-run goes with --repair")
    if deep and mend:
        raise click.UsageError("--deep and --repair do not go together: --repair, then --deep")
    with progress_bar("verifying") as progress:
        found = repaired(path, dry_run) if mend else verified(path, deep, progress, options)
    if as_json:
        print_json(found.to_dict())
    else:
        print_lines(str(found).splitlines())
    return 0 if found.sound else 1


def verified(path: str, deep: bool, progress: Any, options: dict[str, Any]) -> Any:
    """Return what `verify`, or `verify_deep`, says of *path*."""
    if deep:
        from ..train.deep import verify_deep

        return verify_deep(path, progress=progress, **options)
    from ..files.verify import verify

    return verify(path, progress=progress, **options)


def repaired(path: str, dry_run: bool) -> Any:
    """Return what was done to the folder *path*, or would be."""
    from ..train.repair import repair

    return repair(path, dry_run=dry_run)
