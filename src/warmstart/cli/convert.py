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
@click.option("--inverse", is_flag=True, help="Take the renames and rules back.")
@click.option(
    "--original",
    metavar="CHECKPOINT",
    help="One with the names and shapes from before the rules, for taking more of them back.",
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
    if inverse or original:
        chosen = taken_back(chosen, original)
    with progress_bar("converting") as progress:
        done = convert(
            src, dst, rules=chosen, format=format, progress=progress,
            roles=None if roles is None else [role.strip() for role in roles.split(",")], **reading,
        )  # fmt: skip
    if as_json:
        print_json(done.to_dict())
    else:
        click.echo(str(done))


def taken_back(rules: list[Any], original: str | None) -> list[Any]:
    """Return the inverse of *rules*, by what the checkpoint *original* has if there is one."""
    from ..files.views import opened
    from ..restore.inverting import inverted

    if original is None:
        return [*inverted(rules)]
    with opened(original) as source:
        return [*inverted(rules, source)]
