"""`warmstart convert`: another format, other names, fewer tensors."""

from typing import Any

import click

from .choosing import all_rules, rename_option, rule_option, rules_option
from .opening import opening_options
from .output import json_option, print_json, progress_bar


@click.command(
    "convert",
    epilog="Example: warmstart convert runs/ base.safetensors --roles trainable,model",
)
@click.argument("src")
@click.argument("dst")
@rename_option
@rules_option
@rule_option
@click.option(
    "--inverse", is_flag=True,
    help="Take the renames and rules back: SRC is what they made, DST is as before them.",
)  # fmt: skip
@click.option(
    "--original",
    metavar="CHECKPOINT",
    help="With --inverse: a checkpoint from before the rules.  Its names and shapes tell how to "
    "take back what the rules alone do not say; what they dropped is copied from it.",
)
@click.option("--roles", help="Keep these roles only: trainable, model, slot, run; with commas.")
@click.option(
    "--format",
    help="The format of DST, if its extension does not name it: tf-bundle, safetensors, npz, "
    "torch, dcp, keras, keras-h5, orbax, msgpack.",
)
@opening_options
@json_option
def command(
    *,
    src: str,
    dst: str,
    renames: tuple[str, ...],
    rules: tuple[str, ...],
    rule_files: tuple[str, ...],
    inverse: bool,
    original: str | None,
    roles: str | None,
    format: str | None,
    as_json: bool,
    **reading: Any,
) -> None:
    """Write the checkpoint SRC as DST, in the format that the extension of DST names.

    Without a known extension DST is of the format of SRC if both end alike (.ckpt, .bin), else the
    prefix of a TensorFlow bundle.  Everything is kept unless roles or rules say otherwise.
    """
    from ..files.convert import convert

    chosen = all_rules(renames, rules, rule_files)
    refuse_idle(chosen, inverse, original)
    with progress_bar("converting") as progress:
        done = convert(
            src, dst, rules=chosen, inverse=inverse, original=original, format=format,
            roles=None if roles is None else [role.strip() for role in roles.split(",")],
            progress=progress, **reading,
        )  # fmt: skip
    if as_json:
        print_json(done.to_dict())
    else:
        click.echo(str(done))


def refuse_idle(rules: list[Any], inverse: bool, original: str | None) -> None:
    """Raise UsageError for an option that means nothing without another."""
    if inverse and not rules:
        raise click.UsageError(
            "--inverse takes renames and rules back, and there are none: say which they were with "
            "--rename, --rules or --rule"
        )
    if original and not inverse:
        raise click.UsageError("--original is for taking rules back: it goes with --inverse")
