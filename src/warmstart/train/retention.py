"""Which checkpoints of a folder are kept: the last few, and one every so often for good.

What must be remembered from one process to the next stands in the file `checkpoint`, in the fields
that TensorFlow's CheckpointManager keeps there (2.21, python/checkpoint/checkpoint_management.py),
and not in the checkpoints themselves: the times on the clock would make each of them different.
"""

import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import CorruptCheckpoint
from ..formats.tf_bundle.paths import DATA, data_files, has_index, index_of
from ..formats.tf_bundle.pointer import names_in
from ..formats.tf_bundle.state import read_state, write_state

log = logging.getLogger("warmstart")

#: The checkpoints that may be deleted: those that ModelSaver writes, and Tensorpack's.
OURS = re.compile(r"model-\d+")


@dataclass(frozen=True, slots=True)
class Kept:
    """The checkpoints that may still be deleted, oldest first, with the seconds they were saved."""

    saved: tuple[tuple[str, float], ...]
    last_preserved: float  # when the last one that is kept for good was saved

    def with_latest(self, name: str, now: float) -> "Kept":
        """Return the same with *name* the latest; a name saved again counts once."""
        others = tuple(item for item in self.saved if item[0] != name)
        return replace(self, saved=(*others, (name, now)))


def decide(kept: Kept, max_to_keep: int | None, hours: float | None) -> tuple[Kept, list[str]]:
    """Return what is kept on, and the names to delete.

    One that leaves the last *max_to_keep* stays for good when it was saved *hours* or more after
    the last that did; it leaves the list, so that nothing can delete it any more.
    """
    if max_to_keep is None:
        return kept, []
    beyond, saved = kept.saved[:-max_to_keep], kept.saved[-max_to_keep:]
    preserved = kept.last_preserved
    doomed = []
    for name, when in beyond:
        if hours is not None and when - hours * 3600 >= preserved:
            preserved = when
        else:
            doomed.append(name)
    return Kept(saved, preserved), doomed


def read_kept(folder: Path, now: float) -> Kept:
    """Return what the file `checkpoint` in *folder* lists of ours and is still there.

    A broken one lists nothing: what it listed is kept for good, and the next save replaces it.
    So is what goes by another name, such as the pretrained model that the run began with.
    """
    try:
        state = read_state(folder)
    except CorruptCheckpoint as error:
        log.warning("checkpoints saved before now are not deleted any more: %s", error)
        state = None
    if state is None:
        return Kept((), now)
    known = len(state.timestamps) == len(state.all_paths)
    times = state.timestamps if known else (now,) * len(state.all_paths)
    saved = zip(state.all_paths, times, strict=True)
    preserved = now if state.last_preserved is None else state.last_preserved
    # A clock set back, as TensorFlow has it: no time is later than now.
    there = tuple(
        (n, min(when, now)) for n, when in saved if OURS.fullmatch(n) and has_index(folder / n)
    )
    return Kept(there, min(preserved, now))


def write_kept(folder: Path, kept: Kept) -> None:
    """Make the last of *kept* the latest checkpoint of *folder*."""
    names = [name for name, _ in kept.saved]
    times = [when for _, when in kept.saved]
    write_state(folder, names[-1], names, timestamps=times, last_preserved=kept.last_preserved)


def delete_bundle(prefix: Path) -> None:
    """Delete the bundle *prefix* and nothing else; the index first, so that no half looks whole.

    What cannot be deleted (a folder of that name) stays, with the rest of it: a warning.
    """
    for file in (index_of(prefix), *data_files(prefix)):
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s was to be deleted and cannot be: %s", file, error.strerror)
            return


def sweep_halves(folder: Path) -> None:
    """Delete the data of those `model-STEP` of *folder* whose index a kill kept from coming."""
    for name in names_in(folder):
        match = DATA.fullmatch(name)
        if match and OURS.fullmatch(match["prefix"]):
            prefix = folder / match["prefix"]
            if not has_index(prefix):
                delete_bundle(prefix)
