"""A folder that a run saves into: held against others, tidy, pointing to the latest.

folder = RunFolder(path, keep)
folder.enter(trainer)                  # SaveError: another run saves into it
folder.announce("model-20", values)    # before a save
...                                    # the save, whose last rename commits it
folder.commit("model-20", values)      # `checkpoint` points to it; what is not kept is deleted
folder.leave()
"""

import json
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

from ..binary.lock import hold
from ..binary.urls import send_up
from . import logger
from .callback import BEST, Callback
from .leftovers import delete_bundle, sweep_folder
from .newest import named_in
from .retention import Keep, Kept, Saved, decide, read_kept, values_in, write_kept


class RunFolder:
    """The one place where a run's checkpoints come and go; see the module."""

    def __init__(self, path: Path, keep: Keep) -> None:
        self.path = path
        self.keep = keep
        self._kept = Kept((), 0.0)
        self._latest = ""

    def enter(self, owner: object, resumed_from: Path | None) -> None:
        """Hold the folder for *owner*, a run that went on from *resumed_from*, or began anew.

        What another run left in the folder is not ours to delete, but for what is half written.
        """
        self._lock = hold(self.path, owner)
        try:
            sweep_folder(self.path)
            send_up(self.path)
            self._kept, state = Kept((), time.time()), named_in(self.path)
            self._latest = state.latest if state else ""
            if resumed_from is not None and resumed_from.parent == self.path:
                self._go_on_from(resumed_from.name)
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """Let another run save into the folder."""
        self._lock.release()

    def announce(self, name: str, values: Mapping[str, float]) -> None:
        """Say that *name* is being saved, so that a kill before `commit` does not hide it."""
        self._lock.announce(name, self._latest, json.dumps(dict(values)))

    def commit(self, name: str, values: Mapping[str, float]) -> None:
        """Make *name*, whose metrics are *values*, the latest; delete what is no longer kept.

        What is to go stays listed until it is gone: a kill in between leaves nothing unlisted.
        """
        kept = self._kept.there(self.path).with_latest(Saved(name, time.time(), values))
        write_kept(self.path, kept)
        self._latest = name
        self._kept, doomed = decide(kept, self.keep)
        for old in doomed:
            delete_bundle(self.path / old)
        if doomed:
            write_kept(self.path, self._kept)
        send_up(self.path)

    def _go_on_from(self, name: str) -> None:
        """Take over what the run kept so far; *name* is the latest, whatever was saved after it.

        Where a kill kept the file `checkpoint` from naming it, it is named now.
        """
        self._kept = read_kept(self.path, time.time()).going_on_from(name)
        said = self._lock.holder
        if said.saving == name and all(each.name != name for each in self._kept.saved):
            self.commit(name, values_in(said.note))


def hold_folders(callbacks: Iterable[Callback], owner: object, held: ExitStack) -> None:
    """Hold for *owner* each folder that a saver of *callbacks* saves into, until *held* ends.

    Before anything is looked for there, or written: what a run that is still going on would save
    next is not known yet, and its statistics are not to be cut back.
    """
    savers = [c for c in callbacks if isinstance(c, Callback) and c.turn >= BEST]
    for saver in savers:
        if hasattr(saver, "checkpoint_dir"):
            held.callback(hold(logger.folder_for(saver.checkpoint_dir), owner).release)
