"""The command line: results on standard output, words on standard error.

    warmstart ls | show | diff | match | dump | convert | verify | doctor |
    prove | demo

It exits with 0 for same or sound, 1 for differs or unsound, 2 for what could not be done.  A
command's module is imported when it is called, so that `ls` starts without NumPy.
"""

import gc
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import Any

import click

from .. import __version__
from ..errors import CheckpointError, full_text
from ..names import near
from .output import printable_lines

#: command -> (module, its line in `warmstart --help`)
COMMANDS: Mapping[str, tuple[str, str]] = {
    "ls": ("listing", "List tensors: names, shapes, dtypes, roles, sizes."),
    "show": ("show", "Show values of tensors and their statistics."),
    "diff": ("diff", "Compare two checkpoints tensor by tensor."),
    "verify": ("verify", "Check that a checkpoint is sound."),
    "doctor": ("doctor", "Say what a checkpoint would resume of its run, and what not."),
    "prove": ("prove", "Kill a training command at random and see that it goes on exactly."),
    "match": ("match", "Say what a checkpoint would fill of a model, and set nothing."),
    "convert": ("convert", "Write a checkpoint in another format or under other names."),
    "dump": ("dump", "Write only what inference needs of a training checkpoint."),
    "demo": ("demo", "Watch the main job on real digits, from training to resume."),
}

#: Objects made between two searches for garbage: what a listing makes lives until it is printed,
#: and searching it again and again takes a tenth of the time.
GARBAGE = 500_000

BROKEN_PIPE = 141  # what a shell reports of a program that SIGPIPE ended


class Commands(click.Group):
    """The commands of the table, each imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module("." + COMMANDS[cmd_name][0], __name__)
        command: click.Command = module.command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args[0] not in COMMANDS:
            there = near(args[0], COMMANDS, count=1) or COMMANDS
            word = "near it" if len(there) == 1 else "the commands"
            ctx.fail(f"no command is called {args[0]!r}; {word}: {', '.join(there)}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:  # `| head` has seen enough; click itself would exit with 1
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(BROKEN_PIPE) from None
        return code

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Inspect, compare, convert and verify checkpoints of any format, without their framework.

    PATH is written as one would type it: a file, a TensorFlow bundle's prefix, index or data file,
    a `checkpoint` file, or a folder, which stands for its latest checkpoint.
    """


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit the process."""
    gc.set_threshold(GARBAGE)
    if isinstance(sys.stdout, TextIOWrapper):  # half a surrogate pair: JSON has that escape too
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(run(args))


def run(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; what could not be done is said in words."""
    try:
        typed = sys.argv[1:] if args is None else list(args)
        return cli.main(typed or ["--help"], prog_name="warmstart", standalone_mode=False) or 0
    except click.ClickException as error:
        show_error(error)
        return error.exit_code
    except CheckpointError as error:
        click.echo(f"error: {printable_lines(full_text(error))}", err=True)
        return 2
    except OSError as error:
        click.echo(f"error: {printable_lines(str(error))}", err=True)
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        return 130


def show_error(error: click.ClickException) -> None:
    """Print what click refuses as all other errors are, and of a command its usage before that."""
    context = getattr(error, "ctx", None)
    if context is not None:
        help_line = f"Try '{context.command_path} --help' for help."
        click.echo(f"{context.get_usage()}\n{help_line}\n", err=True)
    click.echo(f"error: {printable_lines(error.format_message())}", err=True)
