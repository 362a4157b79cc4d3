"""`warmstart match`: what a checkpoint would fill, before anything is filled."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import SaveError
from .choosing import all_rules, rename_option, rule_option
from .opening import opening_options
from .output import json_option, print_json

if TYPE_CHECKING:
    from ..restore.plan import Plan


@click.command(
    "match",
    epilog="Example: warmstart match base.safetensors model.py:make --draft rules.toml",
)
@click.argument("checkpoint")
@click.argument("model")
@click.option(
    "--rules", "files", multiple=True, metavar="FILE",
    help="A rule file, or the name of one that comes with warmstart.",
)  # fmt: skip
@rename_option
@rule_option
@click.option("--layout", help="Whose layers the checkpoint has: torch, keras or flax.")
@click.option("--draft", metavar="FILE", help="Write a rule file with the suggestions.")
@click.option("--html", metavar="FILE", help="Write the plan as a page to send to somebody.")
@opening_options
@json_option
def command(
    *,
    checkpoint: str,
    model: str,
    files: tuple[str, ...],
    renames: tuple[str, ...],
    rules: tuple[str, ...],
    layout: str | None,
    draft: str | None,
    html: str | None,
    as_json: bool,
    **reading: Any,
) -> int:
    """Say what CHECKPOINT would fill of MODEL, and set nothing.

    MODEL is package.module:callable or file.py:callable, which returns a model, a model and its
    optimizer, or a session; or another checkpoint, which stands in for one.  Exits with 1 if a
    variable of the model would not be loaded.
    """
    from ..files.match import is_complete, match
    from ..restore.report import Report
    from .models import is_model, model_named, not_a_model

    given = all_rules(renames, rules)
    for file in filter(None, (draft, html)):
        refuse_nowhere(Path(file))
    target = model_named(model) if is_model(model) else not_a_model(model)
    plan = match(checkpoint, target, rules=[*files, *given], layout=layout, **reading)
    report = Report(plan, done=False)
    if draft:
        write_draft(plan, Path(draft), (checkpoint, model), files, given)
    if html:
        report.save_html(html)
    if as_json:
        print_json({"complete": is_complete(plan), **report.to_dict()})
    else:
        report.show()
    return 0 if is_complete(plan) else 1


def refuse_nowhere(path: Path) -> None:
    """Raise SaveError for a *path* in a folder that is not there."""
    if not path.parent.is_dir():
        raise SaveError(f"{path} cannot be written: there is no folder {path.parent}")


def write_draft(
    plan: "Plan", path: Path, sides: tuple[str, str], files: tuple[str, ...], rules: list[str]
) -> None:
    """Write the rule file at *path*, which must not be there yet, and say so."""
    from ..restore.draft_files import draft_text

    text = draft_text(plan, " ".join(sides), files=files, rules=rules, beside=path.parent)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise SaveError(f"{path} is there already and was not overwritten") from None
    command_line = " ".join(["warmstart match", *sides, "--rules", str(path)])
    click.echo(f"wrote {path}; after reading it: {command_line}", err=True)
