"""A command with all that it starts: held for a moment, or killed at one blow.

with started(command, log, timeout, environment) as process:
    process.hold(); ...; process.release()
    process.kill()
# whatever happened in the block, nothing of it runs any more
"""

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import CheckpointError

PROC = Path("/proc")
#: Bytes of the end of what a command has printed, in which its last lines are looked for.
TAIL = 1 << 16


class ProofError(CheckpointError):
    """A command could not be put to the proof."""


@dataclass(slots=True)
class Process:
    """A command that runs in a session of its own."""

    popen: "subprocess.Popen[bytes]"
    log: Path
    timeout: float  # seconds
    began: float

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.monotonic() - self.began

    def code(self) -> int | None:
        """Return how it ended, None while it runs; raise ProofError when it runs for too long."""
        code = self.popen.poll()
        if code is None and self.seconds > self.timeout:
            raise ProofError(
                f"the command did not end within {self.timeout:g} s; it printed\n"
                f"{last_lines(self.log)}\na run that takes longer needs a longer --timeout"
            )
        return code

    def hold(self) -> None:
        """Stop it where it is, whatever it is doing, with those of its process group."""
        send([-self.popen.pid], signal.SIGSTOP)

    def release(self) -> None:
        """Let it go on."""
        send([-self.popen.pid], signal.SIGCONT)

    def kill(self) -> None:
        """Kill it with all that it has started: no clean-up, no last save."""
        self.hold()
        found: list[int] = []
        while (more := everything_under(self.popen.pid)) != found:  # some may just have begun
            found = more
            send(found, signal.SIGSTOP)
        # All are found before the first dies: whose parent is gone belongs to nobody.
        send(found, signal.SIGKILL)
        self.popen.wait()


def send(processes: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to those of *processes* that are still there; below 0 it is a group."""
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def everything_under(pid: int) -> list[int]:
    """Return the processes of the session that *pid* leads, and whatever descends from them.

    A launcher (torchrun) gives its workers sessions of their own.  Dead ones are left out.  Where
    the system does not tell (no /proc), it is the process group, as `kill` writes it.
    """
    if not PROC.is_dir():
        return [-pid]
    parents, sessions = {}, {}
    for entry in stats():
        number, state, parent, session = entry
        if state not in "ZX":
            parents[number], sessions[number] = parent, session
    found = {number for number in parents if pid in (number, sessions[number])}
    grown = True
    while grown:
        more = {number for number, parent in parents.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return sorted(found)


def stats() -> Iterator[tuple[int, str, int, int]]:
    """Yield the id, the state, the parent and the session of every process there is."""
    for folder in PROC.iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                # "12 (a name) S 1 12 12 ...": the name may have spaces and brackets in it
                fields = (folder / "stat").read_bytes().rpartition(b")")[2].decode().split()
                yield int(folder.name), fields[0], int(fields[1]), int(fields[3])


@contextmanager
def started(
    command: Sequence[str], log: Path, timeout: float, environment: Mapping[str, str]
) -> Iterator[Process]:
    """Run *command*, what it prints going to the file *log*; kill what is left of it at the end.

    *timeout* is in seconds; *environment* is added to that of this process.
    """
    with log.open("wb") as output:
        try:
            popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        except OSError as error:
            raise ProofError(
                f"{shlex.join(command)} cannot be started: {error.strerror or error}"
            ) from error
    process = Process(popen, log, timeout, time.monotonic())
    try:
        yield process
    finally:
        process.kill()


def last_lines(log: Path, count: int = 10) -> str:
    """Return the end of what a command has printed, indented."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL))
        text = str(file.read(TAIL), "utf-8", "replace").rstrip()
    lines = text.split("\n")[-count:] if text else ["(nothing printed)"]
    return "\n".join("    " + line.rpartition("\r")[2] for line in lines)
