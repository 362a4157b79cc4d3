"""`warmstart convert`: another format, other names, fewer tensors."""

from typing import Any

import click

from .choosing import all_rules, rename_option, rule_option
from .opening import opening_options
from .output import json_option, print_json, progress_bar


@click.command(
    "convert",
    epilog="Example: warmstart convert runs/ base.safetensors --roles trainable,model",
)
@click.argument("src")
@click.argument("dst")
@rename_option
@rule_option
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

    with progress_bar("converting") as progress:
        done = convert(
            src, dst, rules=all_rules(renames, rules), format=format, progress=progress,
            roles=None if roles is None else [role.strip() for role in roles.split(",")], **reading,
        )  # fmt: skip
    if as_json:
        print_json(done.to_dict())
    else:
        click.echo(str(done))
