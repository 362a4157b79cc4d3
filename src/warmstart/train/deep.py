"""Whether everything in a folder of a run is sound: each checkpoint, and what holds them together.

Beside what `verify` reads of one checkpoint: its run state, the file `checkpoint`, the data files
that several checkpoints share, and what a killed save left behind.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from ..binary.lock import holder_of
from ..binary.urls import by_url, shown, urls_in
from ..errors import (
    CheckpointError,
    MissingDependency,
    UnsupportedCheckpoint,
    full_text,
    number_of,
)
from ..files.folder import Entry, survey
from ..files.options import Reading
from ..files.verify import Finding, Verification, verify
from ..files.views import Progress
from ..formats import expanded, files_of, open_as
from ..formats.tf_bundle.paths import has_index, prefix_of
from ..formats.tf_bundle.state import FILE_NAME, read_state
from .leftovers import left_in
from .newest import Rank, choose
from .retention import OURS
from .snapshot import saved_state


@dataclass(frozen=True, slots=True)
class DeepVerification:
    """What was found in a folder, or of one checkpoint."""

    path: str
    checkpoints: tuple[Verification, ...]
    faults: tuple[Finding, ...]  # of the folder, not of one of them
    notes: tuple[Finding, ...]
    resumes: str | None  # what a run in the folder goes on from

    @property
    def sound(self) -> bool:
        """Return whether all was looked at, and neither folder nor checkpoint has a fault."""
        return not self.faults and all(each.sound for each in self.checkpoints)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON holds it."""
        checkpoints = [each.to_dict() for each in self.checkpoints]
        return {"sound": self.sound, **asdict(self), "checkpoints": checkpoints}

    def __str__(self) -> str:
        hindered = sum(bool(each.hindrance) for each in self.checkpoints)
        unsound = sum(not each.sound for each in self.checkpoints) - hindered
        torn = f"UNSOUND, {unsound} of them and {number_of(len(self.faults), 'fault')} beside them"
        if hindered:
            others = "the others are sound" if not unsound and not self.faults else torn
            torn = f"{hindered} of them NOT CHECKED; {others}"
        total = number_of(len(self.checkpoints), "checkpoint")
        on = f"; a run goes on from {self.resumes}" if self.resumes else ""
        return "\n".join(
            [
                *(f"{each}\n" for each in self.checkpoints),
                *(f"fault  {fault}" for fault in self.faults),
                *(f"note   {note}" for note in self.notes),
                f"{self.path}: {total}: {'sound' if self.sound else torn}{on}",
            ]
        )


@by_url()
def verify_deep(
    path: str | Path, *, progress: Progress | None = None, **options: Unpack[Reading]
) -> DeepVerification:
    """Return whether everything at *path* is sound: a folder of checkpoints, or one of them.

    Beside what `verify` checks of each there is its run state, and of the folder the file
    `checkpoint`, data files that are shared, and leftovers.  *options* are those of `open`.  What
    cannot be found or looked into raises as `verify` does.
    """
    path = expanded(path)
    found = survey(path) if path.is_dir() else None
    if found is None or not (found.checkpoints or found.leftovers):
        one = with_run(verify(path, progress=progress, **options), options)
        return DeepVerification(shown(path), (one,), (), (), None)
    left = left_in(path)
    halves = {prefix_of(each).name for each in left if not has_index(prefix_of(each))}
    whole = [each for each in found.checkpoints if each.name not in halves]
    checked = tuple(checked_entry(each, progress, options) for each in whole)
    notes = [Finding("", str(each)) for each in found.leftovers]
    notes += [Finding(each.name, "no index refers to it: a save was stopped") for each in left]
    notes += shared_files(whole)
    faults, more, resumes = whereabouts(path)
    return DeepVerification(shown(path), checked, tuple(faults), (*notes, *more), resumes)


def checked_entry(
    entry: Entry, progress: Progress | None, options: Mapping[str, Any]
) -> Verification:
    """Return what reading all of the checkpoint *entry* of a folder tells."""
    try:
        return with_run(verify(entry.path, progress=progress, **options), options)
    except (MissingDependency, UnsupportedCheckpoint) as error:
        kind = entry.format or "unknown"
        return Verification(entry.path, kind, "nothing", 0, 0, (), (), hindrance=str(error))
    except CheckpointError as error:  # half of one
        fault = Finding("", said(error))
        return Verification(entry.path, entry.format or "unknown", "nothing", 0, 0, (fault,), ())


def with_run(found: Verification, options: Mapping[str, Any]) -> Verification:
    """Return *found* with a note on the run state of the checkpoint, or its fault."""
    if not found.sound:
        return found
    path = expanded(found.path)
    try:
        with open_as(found.format, path, **options) as source:
            state = saved_state(source)
    except CheckpointError as error:
        return replace(found, faults=(*found.faults, Finding("run state", said(error))))
    return replace(found, notes=(*found.notes, Finding("run state", about(state, path.name))))


def about(state: Mapping[str, Any] | None, name: str) -> str:
    """Return in words where the run of the checkpoint *name* stood."""
    if state is None:
        return "none: it holds variables alone"
    keys = [key for key in state["callbacks"] if key]
    words = f"step {state['step']}, epoch {state['epoch']}, {state['step_in_epoch']} steps into it"
    words += f"; callbacks: {', '.join(keys) or 'none with a state'}"
    match = OURS.fullmatch(name)
    if match and int(match[1]) != state["step"]:
        words += f"; its name says step {match[1]}"
    return words


def said(error: CheckpointError) -> str:
    """Return all that *error* says, with URLs in place of the folders that stand for them."""
    return urls_in(full_text(error))


def shared_files(entries: Iterable[Entry]) -> list[Finding]:
    """Return which data files several of *entries* share: what spoils one of them spoils all."""
    names: dict[tuple[int, int], list[Path]] = {}
    for entry in entries:
        for path in files_there(entry):
            status = path.stat()
            if status.st_nlink > 1:
                names.setdefault((status.st_dev, status.st_ino), []).append(path)
    groups = [sorted(path.name for path in paths) for paths in names.values() if len(paths) > 1]
    return [
        Finding(first, f"the same bytes on the disk as {', '.join(others)}")
        for first, *others in sorted(groups)
    ]


def files_there(entry: Entry) -> list[Path]:
    """Return the files of *entry* that can be looked at."""
    if entry.format is None:
        return []
    return [path for path in files_of(entry.format, expanded(entry.path)) if path.is_file()]


def whereabouts(folder: Path) -> tuple[list[Finding], list[Finding], str | None]:
    """Return faults of and notes on what *folder* points to, and what a run goes on from."""
    faults, notes = [], []
    state = None
    try:
        state = read_state(folder)
    except CheckpointError as error:
        faults.append(Finding(FILE_NAME, said(error)))
    choice = choose(folder)
    chosen = choice.chosen
    if chosen is not None and chosen.rank is not Rank.NAMED:
        told = "names another" if state else "is not there" if not faults else "is broken"
        notes.append(
            Finding(FILE_NAME, f"it {told}; verify --repair makes it name {chosen.path.name}")
        )
    faults += [
        Finding(FILE_NAME, f"it points to what a run cannot go on from: {urls_in(each.why_not)}")
        for each in choice.passed
        if each.rank is Rank.NAMED and state is not None
    ]
    if chosen is None and choice.passed:
        faults.append(Finding("", "a run can go on from none of them"))
    gone = [name for name in (state.all_paths if state else ()) if not has_index(folder / name)]
    notes += [Finding(FILE_NAME, f"it lists {name}, which is not there") for name in gone]
    holder = holder_of(folder)
    if holder is not None:
        notes.append(Finding("", f"held by {holder}: what it is saving may look torn"))
    return faults, notes, shown(chosen.path) if chosen else None
