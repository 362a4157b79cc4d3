"""A folder's checkpoints: which there are, how old and large they are, and whether they are whole.

Structure and sizes are looked at, values are not read: `verify` does that.
"""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..binary.atomic import TEMPORARY
from ..binary.urls import shown, urls_in
from ..errors import (
    CheckpointError,
    CheckpointNotFound,
    MissingDependency,
    UnknownFormat,
    UnsupportedCheckpoint,
)
from ..formats import (
    claimed,
    each_format,
    expanded,
    files_of,
    locate,
    open_as,
    translating_os_errors,
)
from ..source import Source

POINTER = "checkpoint"  # TensorFlow's file that says which checkpoint is the latest

#: What a killed save leaves behind, by name: pattern -> who left it.
LEFTOVERS = {
    rf"\..*{re.escape(TEMPORARY)}": "warmstart",
    r".*\.tempstate\d+(\.data-.*|\.index)?": "TensorFlow",
    r".*_temp(_[0-9a-f]{32})?": "TensorFlow",
    r".*\.orbax-checkpoint-tmp(-\d+)?": "Orbax",
    r"tmp-checkpoint-\d+": "transformers",
    r".*\.(tmp|incomplete|part)": "an unknown program",
}

STEP = re.compile(r"(?:steps?|iter(?:ation)?|epoch)[-_=]?(\d+)", re.IGNORECASE)
DECIMAL = re.compile(r"(?<!\d)\d+\.\d+")
NUMBER = re.compile(r"(?<![^\W_])(\d+)(?![^\W_])")
SHARD = re.compile(r"-(?:\d{5}|\?{5})-of-\d{5}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One checkpoint of a folder; `tensors` is None where it could not be opened."""

    name: str  # in the folder; what to type after it
    path: str
    format: str | None
    step: int | None  # the number in its name
    modified: float  # when its newest file was, in seconds since 1970
    nbytes: int  # of its files
    tensors: int | None = None
    sound: bool | None = None  # None: it could not be looked at, see `reason`
    reason: str = ""
    latest: bool = False  # the one that the folder itself stands for

    @property
    def state(self) -> str:
        """Return in words whether it is whole."""
        word = {True: "sound", False: "torn", None: "not checked"}[self.sound]
        return f"{word}: {self.reason}" if self.reason else word

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as JSON holds it."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Leftover:
    """What a save that was stopped left behind."""

    name: str
    nbytes: int
    by: str

    def __str__(self) -> str:
        return f"{self.name} is left over from a save by {self.by} that was stopped"


@dataclass(frozen=True, slots=True)
class Folder:
    """The checkpoints in a folder, the latest last, and what else is there."""

    path: str
    checkpoints: tuple[Entry, ...]
    leftovers: tuple[Leftover, ...]
    others: tuple[str, ...]  # names of what is no checkpoint
    stands_for: str | None  # the path that opens when the folder's is given
    warning: str  # why none would

    def to_dict(self) -> dict[str, Any]:
        """Return the folder as JSON holds it."""
        return {
            "path": self.path,
            "checkpoints": [entry.to_dict() for entry in self.checkpoints],
            "leftovers": [
                {"name": left.name, "nbytes": left.nbytes, "by": left.by} for left in self.leftovers
            ],
            "others": list(self.others),
            "latest": self.stands_for,
            "warning": self.warning,
        }

    @property
    def is_one(self) -> bool:
        """Return whether the folder is one checkpoint, or holds one and no word on others."""
        if self.stands_for is None or self.path == self.stands_for:
            return self.stands_for is not None
        return len(self.checkpoints) == 1 and not self.leftovers and POINTER not in self.others


def survey(folder: str | Path, **options: Any) -> Folder:
    """Return what is in *folder*; *options* are those of `open`, for each that is looked at."""
    folder = expanded(folder)
    with translating_os_errors(folder):
        names = sorted(os.listdir(folder))
    stands_for, warning = meant(folder)
    if stands_for == folder:
        return Folder(str(folder), (), (), (), str(folder), "")
    leftovers = list(left_over(folder, names))
    left = {leftover.name for leftover in leftovers}
    names = [name for name in names if name not in left]
    entries: dict[str, Entry] = {}
    others = []
    for path, files in candidates(folder, names):
        entry = looked_at(folder, path, files, options)
        if entry is None:
            others.append(path.name)
        else:
            latest = stands_for is not None and entry.path == shown(stands_for)
            entries.setdefault(entry.path, replace(entry, latest=latest))
    ordered = sorted(entries.values(), key=age)
    return Folder(
        str(folder), tuple(ordered), tuple(leftovers), tuple(others),
        None if stands_for is None else str(stands_for), warning,
    )  # fmt: skip


def meant(folder: Path) -> tuple[Path | None, str]:
    """Return the checkpoint that *folder* stands for; if there is none, why."""
    try:
        return locate(folder)[1], ""
    except UnknownFormat:  # it holds none, or does not say which
        return None, ""
    except CheckpointError as error:
        return None, str(error)


def left_over(folder: Path, names: Iterable[str]) -> Iterator[Leftover]:
    """Yield what stopped saves left in *folder*."""
    for name in names:
        by = next((who for what, who in LEFTOVERS.items() if re.fullmatch(what, name)), None)
        if by is not None:
            yield Leftover(name, sum(status.st_size for status in statuses([folder / name])), by)


def candidates(folder: Path, names: list[str]) -> Iterator[tuple[Path, list[Path]]]:
    """Yield what in *folder* may be a checkpoint, with its files; each file is yielded once."""
    claimed: set[Path] = set()
    for _, format_ in each_format():
        found = format_.found_in(folder, names) if hasattr(format_, "found_in") else {}
        for path, files in found.items():
            if not claimed.issuperset(files):
                yield path, list(files)
                claimed.update(files)
    yield from ((folder / n, [folder / n]) for n in names if folder / n not in claimed)


def looked_at(folder: Path, path: Path, files: list[Path], options: dict[str, Any]) -> Entry | None:
    """Return the checkpoint at *path*, None if it is none."""
    if path.name == POINTER and path.is_file():
        return None
    about = Entry(path.name, shown(path), None, step_in(path.name), **taken(files))
    try:
        with translating_os_errors(path):
            located = claimed(path, each_format())
    except CheckpointError as error:
        several = path.is_dir() and isinstance(error, CheckpointNotFound)  # none of which is meant
        return replace(about, sound=None if several else False, reason=urls_in(str(error)))
    if located is None:
        return None
    format, found = located
    if found.is_relative_to(folder) and found != path:  # one of those in the folder *path*
        files = list(files_of(format, found)) if path.is_dir() else files
        about = replace(about, name=str(found.relative_to(folder)), **taken(files))
    step = about.step if about.step is not None else step_in(found.name)
    return judged(replace(about, path=shown(found), format=format, step=step), found, options)


def taken(files: Iterable[Path]) -> dict[str, Any]:
    """Return when the newest of *files* was changed, and what all take."""
    sizes = list(statuses(files))
    newest = max((status.st_mtime for status in sizes), default=0.0)
    return {"modified": newest, "nbytes": sum(status.st_size for status in sizes)}


def judged(about: Entry, found: Path, options: dict[str, Any]) -> Entry:
    """Return *about* with whether the checkpoint at *found* is whole, as opening it tells."""
    try:
        with open_as(str(about.format), found, **options) as source:
            return replace(about, tensors=len(source.specs), **soundness(source))
    except (MissingDependency, UnsupportedCheckpoint) as error:
        return replace(about, reason=str(error))
    except CheckpointError as error:
        return replace(about, sound=False, reason=urls_in(str(error)))


def soundness(source: Source) -> dict[str, Any]:
    """Return what can be told of *source* without its values."""
    source.check(source.specs)
    faults = list(source.faults())
    return {"sound": not faults, "reason": "; ".join(faults)}


def statuses(paths: Iterable[Path]) -> Iterator[os.stat_result]:
    """Yield the status of every file among and below *paths*, leaving out what has just gone."""
    for path in paths:
        try:
            if path.is_dir():
                yield from statuses_below(path)
            else:
                yield path.stat()
        except OSError:
            continue


def statuses_below(folder: Path) -> Iterator[os.stat_result]:
    """Yield the status of every file below *folder*; links to other folders are not followed."""
    for place, _, files in os.walk(folder):
        yield from statuses(Path(place) / file for file in files)


def step_in(name: str) -> int | None:
    """Return the step that *name* tells: after such a word, else the last number of its own.

    >>> step_in("model-300"), step_in("epoch_3-loss-0.21.pt"), step_in("resnet50.pt")
    (300, 3, None)
    """
    plain = SHARD.sub("", DECIMAL.sub("", name))
    found = STEP.findall(plain) or NUMBER.findall(plain)
    return int(found[-1]) if found and len(found[-1]) < 19 else None


def age(entry: Entry) -> tuple[int, float, str]:
    """Return what orders checkpoints from the oldest to the latest: step, then time, then name."""
    return -1 if entry.step is None else entry.step, entry.modified, entry.name
