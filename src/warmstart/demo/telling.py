"""What the demo prints, runs and proves.

telling = Telling(folder)
telling.step("Train a base model")
done = telling.type("python mnist.py")          # shown with a `$ `, really run, output shown
telling.prove("it ended well", done.returncode == 0)
telling.failed                                  # the claims that did not hold
"""

import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent, indent

#: What the commands that are shown stand for in this environment.
PROGRAMS = {
    "python": [sys.executable],
    "warmstart": [sys.executable, "-c", "from warmstart.cli import main; main()"],
    "kill": [sys.executable, "-m", "warmstart.demo.kill"],
}

#: How much of a command's output is shown.
MAX_LINES = 14


class StoryEnds(Exception):
    """What the rest of the story rests on did not hold."""


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended; a negative code is the signal that killed it."""

    code: int
    output: str


@dataclass(slots=True)
class Telling:
    """A story told on standard output, and what was claimed in it."""

    folder: Path
    proved: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    steps: int = 0
    began: float = field(default_factory=time.monotonic)

    def step(self, title: str) -> None:
        """Open the next part of the story."""
        self.steps += 1
        self.say(f"\n{self.steps}. {title}\n")

    def say(self, text: str) -> None:
        """Print *text* at once, so that a pipe shows it too."""
        print(text, flush=True)

    def type(self, command: str, *, run: str | None = None) -> Done:
        """Show *command*, run it (or *run* in its place) in the folder and show what it prints."""
        self.say(f"  $ {command}")
        done = ended(self.start(run or command))
        if done.output:
            self.say(shown(done.output))
        return done

    def excerpt(self, script: str, first: str, last: str) -> None:
        """Show the lines of *script* from the one that begins with *first* to that with *last*."""
        lines = (self.folder / script).read_text().splitlines()
        begin = next(n for n, line in enumerate(lines) if line.lstrip().startswith(first))
        end = next(n for n in range(begin, len(lines)) if lines[n].lstrip().startswith(last))
        self.say(f"  # in {script}")
        self.say(indent(dedent("\n".join(lines[begin : end + 1])), "    "))

    def start(self, command: str) -> "subprocess.Popen[str]":
        """Start *command* in the folder and return without waiting for it."""
        program, *arguments = shlex.split(command)
        return subprocess.Popen(
            [*PROGRAMS.get(program, [program]), *arguments],
            cwd=self.folder,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def prove(self, claim: str, holds: bool) -> None:
        """Print whether *claim* holds, and remember."""
        (self.proved if holds else self.failed).append(claim)
        self.say(f"  {'proved' if holds else 'FAILED'}: {claim}")

    def require(self, claim: str, holds: bool) -> None:
        """Prove a claim that the rest of the story rests on: without it the story ends."""
        self.prove(claim, holds)
        if not holds:
            raise StoryEnds(claim)

    @property
    def seconds(self) -> float:
        """How long the story has taken so far."""
        return time.monotonic() - self.began


def ended(process: "subprocess.Popen[str]") -> Done:
    """Wait for *process* and return what became of it."""
    output, _ = process.communicate()
    return Done(process.returncode, output)


def shown(output: str) -> str:
    """Return *output* indented, the middle of a long one left out.

    >>> print(shown("loss 2\\rloss 1\\nsaved\\n"))
        loss 1
        saved
    """
    lines = [line.rpartition("\r")[2].rstrip() for line in output.rstrip("\n").split("\n")]
    if len(lines) > MAX_LINES:
        half = MAX_LINES // 2
        left_out = len(lines) - 2 * half
        lines = [*lines[:half], f"… {left_out} more lines …", *lines[-half:]]
    return "\n".join("    " + line for line in lines if line)
