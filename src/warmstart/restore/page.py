"""A report as one HTML page: what was loaded, from where, what was not and why.

The page fetches nothing, so that it can be sent to somebody.  It is complete without its script,
which only hides the rows that one does not look for.  Names come from outside and are escaped.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from ..errors import number_of
from ..names import grouped, printable, without_output
from ..spec import size_text
from .drafts import drafts_of
from .page_style import SCRIPT, STYLE
from .plan import Verdict

if TYPE_CHECKING:
    from .report import Line, Report

#: Rows that a browser shows at ease; of more the rest is counted.
MAX_ROWS = 20_000

#: What is said first of what was not loaded: groups of names for each reason.
MAX_GROUPS = 12

#: Verdict -> its words above the table, as it is and as it would be.
TITLES = {
    "loaded": ("loaded", "would be loaded"),
    "mismatched": ("do not fit", "do not fit"),
    "missing": ("not in the checkpoint", "not in the checkpoint"),
    "unused": ("not in the model", "not in the model"),
    "dropped": ("left out by a rule", "left out by a rule"),
    "kept": ("not asked for", "not asked for"),
    "overridden": ("overridden by a later source", "overridden by a later source"),
}


def page(report: "Report") -> str:
    """Return the page of *report*."""
    plan = report.plan
    verdicts = Counter(str(verdict) for verdict in plan.targets.values())
    title = f"{verdicts['loaded']:,} of {number_of(len(plan.targets), 'variable')}"
    done = "loaded" if report.done else "would be loaded"
    body = [
        f"<h1>{title} {done}</h1>",
        bar(verdicts, report.done),
        *attention(report),
        *sources(report),
        *variables(report),
        *left_over(report),
    ]
    return PAGE.format(
        title=f"{title} {done}", style=STYLE, body="\n".join(body), script=SCRIPT,
        version=escape(__version__),
    )  # fmt: skip


def text(value: object) -> str:
    """Return *value* as it may stand anywhere on the page.

    >>> text("<b>\\x1b&")
    '&lt;b&gt;\\\\x1b&amp;'
    """
    return escape(printable(str(value)))


def titled(verdict: str, done: bool) -> str:
    """Return what *verdict* is called on the page."""
    return TITLES.get(verdict, (verdict, verdict))[not done]


def bar(verdicts: Counter[str], done: bool) -> str:
    """Return the share of each verdict as a bar, and in words for who cannot see it."""
    total = sum(verdicts.values()) or 1
    parts = [
        f'<span class="{text(verdict)}" style="flex-grow:{n / total:.4f}"></span>'
        for verdict, n in verdicts.most_common()
    ]
    words = [
        f'<li><span class="mark {text(verdict)}" aria-hidden="true"></span>{n:,} '
        f"{titled(verdict, done)}</li>"
        for verdict, n in verdicts.most_common()
    ]
    return (
        f'<div class="bar" aria-hidden="true">{"".join(parts)}</div>'
        f'<ul class="legend">{"".join(words)}</ul>'
    )


def attention(report: "Report") -> Iterator[str]:
    """Yield what was not loaded, in groups, with the reason and what may have been meant."""
    plan, slots = report.plan, report.slots.rows()
    reasons = [
        ("mismatched", "Do not fit", [f"{n}: {why}" for n, why in report.mismatched.items()]),
        ("missing", "In the model, in no checkpoint", grouped(report.missing)),
        ("unused", "In a checkpoint, not in the model", grouped(report.unused)),
        ("slots", "Optimizer state", [f"{n}: {fate}, {why}" for fate, n, why in slots]),
    ]
    perhaps = [
        f"{draft}{f' (a guess: {draft.doubt})' if draft.doubt else ''}"
        for draft in drafts_of(plan.near)
    ]
    found = [reason for reason in reasons if reason[2]]
    if not found:
        yield "<p>Nothing is left over on either side.</p>"
    for verdict, head, items in [*found, ("near", "Perhaps meant, as rules", perhaps)]:
        if items:
            yield f'<section class="why {verdict}"><h2>{head}</h2>{listed(items)}</section>'


def listed(items: Sequence[str]) -> str:
    """Return *items* as a list; what is beyond the first few opens on demand."""
    rows = [f"<li><code>{text(item)}</code></li>" for item in items[:MAX_ROWS]]
    head, rest = rows[:MAX_GROUPS], rows[MAX_GROUPS:]
    more = f"<details><summary>{len(rest):,} more</summary><ul>{''.join(rest)}</ul></details>"
    return f"<ul>{''.join(head)}</ul>{more if rest else ''}"


def sources(report: "Report") -> Iterator[str]:
    """Yield the table of the sources: size of the file, tensors, and what became of them."""
    plan = report.plan
    loaded: Counter[int] = Counter()
    for match in plan.matches.values():
        loaded[match.part] += match.source.nbytes
    rows = []
    for part, (label, verdicts) in enumerate(zip(plan.labels, plan.sources, strict=True)):
        counts = Counter(titled(str(verdict), True) for verdict in verdicts.values())
        told = ", ".join(f"{n:,} {words}" for words, n in counts.most_common())
        rows.append([label, file_size(label), f"{len(verdicts):,}", size_text(loaded[part]), told])
    heads = ["Source", "File", "Tensors", "Taken", "What became of them"]
    if rows:
        yield "<h2>Sources</h2>" + table_of(heads, ([text(c) for c in row] for row in rows))


def file_size(label: str) -> str:
    """Return the size of the file *label*, "" where it is none."""
    try:
        path = Path(label)
        return size_text(path.stat().st_size) if path.is_file() else ""
    except (OSError, ValueError):
        return ""


def variables(report: "Report") -> Iterator[str]:
    """Yield the table of every variable of the model, and what filters it."""
    lines = list(report.lines())
    present = dict.fromkeys(line.verdict for line in lines)
    boxes = [
        f'<label><input type="checkbox" value="{text(v)}" checked> {titled(v, report.done)}</label>'
        for v in present
    ]
    yield "<h2>Variables</h2>"
    yield (
        '<form class="filter" hidden><label>Name <input type="search" id="search"></label>'
        f"<fieldset><legend>Show</legend>{''.join(boxes)}</fieldset>"
        '<output id="count" aria-live="polite"></output></form>'
    )
    heads = ["Variable", "What became of it", "Is", "From", "Done to it"]
    rows = (cells(line, report) for line in lines[:MAX_ROWS])
    yield table_of(heads, rows, [line.verdict for line in lines[:MAX_ROWS]], "variables")
    if len(lines) > MAX_ROWS:
        yield f"<p>... and {len(lines) - MAX_ROWS:,} more; to_json() has every name.</p>"


def cells(line: "Line", report: "Report") -> list[str]:
    """Return the row of one variable."""
    old = line.old_name
    renamed = old is not None and without_output(old) != line.name
    origin = " ".join(
        part
        for part in (text(line.file or ""), f"as <code>{text(old)}</code>" if renamed else "")
        if part
    )
    done = ", ".join(filter(None, [line.note, "frozen" if line.frozen else ""]))
    return [
        f"<code>{text(line.name)}</code>",
        f'<span class="mark {text(line.verdict)}" aria-hidden="true"></span>'
        + text(titled(line.verdict, report.done)),
        text(report.plan.specs[line.name]) if line.name in report.plan.specs else "",
        origin,
        text(done),
    ]


def left_over(report: "Report") -> Iterator[str]:
    """Yield the table of the tensors that filled nothing."""
    rows = [
        (name, str(verdict), label)
        for label, verdicts in zip(report.plan.labels, report.plan.sources, strict=True)
        for name, verdict in verdicts.items()
        if verdict not in (Verdict.LOADED, Verdict.MISMATCHED)
    ]
    if rows:
        made = (
            [f"<code>{text(name)}</code>", text(titled(verdict, report.done)), text(label)]
            for name, verdict, label in rows[:MAX_ROWS]
        )
        yield f"<details><summary>{number_of(len(rows), 'tensor')} that filled nothing</summary>"
        yield table_of(["Tensor", "What became of it", "In"], made) + "</details>"


def table_of(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    verdicts: Sequence[str] = (),
    name: str = "",
) -> str:
    """Return a table of cells that are already escaped; *verdicts* are what rows are hidden by."""
    head = "".join(f'<th scope="col">{h}</th>' for h in heads)
    lines = []
    for place, row in enumerate(rows):
        mark = f' data-verdict="{text(verdicts[place])}"' if verdicts else ""
        first, *others = row
        rest = "".join(f"<td>{cell}</td>" for cell in others)
        lines.append(f'<tr{mark}><th scope="row">{first}</th>{rest}</tr>')
    own = f' id="{name}"' if name else ""
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return f'<div class="wide"><table{own}>{body}</table></div>'


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
<footer>warmstart {version}</footer>
<script>{script}</script>
</body>
</html>
"""
