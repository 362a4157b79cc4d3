"""Tables of a restore for people: short, aligned, and in colours on a terminal."""

import sys
from collections.abc import Iterable, Sequence
from typing import IO

from ..names import printable

#: What became of a name, the name or a group of names, and what there is to say.
Row = tuple[str, str, str]

#: Rows that are shown; of more the rest is counted.
MAX_ROWS = 40

#: The first word of a row -> its colour on a terminal, as rich calls it.
COLOURS = {
    "loaded": "green", "would": "green", "missing": "yellow", "unused": "yellow",
    "mismatched": "red", "skipped": "yellow", "lost": "yellow", "fresh": "yellow",
    "perhaps:": "cyan", "frozen": "blue",
}  # fmt: skip
OTHERS = "dim"


def table(head: str, rows: Sequence[Row], more: Sequence[str] = ()) -> list[str]:
    """Return *head*, *rows* as far as they are few, and *more* lines below."""
    shown = [tuple(map(printable, row)) for row in rows[:MAX_ROWS]]
    rest = len(rows) - len(shown)
    counted = [f"  ... and {rest:,} more rows; to_json() has every name"] if rest else []
    return [head, *aligned(shown), *counted, *(f"  {printable(line)}" for line in more)]


def aligned(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Return *rows* as indented lines with their columns one below the other."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        ("  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]


def show(lines: Sequence[str], file: IO[str] | None = None) -> None:
    """Print the lines of a table; in colours where *file*, standard output, is a terminal.

    NO_COLOR turns them off, as everywhere.
    """
    from rich.console import Console
    from rich.text import Text

    console = Console(file=file or sys.stdout, highlight=False, soft_wrap=True)
    for place, line in enumerate(lines):
        console.print(Text(line, style="bold" if place == 0 else colour_of(line)))


def colour_of(line: str) -> str:
    """Return the colour of a line of a table: that of its first word."""
    first, *_ = line.split(maxsplit=1) or [""]
    return COLOURS.get(first, OTHERS)
