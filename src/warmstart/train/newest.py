"""The checkpoint in a folder from which no work is lost: the newest that is sound.

    1  the one whose save was complete when a kill kept the file `checkpoint` from naming it
    2  the one that the file `checkpoint` names
    3  those that it lists, the latest first
    4  any other model-STEP, the highest step first

The first of them that is a run, every byte of which is as its checksums say, is taken.  A newer one
of another run, or one that somebody made `checkpoint` point away from, does not come before it.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path

from ..binary.ahead import memory, size_of
from ..binary.lock import holder_of
from ..binary.urls import by_url, shown
from ..errors import CheckpointError, ResumeError, full_text
from ..formats import files_of, locate, open_as
from ..formats.tf_bundle.paths import INDEX
from ..formats.tf_bundle.state import FILE_NAME, State, read_state
from ..processes import ALONE, Processes
from . import logger
from .newest_together import Read, follow, led
from .retention import OURS
from .snapshot import saved_state
from .tensorpack import tensorpack_place

log = logging.getLogger("warmstart")

BLOCK = 8 << 20


class Rank(Enum):
    """Why a checkpoint may be the one."""

    UNNAMED = "its save was complete but for the file `checkpoint`"
    NAMED = "the file `checkpoint` names it"
    THERE = "it is there"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A checkpoint that may be the one; *path* may be the file that points to it."""

    path: Path
    rank: Rank


@dataclass(frozen=True, slots=True)
class Judged:
    """What reading all of a checkpoint told."""

    path: Path
    rank: Rank
    fault: str = ""  # why it is not sound
    place: bool = False  # whether it says where its run stood
    reason: str = ""  # why it does not

    @property
    def why_not(self) -> str:
        """Why a run cannot go on from it, in the words of a list."""
        return f"{self.path.name}: {self.fault or self.reason}".replace("\n", "\n    ")


@dataclass(frozen=True, slots=True)
class Choice:
    """What a run in a folder goes on from, and what was passed over for it."""

    chosen: Judged | None
    passed: tuple[Judged, ...]


@by_url()
def checkpoint_to_resume(
    checkpoint_dir: str | os.PathLike[str] | None, processes: Processes = ALONE
) -> Path | None:
    """Return the newest sound checkpoint in the folder, None when there is not even an unsound one.

    It is the one that the file `checkpoint` names, or was about to name when the run was killed.
    What is passed over is said in a warning.  Several *processes* all call this, and each reads
    its share; process 0 alone has something to return.
    """
    folder = logger.folder_for(checkpoint_dir)
    if not processes.first:
        follow(processes)
        return None
    look = partial(choose, folder)
    choice = look() if processes.count == 1 else led(processes, look)
    if choice.chosen is not None:
        tell(choice.chosen, choice.passed)
        return choice.chosen.path
    if choice.passed:
        raise ResumeError(
            f"neither what the file `checkpoint` names nor a model-STEP is sound in {folder}; "
            "to go on from another, Trainer.train(resume_from=PATH); to begin anew, use another "
            "folder\n  " + "\n  ".join(reasons(choice.passed))
        )
    return None


def choose(folder: Path, read: Read | None = None) -> Choice:
    """Return what a run in *folder* goes on from; nothing is said or changed.

    *read* reads all of a candidate, by default `read_whole`.
    """
    passed: list[Judged] = []
    for candidate in candidates(folder):
        judged = judge(candidate, read)
        if judged.place:
            return Choice(judged, tuple(passed))
        passed.append(judged)
    # Variables alone, if nothing more is to be had.
    sound = next((each for each in passed if not each.fault), None)
    return Choice(sound, tuple(each for each in passed if each.fault or sound is None))


def tell(judged: Judged, passed: Sequence[Judged]) -> None:
    """Say why it is this one, where the file `checkpoint` alone does not say so."""
    if judged.rank is Rank.UNNAMED:
        log.info("%s was complete when the run was killed, but not yet named", shown(judged.path))
    elif passed or judged.rank is not Rank.NAMED:
        why = "\n  ".join(reasons(passed)) or "there is no file `checkpoint`"
        log.warning("resuming from %s, the newest sound one:\n  %s", shown(judged.path), why)


def reasons(passed: Sequence[Judged]) -> list[str]:
    """Return why a run cannot go on from each of *passed*, as lines, none of them twice."""
    return list(dict.fromkeys(each.why_not for each in passed))


def candidates(folder: Path) -> Iterator[Candidate]:
    """Yield what may be the one, the likeliest first, each once."""
    pointer = folder / FILE_NAME
    state = named_in(folder)
    unnamed = about_to_be_named(folder, state)
    if unnamed is not None:
        yield Candidate(unnamed, Rank.UNNAMED)
    if os.path.lexists(pointer) and not pointer.is_dir():
        yield Candidate(pointer, Rank.NAMED)
    there = dict.fromkeys(newest_first(folder))
    listed = [folder / name for name in reversed(state.all_paths)] if state else []
    done = {unnamed, folder / state.latest} if state else {unnamed}
    for path in dict.fromkeys([*(path for path in listed if path in there), *there]):
        if path not in done:
            yield Candidate(path, Rank.THERE)


def named_in(folder: Path) -> State | None:
    """Return what the file `checkpoint` in *folder* says, None when it is not there or broken."""
    with suppress(CheckpointError):
        return read_state(folder)
    return None


def about_to_be_named(folder: Path, state: State | None) -> Path | None:
    """Return the checkpoint that a kill kept the file `checkpoint` from naming, if it has an index.

    The folder's lock tells it.  It does not count if somebody has changed that file since.
    """
    holder = holder_of(folder)
    if holder is None or not OURS.fullmatch(holder.saving):
        return None
    latest = state.latest if state else ""
    path = folder / holder.saving
    known = state is not None and holder.saving in (latest, *state.all_paths)
    return path if latest == holder.after and not known and path in newest_first(folder) else None


def newest_first(folder: Path) -> list[Path]:
    """Return the bundles that a ModelSaver wrote in *folder*, by falling step."""
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise ResumeError(
            f"{folder} cannot be looked into for checkpoints: {error.strerror}; to begin anew, use "
            "another folder"
        ) from error
    found = [OURS.fullmatch(name.removesuffix(INDEX)) for name in names if name.endswith(INDEX)]
    steps = sorted((int(match[1]) for match in found if match), reverse=True)
    return [folder / f"model-{step}" for step in steps]


def judge(candidate: Candidate, read: Read | None = None) -> Judged:
    """Return whether every byte of *candidate* is right, and whether it is a run's."""
    path, rank = candidate.path, candidate.rank
    try:
        if rank is Rank.NAMED:
            read_state(path.parent)  # says what is wrong with it
        format, path = locate(path)
        is_run = (read or read_whole)(format, path)
    except CheckpointError as error:
        return Judged(path, rank, fault=full_text(error))
    try:
        if not is_run:
            tensorpack_place(path, optional=False)
    except CheckpointError as error:
        return Judged(path, rank, reason=str(error))
    return Judged(path, rank, place=True)


def read_whole(format: str, path: Path) -> bool:
    """Read all of the checkpoint at *path*; return whether it has a run state, which is read too.

    Raise CheckpointError for the first fault.
    """
    files = files_of(format, path)
    for file in files:
        refuse_unreadable(file)
    with open_as(format, path) as source:
        if sum(map(size_of, files)) <= memory() // 2:
            source.read_all()
        else:  # one at a time: the first would have to go before the last comes
            for name in source.read_order():
                source.read(name)
        return saved_state(source) is not None


def refuse_unreadable(path: Path) -> None:
    """Raise when the disk cannot give all of *path*: a map of it would end the process with SIGBUS.

    What is read is in the cache then, so that reading it again costs what memory does.
    """
    room = memoryview(bytearray(BLOCK))
    if not path.is_file():
        return  # what stands there instead of a file, the reader says
    try:
        with open(path, "rb", buffering=0) as file:
            while file.readinto(room):
                pass
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
