"""Run the code of a Markdown page from top to bottom, as a reader would, and compare the output.

    python run_page.py PAGE          in an empty folder

    ```python       executed; all blocks of a page share one namespace
    ```text         right after a python block: what it prints
    ```console      after `$ ` a command, then what it prints; `$ echo $?` shows the code of the
                    one before, which otherwise has to be 0

`...` in shown output stands for anything.  A block that cannot run is preceded by
`<!-- not run: the reason -->`.  Blocks of other languages (toml, json, text alone) are no code.
"""

import contextlib
import io
import re
import subprocess
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\s*$")
NOT_RUN = re.compile(r"^ *<!-- not run: (?P<reason>.+) -->$")
RUN = {"python", "console"}
NO_CODE = {"text", "toml", "json", "make", "markdown"}


class WrongPage(Exception):
    """The page shows something that does not happen."""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: where it begins, what it holds, why it is not run, what it prints."""

    line: int
    language: str
    text: str
    reason: str | None = None
    output: str | None = None


def blocks(page: str) -> list[Block]:
    """Return every fenced block of *page*; a text block right after a python one is its output."""
    found: list[Block] = []
    lines = page.splitlines()
    end = -1  # of the block before
    for begin, stop in fences(lines):
        fence = FENCE.match(lines[begin])
        assert fence is not None
        text = "\n".join(line.removeprefix(fence["indent"]) for line in lines[begin + 1 : stop])
        between = [line for line in lines[end + 1 : begin] if line.strip()]
        marked = NOT_RUN.match(between[-1]) if between else None
        block = Block(begin + 1, fence["language"], text, marked["reason"] if marked else None)
        if found and not between and (found[-1].language, block.language) == ("python", "text"):
            before = found.pop()
            block = Block(before.line, "python", before.text, before.reason, text)
        found.append(block)
        end = stop
    return found


def fences(lines: list[str]) -> Iterator[tuple[int, int]]:
    """Yield the lines (from 0) on which every block opens and closes."""
    numbers = iter([i for i, line in enumerate(lines) if line.lstrip().startswith("```")])
    for begin in numbers:
        if not FENCE.match(lines[begin]):
            raise WrongPage(f"line {begin + 1}: {lines[begin]!r} opens no block")
        yield begin, next(numbers)


def run_python(block: Block, namespace: dict[str, Any]) -> None:
    """Execute *block*; compare what it prints when the page shows it."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile("\n" * block.line + block.text, "<page>", "exec"), namespace)
    if block.output is not None:
        compare(block.output, printed.getvalue())


def run_console(block: Block) -> None:
    """Execute every command of *block*; compare what it prints when the page shows it."""
    code = 0
    commands = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    if commands.pop(0).strip():
        raise WrongPage("a console block begins with `$ `")
    for command, following in zip(commands, [*commands[1:], ""], strict=True):
        typed, shown = parted(command)
        done = subprocess.run(
            ["bash", "-c", f"(exit {code})\n{typed}"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        code = done.returncode
        if code and following.strip().partition("\n")[0] != "echo $?":
            raise WrongPage(f"$ {typed}\nends with {code}:\n{done.stdout}")
        if shown.strip():
            compare(shown, done.stdout)


def parted(command: str) -> tuple[str, str]:
    """Return what is typed, continued after a final backslash, and what is shown below it."""
    lines = command.splitlines()
    n = next((i for i, line in enumerate(lines) if not line.endswith("\\")), len(lines) - 1) + 1
    return "\n".join(lines[:n]), "\n".join(lines[n:])


def compare(shown: str, printed: str) -> None:
    """Raise unless *printed* is what the page has *shown*, trailing blanks aside."""
    pattern = ".*".join(map(re.escape, stripped(shown).split("...")))
    if not re.fullmatch(pattern, stripped(printed), re.DOTALL):
        raise WrongPage(f"shown:\n{stripped(shown)}\nprinted:\n{stripped(printed)}")


def stripped(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines()).rstrip()


def run_page(page: str) -> None:
    """Run every block of *page* that is not marked; raise WrongPage naming the line."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.reason is not None or block.language in NO_CODE:
            continue
        if block.language not in RUN:
            raise WrongPage(f"line {block.line}: {block.language!r} is neither code nor text")
        try:
            run_console(block) if block.language == "console" else run_python(block, namespace)
        except Exception as error:
            detail = error if isinstance(error, WrongPage) else traceback.format_exc()
            raise WrongPage(f"line {block.line}: {detail}") from error


if __name__ == "__main__":
    try:
        run_page(Path(sys.argv[1]).read_text())
    except WrongPage as wrong:
        raise SystemExit(f"{sys.argv[1]}, {wrong}") from None
