"""The words for what a plan found: the error on what does not fit, the warnings on what is left.

Names are grouped, and what may have been meant is suggested; the report has every name singly.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from ..errors import RestoreError, RestoreMismatch, number_of
from ..names import grouped, parent
from .drafts import hints, of_values
from .plan import Misfit, Plan, Verdict
from .reaching import way_between
from .report import checkpoint_side
from .table import aligned

#: Lines of one warning; beyond it the rest is counted.
MAX_LINES = 30

#: Patterns that an error suggests to drop.
MAX_PATTERNS = 8


def mismatch_error(plan: Plan) -> RestoreMismatch | None:
    """Return one error on all that does not fit and may not be ignored, or None."""
    fatal = [m for m in plan.misfits if m.fatal]
    if not fatal:
        return None
    files = [plan.labels[i] for i in sorted({m.match.part for m in fatal})]
    lines = [
        f"{len(fatal)} of {len(plan.targets)} variables do not fit the checkpoint",
        *misfit_rows(fatal, plan),
        *advice(fatal, plan),
        f"while restoring from {', '.join(files)}; nothing was assigned",
    ]
    return RestoreMismatch("\n".join(lines))


def nothing_error(plan: Plan) -> RestoreError | None:
    """Return the error on tensors of which not one has the name of a variable, or None.

    Whoever starts a model from a checkpoint and gets nothing of it has nearly always the wrong one.
    """
    if plan.matches or plan.misfits:  # true of most, and found out without a look at all names
        return None
    unused, missing = plan.source_names(Verdict.UNUSED), plan.named(Verdict.MISSING)
    if not unused or not missing:
        return None
    by_label = {label: [n for p, n in unused if plan.labels[p] == label] for label in plan.labels}
    sides = {"the model": missing, **by_label}
    return RestoreError(
        "\n".join(
            [
                f"nothing can be loaded: no tensor of {', '.join(by_label)} has the name of a "
                "variable of the model",
                *(line for side, names in sides.items() if names for line in has(side, names)),
                *meant(missing, plan),
                "To draft rules: warmstart match CHECKPOINT package.module:make_model --draft FILE",
                'Nothing was assigned. To begin with initial values all the same: rules="drop *".',
            ]
        )
    )


def has(side: str, names: Collection[str]) -> list[str]:
    """Return the lines that list *names* as those that *side* has."""
    return [f"{side} has", *shortened(f"  {group}" for group in grouped(names))]


def misfit_rows(misfits: Iterable[Misfit], plan: Plan) -> list[str]:
    """Return a line for each of *misfits* with both sides; the file where there are several."""
    several = len(plan.labels) > 1
    return aligned(
        (
            m.match.target.name,
            f"model {m.match.target}",
            f"checkpoint {checkpoint_side(m.match)}",
            *([f"in {plan.labels[m.match.part]}"] if several else []),
            f"despite {m.rule}" if m.rule and m.fatal else "",
        )
        for m in misfits
    )


def advice(misfits: Sequence[Misfit], plan: Plan) -> list[str]:
    """Return what to do about *misfits*: a dtype needs a conversion, a shape may be ignored."""
    shapes = [m for m in misfits if m.reason == "shape"]
    dtypes = [m for m in misfits if m.reason == "dtype"]
    lines = []
    if shapes:
        rules = drop_rules(shapes, plan)
        lines += turned_advice(shapes)
        lines.append(f"To keep their initial values: ignore_mismatch=True, or rules=[{rules}].")
    if dtypes:
        lines.append(
            "Integers are only widened and never become floats: convert the values, or leave them "
            f"out with rules=[{drop_rules(dtypes, plan)}]."
        )
    return lines


def turned_advice(misfits: Iterable[Misfit]) -> list[str]:
    """Return what to do about those of *misfits* whose axes seem to be in another order."""
    turned = {
        m.match.target.name: way.steps
        for m in misfits
        if sorted(m.match.source.shape) == sorted(m.match.target.shape)
        and (way := way_between(m.match.source.shape, m.match.target.shape))
    }
    if not turned:
        return []
    rules = [of_values(str(step), name) for name, steps in turned.items() for step in steps]
    more = ", ..." if len(rules) > MAX_PATTERNS else ""
    listed = ", ".join(f'"{rule}"' for rule in rules[:MAX_PATTERNS])
    return [
        f"The axes of {grouped(turned)[0]} are in another order. If the checkpoint's layers are "
        'those of another framework, say whose: layout="torch", "keras" or "flax"; if only these '
        f"are, turn them around: rules=[{listed}{more}]."
    ]


def drop_rules(misfits: Iterable[Misfit], plan: Plan) -> str:
    """Return rules that leave *misfits* out, as they are written in a list."""
    patterns = drop_patterns(misfits, plan)
    more = ["..."] if len(patterns) > MAX_PATTERNS else []
    return ", ".join([*(f'"drop {pattern}"' for pattern in patterns[:MAX_PATTERNS]), *more])


def drop_patterns(misfits: Iterable[Misfit], plan: Plan) -> list[str]:
    """Return patterns that match *misfits* and nothing else: `fc/*` where that is so."""
    names = list(dict.fromkeys(m.match.target.name for m in misfits))
    others = [name for name, verdict in plan.targets.items() if verdict is not Verdict.MISSING]
    there = {scope for name in {*others} - {*names} for scope in scopes_of(name)}
    count = Counter(scope for name in names for scope in scopes_of(name)[:1])
    result: dict[str, None] = {}
    for name in names:
        scope = next(iter(scopes_of(name)), "")
        result[f"{scope}*" if count[scope] > 1 and scope not in there else name] = None
    return list(result)


def scopes_of(name: str) -> list[str]:
    """Return the scopes that *name* stands in with their final separator, the innermost first.

    >>> scopes_of("tower/fc/kernel"), scopes_of("fc.weight")
    (['tower/fc/', 'tower/'], ['fc.'])
    """
    separator = "/" if "/" in name else "."
    scopes = []
    while name := parent(name, separator):
        scopes.append(name + separator)
    return scopes


def warnings_of(plan: Plan) -> list[str]:
    """Return what to warn about: misfits that were ignored, and both one-sided lists."""
    texts = [ignored_text(plan), missing_text(plan), *unused_texts(plan)]
    return [text for text in texts if text]


def ignored_text(plan: Plan) -> str:
    """Return the warning on variables that keep their value since the checkpoint's does not fit."""
    ignored = [m for m in plan.misfits if not m.fatal]
    if not ignored:
        return ""
    why = ", ".join(dict.fromkeys(m.rule or "ignore_mismatch=True" for m in ignored))
    head = f"{number_of(len(ignored), 'variable')} left out since the shapes differ ({why}):"
    return "\n".join([head, *shortened(misfit_rows(ignored, plan))])


def missing_text(plan: Plan) -> str:
    """Return the warning on variables that no source has."""
    names = plan.named(Verdict.MISSING)
    if not names:
        return ""
    head = (
        f"{number_of(len(names), 'variable')} of the model not found in "
        f"{', '.join(plan.labels)}; "
        f"{'it keeps its initial value' if len(names) == 1 else 'they keep their initial values'}:"
    )
    return "\n".join([head, *shortened(f"  {g}" for g in grouped(names)), *meant(names, plan)])


def meant(names: Collection[str], plan: Plan) -> list[str]:
    """Return a line for each rule by which *names*, which are missing, may find a tensor."""
    copies = [f"rename {scope}* -> *" for scope in scopes_over(names, plan)]
    return shortened(f"  perhaps: {text}" for text in copies or hints(plan.near))


def scopes_over(names: Collection[str], plan: Plan) -> list[str]:
    """Return what stands before all of *names* among the tensors that no variable took.

    A training checkpoint may have a model twice, `state_dict/fc.weight` and `ema/module.fc.weight`.
    """
    wanted = set(names)
    unused = {name for _, name in plan.source_names(Verdict.UNUSED)}
    count = Counter(
        old[: cut.end()]
        for old in unused
        for cut in re.finditer(r"[/.]", old)
        if old[cut.end() :] in wanted
    )
    return sorted(scope for scope, n in count.items() if n == len(wanted) > 1)


def unused_texts(plan: Plan) -> list[str]:
    """Return a warning for each source on the tensors that the model does not have."""
    texts = []
    for label, verdicts in zip(plan.labels, plan.sources, strict=True):
        names = [name for name, verdict in verdicts.items() if verdict == Verdict.UNUSED]
        if names:
            head = f"{number_of(len(names), 'tensor')} of {label} not found in the model:"
            texts.append("\n".join([head, *shortened(f"  {g}" for g in grouped(names))]))
    return texts


def shortened(lines: Iterable[str]) -> list[str]:
    """Return the first of *lines*, and how many more there are."""
    lines = list(lines)
    more = len(lines) - MAX_LINES
    return [*lines[:MAX_LINES], f"  ... and {more} more"] if more > 0 else lines
