"""A whole run as a source: the model's variables and slots, and the run state beside them.

The run state is metadata under the key "run" and tensors called `_RUN/...`, so that in a bundle
one index commits everything.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..boxes import Box
from ..errors import CorruptCheckpoint
from ..formats import save_source
from ..formats.tf_bundle.together import Divided, divided, telling
from ..sessions.base import Session
from ..source import Index, ListedSource, Source
from ..spec import spec_of
from .processes import own_part
from .run_state import pack, unpack

if TYPE_CHECKING:
    from .trainer import Trainer

#: Where the run state stands in a checkpoint's metadata.
KEY = "run"
VERSION = 1


class Snapshot(ListedSource):
    """A session with the arrays and the text of a run state."""

    def __init__(self, session: Session, state: Mapping[str, Any]) -> None:
        text, self._arrays = pack({"version": VERSION, **state})
        self._session = session
        self._metadata = {**session.metadata, KEY: text}
        run = {name: spec_of(name, array, "run") for name, array in self._arrays.items()}
        self._specs = {**session.specs, **run}
        self._aliases = dict(session.aliases)  # a session looks for them each time it is asked
        self._derived = frozenset(session.derived)

    @property
    def pieces(self) -> Mapping[str, Sequence[Box]]:
        return self._session.pieces

    def read_slice(self, name: str, index: Index) -> np.ndarray:
        return self._session.read_slice(name, index)

    def read(self, name: str) -> np.ndarray:
        return self._arrays[name] if name in self._arrays else self._session.read(name)

    def reading(self) -> AbstractContextManager[None]:
        return self._session.reading()

    def read_all(self) -> dict[str, np.ndarray]:
        return {**self._session.read_all(), **self._arrays}


def save_run(trainer: "Trainer", path: Path) -> None:
    """Write *trainer*'s run as the bundle *path*, whole or not at all.

    Where several processes train together, all of them call this, and each writes its part.
    """
    if trainer.processes.count == 1:
        save_source(Snapshot(trainer.session, trainer.state()), path, format="tf-bundle")
    else:
        saving = divided_run(trainer, path)
        saving.finish(saving.own, trainer.processes)


def divided_run(trainer: "Trainer", path: Path) -> Divided:
    """Choose which process writes what of *trainer*'s run as *path*; the rest is `Divided.finish`.

    From then on the values of its `own` are what is saved; they are the live ones.
    """
    processes, state = trainer.processes, trainer.state()
    with telling(path):
        part = own_part(trainer.session, state, processes)
    return divided(part or Snapshot(trainer.session, state), path, processes)


def saved_state(source: Source) -> dict[str, Any] | None:
    """Return the run state in *source*, checked for kind; None when it is not a saved run."""
    if KEY not in source.metadata:
        return None
    state = unpack(source.metadata[KEY], source.read)
    match state:
        case {
            "version": 1, "step": int(), "epoch": int(), "step_in_epoch": int(),
            "steps_per_epoch": int(), "data": _, "random": {"python": dict(), "numpy": dict()},
            "metrics": {"sums": dict(), "counts": dict(), "put": dict()},
            "model": dict(), "session": dict(), "callbacks": dict(),
        }:  # fmt: skip
            return state
    raise CorruptCheckpoint(
        f"the run state is not of version {VERSION}; it has version {state.get('version')!r} and "
        f"the keys {sorted(state)}"
    )
