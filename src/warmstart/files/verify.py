"""Whether a checkpoint is sound: its structure, its checksums, and what is odd in its values."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

from ..binary.urls import shown
from ..errors import (
    CheckpointError,
    CheckpointNotFound,
    CorruptCheckpoint,
    MissingDependency,
    full_text,
    number_of,
)
from ..formats import format_named, locate, open_as
from ..names import grouped
from ..source import Source
from ..spec import RUN_PREFIX
from .oddities import oddities
from .options import Reading
from .views import Progress, counted, read_ahead

#: Groups of names that one note is printed for; of more the rest is counted.
MAX_GROUPS = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about one tensor, or about the whole checkpoint if *name* is empty."""

    name: str
    what: str

    def __str__(self) -> str:
        return f"{self.name}: {self.what}" if self.name else self.what


@dataclass(frozen=True, slots=True)
class Verification:
    """What was checked and found.

    What the format forbids is a fault, and makes it unsound.  Notes are oddities of values, and
    bytes that nothing accounts for where the format leaves room for them.
    """

    path: str
    format: str
    checked: str
    tensors: int
    nbytes: int
    faults: tuple[Finding, ...]
    notes: tuple[Finding, ...]
    hindrance: str = ""  # why it could not be looked at, such as a package that is missing

    @property
    def sound(self) -> bool:
        """Return whether it was looked at and there is no fault."""
        return not self.faults and not self.hindrance

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON holds it."""
        return {"sound": self.sound, **asdict(self)}

    def __str__(self) -> str:
        if self.hindrance:
            return f"{self.path} ({self.format}): NOT CHECKED: {self.hindrance}"
        verdict = "sound" if self.sound else f"UNSOUND, {number_of(len(self.faults), 'fault')}"
        size = f"{number_of(self.tensors, 'tensor')}, {self.nbytes} bytes"
        return "\n".join(
            [
                *(f"fault  {fault}" for fault in self.faults),
                *(f"note   {note}" for note in told(self.notes)),
                f"checked {self.checked}",
                f"{self.path} ({self.format}): {size}: {verdict}",
            ]
        )


def told(notes: Iterable[Finding]) -> Iterator[str]:
    """Yield *notes* for people: tensors of which the same is to be said are one line."""
    names: dict[str, list[str]] = {}
    for note in notes:
        names.setdefault(note.what, []).append(note.name)
    for what, of_what in names.items():
        groups = grouped(of_what)
        yield from (str(Finding(group, what)) for group in groups[:MAX_GROUPS])
        if len(groups) > MAX_GROUPS:
            yield f"... and {len(groups) - MAX_GROUPS} more groups of names: {what}"


def verify(
    path: str | Path, *, progress: Progress | None = None, **options: Unpack[Reading]
) -> Verification:
    """Return whether the checkpoint at *path* is sound, having read all of it.

    *options* are those of `open`.  What cannot be found or read, or is of no known format, raises
    as `open` does; of what is there, a missing shard is a fault.
    """
    format, found = locate(path)
    checked = getattr(format_named(format), "CHECKS", f"what {format!r} checks when it reads")
    try:
        source = open_as(format, found, **options)
    except (CorruptCheckpoint, CheckpointNotFound) as error:
        if isinstance(error.__cause__, OSError):
            raise
        fault = Finding("", full_text(error))
        return Verification(shown(found), format, checked, 0, 0, (fault,), ())
    with source:
        with read_ahead(found, source):
            faults, notes = findings(counted(source, progress))
        nbytes = sum(spec.nbytes for spec in source.specs.values())
        return Verification(
            shown(found), format, checked, len(source.specs), nbytes, tuple(faults), tuple(notes)
        )


def findings(source: Source) -> tuple[list[Finding], list[Finding]]:
    """Return the faults and the notes from reading every tensor of *source*."""
    faults, notes = [], []
    absent: dict[str, list[str]] = {}  # names by the file that is not there, which takes many along
    for name in source.read_order():
        try:
            array = source.read(name)
        except CheckpointNotFound as error:
            absent.setdefault(str(error), []).append(name)
            continue
        except MissingDependency:
            raise  # which is no fault of the file
        except CheckpointError as error:
            faults.append(Finding(name, full_text(error)))
            continue
        if not name.startswith(RUN_PREFIX):
            notes += [Finding(name, text) for text in oddities(array)]
    faults += [Finding(", ".join(grouped(names)), text) for text, names in absent.items()]
    whole = [Finding("", text) for text in faults_of_whole(source, alone=not faults)]
    notes += [Finding("", f"nothing accounts for {run}") for run in source.unclaimed() or ()]
    return faults + whole, notes


def faults_of_whole(source: Source, *, alone: bool) -> Iterator[str]:
    """Yield what is wrong with *source* beside single tensors.

    Whether they get on together is told only if nothing is wrong with them *alone*.
    """
    yield from source.faults()
    try:
        if alone:
            source.check(source.specs)
    except CheckpointError as error:
        yield full_text(error)
