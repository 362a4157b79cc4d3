"""Which tensors a command is about: patterns, rules and renames as they are typed."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import click

from ..errors import NoSuchTensor
from ..names import idle, meant, selected
from ..spec import RUN_PREFIX

Option = Callable[[Callable[..., Any]], Callable[..., Any]]

rename_option: Option = click.option(
    "--rename", "renames", multiple=True, metavar="OLD=NEW",
    help="Rename tensors; a * in NEW takes what the * in OLD stood for.",
)  # fmt: skip
rule_option: Option = click.option(
    "--rule", "rules", multiple=True, metavar="RULE",
    help="A rule, as 'rename OLD -> NEW' or 'transpose PATTERN: 1 0': drop, keep, rename, scope, "
    "transpose, reshape, cast, flip, slice, pad, concatenate, split, stack, unstack, vocab, fit, "
    "carry, layout; applied after the renames and the rule files.",
)  # fmt: skip
rules_option: Option = click.option(
    "--rules", "rule_files", multiple=True, metavar="FILE",
    help="A rule file in TOML, or the name of one that comes with warmstart; applied after the "
    "renames.",
)  # fmt: skip


def matching(
    names: Collection[str],
    patterns: Sequence[str],
    *,
    run_state: bool = False,
    metadata: Collection[str] = (),
) -> list[str]:
    """Return those of *names* that *patterns* match, all of them if there are no patterns.

    Run state counts only with *run_state*, or where a pattern begins with its prefix.  *metadata*
    are keys that may be asked for in error.
    """
    shown = [name for name in names if run_state or not name.startswith(RUN_PREFIX)]
    if not patterns:
        return shown
    hidden = [name for name in names if not run_state and name.startswith(RUN_PREFIX)]
    asked = [pattern for pattern in patterns if pattern.startswith(RUN_PREFIX)]
    if unmatched := idle([*shown, *selected(hidden, asked)], patterns):
        raise NoSuchTensor("\n".join(unmatched_lines(unmatched, shown, metadata)))
    return [*selected(shown, patterns), *selected(hidden, asked)]


def unmatched_lines(
    patterns: Iterable[Any], names: Sequence[str], metadata: Collection[str]
) -> Iterable[str]:
    """Yield a line for each pattern that matches nothing, with the names near it."""
    for pattern in patterns:
        found = meant(pattern, names)
        hint = f"; near it: {', '.join(found)}" if found else ""
        if selected(metadata, [pattern]):
            hint = "; it is metadata, which ls --all shows"
        yield f"no tensor matches {pattern!r}{hint}"


def all_rules(
    renames: Iterable[str], rules: Iterable[str], rule_files: Iterable[str] = ()
) -> list[Any]:
    """Return the renames and rules of a command line as rules: renames, rule files, rules."""
    from ..restore.rule_files import path_of

    files = [path_of(name) for name in rule_files]
    return [*map(as_rule, renames), *files, *rules]


def as_rule(rename: str) -> str:
    """Return OLD=NEW as a rule.

    >>> as_rule("enc/*=encoder/*")
    'rename enc/* -> encoder/*'
    """
    old, equals, new = rename.partition("=")
    if not (old and equals and new):
        raise click.BadParameter(f"{rename!r} is not OLD=NEW", param_hint="--rename")
    return f"rename {old} -> {new}"
