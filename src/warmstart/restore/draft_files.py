"""Rule files drafted from a plan: what was given, what is suggested, and what is still open.

Whoever reads one decides: each rule that is a guess has a comment that says why.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..errors import number_of
from ..layer import BATCHES
from ..names import grouped, leaf_of, printable
from .compact import can_be_short, compacted
from .drafts import Draft, drafts_of
from .grammar import for_folder
from .plan import Plan, Verdict
from .rule_files import Line, as_toml, path_of, quoted
from .slots import is_batch_counter

#: Groups of names that are listed as still missing; of more the rest is counted.
MAX_OPEN = 30


def draft_text(
    plan: Plan, title: str, *, files: Sequence[str] = (), rules: Iterable[Line] = (), beside: Path
) -> str:
    """Return the text of a rule file that does what *files* and *rules* do, and what is suggested.

    It will lie in the folder *beside*, from which the files are then found.
    """
    near = plan.near
    drafts = drafts_of(near)
    short = compacted(near, drafts)
    head = [f"# Drafted by warmstart match {printable(title)}", f"# {told(drafts, short)}"]
    given = [quoted(placed(name, beside)) for name in files]
    include = [f"include = [{', '.join(given)}]"] if given else []
    moved = (for_folder(rule, beside) if isinstance(rule, str) else rule for rule in rules)
    singly = drafts if short is None else [d for d in drafts if not can_be_short(d)]
    body = [
        *(f"  {as_toml(rule)}," for rule in moved),
        *map_lines(singly),
        *(f"  {as_toml(rule)}," for rule in short or ()),
        *without_counters(plan),
    ]
    return "\n".join([*head, *include, "rules = [", *body, "]", *still_open(plan), ""])


def told(drafts: Sequence[Draft], short: Sequence[str] | None = None) -> str:
    """Return what there is in a draft, in one line; its rules that are no guess may be *short*."""
    guesses = sum(bool(draft.doubt) for draft in drafts)
    names = sum(len(draft.moves) for draft in drafts)
    n_short = sum(map(can_be_short, drafts))
    n_rules = len(drafts) if short is None else len(drafts) - n_short + len(short)
    return (
        f"{number_of(n_rules, 'suggestion')} for {number_of(names, 'variable')}; "
        f"guesses: {guesses}. Read before use."
    )


def placed(name: str, beside: Path) -> str:
    """Return how a file in the folder *beside* says where the rule file *name* is."""
    path = path_of(name)
    if path.name == f"{name}.toml":  # one that comes with the library goes by its name
        return name
    return Path(os.path.relpath(path.resolve(), beside.resolve())).as_posix()


def map_lines(drafts: Iterable[Draft]) -> Iterator[str]:
    """Yield the lines of the suggested rules, guesses under a comment."""
    for draft in drafts:
        if draft.doubt:
            yield f"  # a guess: {draft.doubt}"
        yield from (f"  {as_toml(line)}," for line in draft.lines)


def without_counters(plan: Plan) -> list[str]:
    """Return the lines that drop PyTorch's counters of batches where the model has no place."""
    counters = [n for n in plan.near.offers if leaf_of(n) == BATCHES]
    asked = any(map(is_batch_counter, plan.specs.values()))
    if asked or not counters:
        return []
    return ["  # only PyTorch counts batches", f'  "drop *{BATCHES}",']


def still_open(plan: Plan) -> list[str]:
    """Return comments on the variables that nothing is suggested for."""
    names = [name for name in plan.named(Verdict.MISSING) if name not in plan.near]
    groups = grouped(names)
    more = len(groups) - MAX_OPEN
    rest = [f"#   ... and {more} more groups"] if more > 0 else []
    lines = [f"#   {printable(group)}" for group in groups[:MAX_OPEN]]
    return ["", "# Nothing is suggested for:", *lines, *rest] if names else []
