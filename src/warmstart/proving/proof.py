"""The whole proof: a run that is not killed, one that is, and what became of them."""

import random
import shlex
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import number_of
from ..names import Pattern
from ..train.logger import FOLDER_VARIABLE
from .kills import LEAST, Aim, Kill, Pace, aims, killed, pace_of
from .processes import Process, ProofError, last_lines, started
from .results import Comparison, Difference, compare_runs, results_in
from .watching import Watch

#: Stands in a command for the folder of the run.
PLACEHOLDER = "{dir}"

#: Told of each thing as it happens.
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Proof:
    """What came out: it is `proved` when a kill hit and nothing differs."""

    seed: int
    seconds: float  # of the unkilled run, from its first file on
    kills: tuple[Kill, ...]
    comparison: Comparison
    failure: str = ""  # how a command that was killed before ended, if not well
    noise: Comparison | None = None  # of two unkilled runs; None: not tried

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Return the differences that count.

        What is not the same in two unkilled runs either does not, where no variable is among it: a
        generator that nobody seeds or uses.
        """
        if self.noise is None or not self.is_only_of_run_state:
            return self.comparison.differences
        return self.comparison.without(self.noise).differences

    @property
    def is_only_of_run_state(self) -> bool:
        """Return whether two unkilled runs have at least all variables in common."""
        return self.noise is None or all(each.of_run_state for each in self.noise.differences)

    @property
    def proved(self) -> bool:
        """Return whether the killed run ended as the other one did."""
        return bool(self.kills) and not self.failure and not self.differences

    def to_dict(self) -> dict[str, Any]:
        """Return the proof as JSON holds it."""
        return {
            "proved": self.proved,
            "seed": self.seed,
            "seconds": self.seconds,
            "kills": [kill.to_dict() for kill in self.kills],
            "compared": list(self.comparison.compared),
            "differences": [asdict(each) for each in self.differences],
            "unseeded": self.unseeded(),
            "notes": list(self.comparison.notes),
            "failure": self.failure,
        }

    def lines(self) -> list[str]:
        """Return the result as lines, the verdict last."""
        compared = f"compared: {', '.join(self.comparison.compared)}"
        unseeded = f"not compared, as no two runs have it in common: {', '.join(self.unseeded())}"
        counting = replace(self.comparison, differences=self.differences)
        return [
            *self.comparison.notes,
            *([compared] if self.comparison.compared else []),
            *([unseeded] if self.unseeded() and self.is_only_of_run_state else []),
            *(f"differs: {line}" for line in counting.lines()),
            self.verdict(),
        ]

    def unseeded(self) -> list[str]:
        """Return what two runs that were not killed do not have in common."""
        noise = self.noise.differences if self.noise else ()
        return list(dict.fromkeys(each.key or each.name for each in noise))

    def verdict(self) -> str:
        """Return the conclusion in a line."""
        in_save = sum(kill.where == "save" for kill in self.kills)
        hit = f"{number_of(len(self.kills), 'kill')} hit, {in_save} of them in a save"
        if self.proved:
            return f"PROVED (seed {self.seed}): {hit}; the results are the same, bit for bit"
        return f"NOT PROVED (seed {self.seed}): {self.failure or self.why_not(hit)}"

    def why_not(self, hit: str) -> str:
        """Return why nothing is proved by a run that came to its end; *hit* is what hit it."""
        if not self.kills:
            return (
                f"no kill hit, since the command works for {self.seconds:.1f} s only: give it "
                "more steps"
            )
        if self.is_only_of_run_state:
            return f"{hit}, and the results differ"
        return (
            "two runs that were not killed differ as well, so nothing can be said of the resume: "
            "seed all generators, and let the engine be deterministic"
        )


@dataclass(frozen=True, slots=True)
class Trial:
    """A command to be proved, in a folder for its runs.

    All runs write to `FOLDER/run`, which is then given another name, so that paths in checkpoints
    are the same in each.
    """

    command: Sequence[str]
    folder: Path
    timeout: float
    say: Say

    @property
    def run(self) -> Path:
        """Where the command writes."""
        return self.folder / "run"

    def filled(self) -> list[str]:
        """Return the command with the run's folder in the place of the placeholder."""
        return [argument.replace(PLACEHOLDER, str(self.run)) for argument in self.command]

    def started(self, name: str) -> AbstractContextManager[Process]:
        """Return a block in which the command runs; what it prints goes to a file after *name*."""
        environment = {FOLDER_VARIABLE: str(self.run)}  # tells a program of ours where to write
        return started(self.filled(), self.folder / f"{name}.log", self.timeout, environment)

    def straight(self, name: str) -> Pace:
        """Run the command unkilled, its folder then being called *name*; return how it went."""
        self.run.mkdir()
        watch = Watch(self.run)
        with self.started(name) as process:
            code = end(process, watch)
            seconds = process.seconds
        if code:
            raise ProofError(
                f"{shlex.join(self.filled())} ended with {code} before anything was killed:\n"
                + last_lines(process.log)
            )
        if not results_in(self.run):
            raise ProofError(
                f"the command left no checkpoint in {self.run}; tell it where with {PLACEHOLDER} "
                f"in the command, or let it write where {FOLDER_VARIABLE} says, as "
                "ws.logger.set_logger_dir does"
            )
        self.run.rename(self.folder / name)
        return pace_of(watch, seconds)

    def interrupted(self, pace: Pace, wanted: Sequence[Aim]) -> tuple[list[Kill], str]:
        """Run the command, kill it as *wanted* and restart it until it ends.

        Return the kills that hit, and how it ended if not well.
        """
        self.run.mkdir()
        kills: list[Kill] = []
        while True:
            with self.started(f"killed-{len(kills)}") as process:
                watch = Watch(self.run)
                aim = wanted[len(kills)] if len(kills) < len(wanted) else None
                kill = killed(process, watch, pace, aim) if aim else None
                code = 0 if kill else end(process, watch)
            if kill is None:
                if aim:
                    self.say(f"the command ended before kill {len(kills) + 1} of {len(wanted)}")
                bad = ended_badly(code, kills, process.log)
                if not self.run.is_dir():
                    return kills, bad or f"the command left no folder {self.run} at its end"
                self.run.rename(self.folder / "killed")
                return kills, bad
            kills.append(kill)
            self.say(f"kill {len(kills)} of {len(wanted)}: {kill}")


def end(process: Process, watch: Watch) -> int:
    """Wait for *process* and return how it ended."""
    while (code := process.code()) is None:
        watch.look_in_passing(process.seconds)
    return code


def ended_badly(code: int, kills: Sequence[Kill], log: Path) -> str:
    """Return how a command that was killed before ended, "" when it ended well."""
    if not code:
        return ""
    after = f"killed {kills[-1]}, and started again" if kills else "started again"
    return f"{after}, the command ended with {code}:\n{last_lines(log)}"


def make_ready(folder: Path) -> None:
    """Make *folder*; raise when that cannot be, or there is something in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ProofError(f"{folder} cannot be made for the runs: {error.strerror}") from error
    if any(folder.iterdir()):
        raise ProofError(f"{folder} has files in it; the proof needs an empty folder, or a new one")


def prove(
    command: Sequence[str],
    folder: Path,
    *,
    kills: int = 4,
    seed: int | None = None,
    timeout: float = 3600.0,
    ignore: Pattern | Sequence[Pattern] = (),
    say: Say = lambda line: None,
) -> Proof:
    """Run *command* killed and unkilled in *folder*, and compare what the two runs leave.

    The folder of a run stands for `{dir}` in the command, and in the environment variable
    WARMSTART_LOGGER_DIR.  The unkilled run comes first, and times the kills; *seed* draws them.
    *timeout* is in seconds, for each start of the command.  *ignore* are patterns of what need not
    be equal: names of tensors, keys of metadata and run state, files.  Raise ProofError when
    nothing can be proved: the command is not there, fails unkilled, or leaves no checkpoint.
    """
    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    folder = Path(folder).absolute()  # the command may go to another folder
    make_ready(folder)
    trial = Trial(command, folder, timeout, say)
    say(f"seed {seed}")
    pace = trial.straight("straight")
    say(f"the unkilled run takes {pace.end:.1f} s, {pace.work:.1f} s of it from its first file on")
    if pace.work < LEAST:
        return Proof(seed, pace.work, (), Comparison((), ()))
    hits, failure = trial.interrupted(pace, list(aims(pace, kills, seed)))
    while not hits and not failure and pace.work > LEAST:
        # The machine was busier before than it is now.
        pace = pace.at_twice_the_speed()
        shutil.rmtree(folder / "killed")
        hits, failure = trial.interrupted(pace, list(aims(pace, kills, seed)))
    if failure or not hits:
        return Proof(seed, pace.work, tuple(hits), Comparison((), ()), failure)
    found = compare_runs(folder / "straight", folder / "killed", ignore)
    noise = None
    if found.differences:
        say("the results differ; the command runs unkilled once more, to see if they always do")
        trial.straight("again")
        noise = compare_runs(folder / "straight", folder / "again", ignore)
    return Proof(seed, pace.work, tuple(hits), found, "", noise)
