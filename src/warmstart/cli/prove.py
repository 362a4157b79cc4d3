"""`warmstart prove`: a training command killed at random, against one that is not."""

import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from .output import json_option, print_json, print_lines, printable_lines

#: What ends a command from outside; not every system has both.
ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


@click.command(
    "prove",
    epilog="Example: warmstart prove --kills 6 -- python train.py --log-dir {dir}",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option(
    "--kills", type=click.IntRange(1), default=4, show_default=True, help="How often to kill it."
)
@click.option("--seed", type=int, help="Draws the moments.  [default: drawn, and printed]")
@click.option("--folder", help="Where the runs go, and stay.  [default: for the time of the proof]")
@click.option(
    "--timeout",
    type=float,
    default=3600,
    show_default=True,
    help="Seconds that one start of the command may take.",
)
@click.option(
    "--ignore",
    "ignored",
    metavar="PATTERN",
    multiple=True,
    help="What need not be equal: a tensor, a key of metadata, a file; repeatable.",
)
@json_option
def command(
    *,
    command: tuple[str, ...],
    kills: int,
    seed: int | None,
    folder: str | None,
    timeout: float,
    ignored: tuple[str, ...],
    as_json: bool,
) -> int:
    """Run COMMAND to its end, then again while it is killed at random and restarted.

    What both runs leave is compared bit by bit: checkpoints, run state, stats.jsonl.  Exits with 1
    if anything differs, or if no kill hit.

    {dir} in COMMAND stands for the folder of a run; a program that calls ws.logger.set_logger_dir
    needs none.  The command must go on from what is in its folder, and seed its generators.
    """
    from ..proving.proof import prove

    with runs_in(folder) as place, ending_with_the_terminal():
        found = prove(
            command, place, kills=kills, seed=seed, timeout=timeout, ignore=ignored, say=said
        )
    if as_json:
        print_json(found.to_dict())
    else:
        print_lines(line for text in found.lines() for line in text.splitlines())
    return 0 if found.proved else 1


def said(line: str) -> None:
    """Say at once what has happened."""
    click.echo(printable_lines(line), err=True)


@contextmanager
def runs_in(folder: str | None) -> Iterator[Path]:
    """Yield the folder for the runs; one that nobody asked for goes at the end."""
    if folder is not None:
        yield Path(folder).expanduser()
        return
    made = Path(tempfile.mkdtemp(prefix="warmstart-prove-"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def ending_with_the_terminal() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block as Ctrl-C does, so that what runs in it is killed.

    A SIGHUP that is ignored stays so: `nohup` asked for it.
    """
    before = {number: signal.getsignal(number) for number in ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
