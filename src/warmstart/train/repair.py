"""Putting a folder of a run in order: what it points to, and what killed saves left there.

    repair(folder)        # the file `checkpoint` names the newest sound one; halves are removed

Nothing that is sound goes, and nothing that somebody else may have put there.  What is unsound and
no half of a save stays, and is named: tensors may still be got out of it.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..binary.atomic import sweep, temporaries
from ..binary.lock import Lock, hold
from ..binary.urls import by_url, send_up, shown, urls_in
from ..errors import CheckpointNotFound
from ..formats import expanded
from ..formats.tf_bundle.paths import DATA, has_index, prefix_of
from ..formats.tf_bundle.pointer import names_in
from ..formats.tf_bundle.state import FILE_NAME
from .leftovers import delete, left_in
from .newest import Candidate, Choice, Rank, choose, judge, newest_first
from .retention import Saved, read_kept, values_in, write_kept


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to be done, or left alone, and why."""

    what: str  # "remove", "point" or "leave"
    path: str
    why: str
    to: str = ""  # what is pointed to

    def __str__(self) -> str:
        to = f" to {self.to}" if self.to else ""
        why = urls_in(self.why).replace("\n", "; ")
        return f"{self.what:6} {self.path}{to}: {why}"


@dataclass(frozen=True, slots=True)
class Repair:
    """What was done to a folder, or would be."""

    path: str
    steps: tuple[Step, ...]
    done: bool  # False: nothing was changed
    resumes: str | None  # what a run in the folder goes on from

    @property
    def sound(self) -> bool:
        """Return whether a run can go on from the folder."""
        return self.resumes is not None

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON holds it."""
        return asdict(self)

    def __str__(self) -> str:
        changes = [step for step in self.steps if step.what != "leave"]
        verdict = "it is in order" if changes else "it was in order"
        if not self.done if changes else not self.sound:
            verdict = "nothing was changed"
        on = f"a run goes on from {self.resumes}" if self.resumes else "no run can go on from it"
        if not self.sound:
            on += f"; what is wrong: warmstart verify --deep {self.path}"
        return "\n".join([*map(str, self.steps), f"{self.path}: {verdict}; {on}"])


@by_url()
def repair(folder: str | Path, *, dry_run: bool = False) -> Repair:
    """Make the file `checkpoint` in *folder* name the newest sound one, and remove torn halves.

    Removed are only halves that saves of this library left: temporary files, and data files called
    `model-STEP...` that no index refers to.  Whatever else is not sound stays, and is named.  With
    *dry_run* nothing is changed.  SaveError when a run saves into the folder.
    """
    folder = expanded(folder)
    if not folder.is_dir():
        raise CheckpointNotFound(f"{folder} is no folder; what is put in order is a run's folder")
    if dry_run:
        return planned_for(folder)
    lock = hold(folder, object())
    try:
        plan = planned_for(folder)
        carry_out(folder, plan.steps, lock)
    finally:
        lock.release()
    send_up(folder)
    return replace(plan, done=True)


def planned_for(folder: Path) -> Repair:
    """Return what would be done to *folder*."""
    choice = choose(folder)
    chosen = shown(choice.chosen.path) if choice.chosen else None
    return Repair(shown(folder), tuple(planned(folder, choice)), False, chosen)


def planned(folder: Path, choice: Choice) -> Iterator[Step]:
    """Yield what is to be done in *folder*, and what is left alone though it is not sound."""
    for path in temporaries(folder):
        yield Step("remove", path.name, "a save was stopped while it was written")
    left = left_in(folder)
    for path in left:
        yield Step("remove", path.name, "no index refers to it: a save was stopped")
    chosen = choice.chosen
    if chosen is not None and chosen.rank is not Rank.NAMED:
        yield Step("point", FILE_NAME, why_pointed(choice), chosen.path.name)
    yield from unsound(folder, choice)
    for name in names_in(folder):
        path = folder / name
        if DATA.fullmatch(name) and path not in left and not has_index(prefix_of(path)):
            yield Step("leave", name, "no index refers to it; the name is not this library's")


def why_pointed(choice: Choice) -> str:
    """Return why the file `checkpoint` is to name another."""
    if choice.chosen is not None and choice.chosen.rank is Rank.UNNAMED:
        return "it was saved just before a kill"
    named = [each.fault or each.reason for each in choice.passed if each.rank is Rank.NAMED]
    return named[0] if named else "there is no such file"


def unsound(folder: Path, choice: Choice) -> Iterator[Step]:
    """Yield each `model-STEP` of *folder*, and what is pointed to, that is not sound, and stays."""
    known = {each.path: each for each in choice.passed}
    ours = newest_first(folder)
    for path, judged in known.items():
        if judged.fault and path not in ours and path.name != FILE_NAME:
            yield Step("leave", path.name, judged.fault)
    if choice.chosen is not None:
        known[choice.chosen.path] = choice.chosen
    for path in ours:
        judged = known.get(path) or judge(Candidate(path, Rank.THERE))
        if judged.fault:
            yield Step("leave", path.name, judged.fault)


def carry_out(folder: Path, steps: tuple[Step, ...], lock: Lock) -> None:
    """Do *steps* in *folder*, which is held."""
    sweep(folder)
    delete(left_in(folder))
    for step in steps:
        if step.what == "point":
            point(folder, step.to, lock)


def point(folder: Path, name: str, lock: Lock) -> None:
    """Make the file `checkpoint` name *name*; what else it listed stays listed."""
    now = time.time()
    kept = read_kept(folder, now).going_on_from(name)
    if all(each.name != name for each in kept.saved):
        said = lock.holder
        values = values_in(said.note) if said.saving == name else {}
        kept = kept.with_latest(Saved(name, now, values))
    write_kept(folder, kept)
