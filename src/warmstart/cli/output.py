"""What commands print: columns, sizes, JSON, and a progress bar where somebody watches."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from ..names import printable

#: Characters of a text that are shown on a terminal.
SHOWN = 200

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield *rows* as lines of left-aligned columns; the last column is not padded."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    pattern = "  ".join([f"%-{width}s" for width in widths[:-1]] + ["%s"])
    for row in rows:
        yield pattern % tuple(row)


def print_lines(lines: Iterable[str]) -> None:
    """Print *lines* in one piece: twenty thousand calls would take longer than the listing."""
    sys.stdout.write("\n".join(map(printable, lines)) + "\n")


def printable_lines(text: str) -> str:
    """Return *text* as `printable` shows each of its lines.

    >>> printable_lines("in the file\\nbad\\x1b[2J")
    'in the file\\nbad\\\\x1b[2J'
    """
    return "\n".join(map(printable, text.split("\n")))


def shortened(text: str) -> str:
    """Return *text* as far as a person at a terminal will read it.

    >>> shortened("short"), len(shortened("x" * 5000))
    ('short', 222)
    """
    if len(text) <= SHOWN:
        return text
    return f"{text[:SHOWN]}... ({len(text):,} characters)"


def print_json(value: Any) -> None:
    """Print *value* as JSON that any parser reads: no NaN, no infinities."""
    import json

    click.echo(json.dumps(plain(value), indent=2, allow_nan=False, ensure_ascii=False))


def plain(value: Any) -> Any:
    """Return *value* with what JSON has no word for as text, and complex numbers as pairs."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, complex):
        return [plain(value.real), plain(value.imag)]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, float) and value - value != 0:
        return str(value)  # "nan", "inf", "-inf"
    return value


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """Yield what is to be told of the bytes done and in all; None when nobody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn(what),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
