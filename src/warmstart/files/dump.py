"""What inference needs of a training checkpoint: all but slots, step counters and run state."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from ..errors import UnsupportedCheckpoint, number_of
from ..formats import save_source
from ..names import near
from ..restore import slots
from ..source import Source
from ..spec import RUN_PREFIX
from .convert import destination
from .fitting import fitted
from .metagraph import read_metagraph
from .options import Reading, divided, reader, writer
from .views import Progress, counted, opened, read_ahead, ruled, selected

logger = logging.getLogger("warmstart")

#: The format that TensorFlow itself reads.
BUNDLE = "tf-bundle"

BY_ROLES = "the roles recorded in the checkpoint"
BY_TABLE = "TensorFlow's names of slots and step counters, as the checkpoint records no roles"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which tensors are left out, and how that is known."""

    rule: str
    left_out: frozenset[str]
    missing: tuple[str, ...] = ()  # variables of the graph that the checkpoint does not have


@dataclass(frozen=True, slots=True)
class Dump:
    """What was written, what was left out, and by which rule."""

    path: str
    format: str
    rule: str
    kept: tuple[str, ...]
    left_out: tuple[str, ...]
    missing: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as JSON holds it."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"wrote {self.path} ({self.format}): {number_of(len(self.kept), 'tensor')}, "
            f"{len(self.left_out)} left out by {self.rule}"
        )


def dump(
    path: str | Path,
    dst: str | Path,
    *,
    meta: str | Path | None = None,
    rules: Any = (),
    progress: Progress | None = None,
    **options: Unpack[Reading],
) -> Dump:
    """Write to *dst* what inference needs of the checkpoint at *path* (a folder: its latest).

    Left out are slots, step counters and run state.  They are known by the graph in the metagraph
    file *meta* if one is given, else by the roles the checkpoint records, else by TensorFlow's
    names for them; the result says which.  *rules* apply to what is left.  *options* are those of
    `open`; *like* is for reading *path* or writing *dst*, whichever can use it, or both.
    """
    name = destination(path, dst)
    reading, writing = divided(options, reader(path), writer(name))
    with opened(path, **reading) as source:
        choice = for_format(choose(source, meta), name)
        view = selected(source, lambda s: s.name not in choice.left_out, run_state=False)
        if not view.specs.keys() - {slots.OBJECT_GRAPH}:
            raise UnsupportedCheckpoint(f"nothing is left to write by {choice.rule}")
        if choice.missing:
            logger.warning(
                "%d variables of the graph are not in the checkpoint: %s",
                len(choice.missing),
                ", ".join(choice.missing),
            )
        done = ruled(view, rules)
        with read_ahead(path, source, done):
            save_source(counted(fitted(done, source), progress), dst, format=name, **writing)
        left_out = source.specs.keys() - done.tensors
        return Dump(
            str(dst), name, choice.rule, tuple(done.specs), tuple(sorted(left_out)), choice.missing
        )


def choose(source: Source, meta: str | Path | None) -> Choice:
    """Return which tensors of *source* inference does not need."""
    names = {n: spec for n, spec in source.specs.items() if not n.startswith(RUN_PREFIX)}
    run_state = source.specs.keys() - names.keys()
    if meta is not None:
        return by_graph(source, meta)
    if any(spec.role for spec in names.values()):
        of_training = {name for name, spec in names.items() if spec.role in ("slot", "run")}
        return Choice(BY_ROLES, frozenset(of_training | run_state))
    return Choice(BY_TABLE, frozenset(slots.training_only(names) | run_state))


def for_format(choice: Choice, format: str) -> Choice:
    """Return *choice*; in a bundle TensorFlow 2 finds variables by its graph of objects only."""
    if format != BUNDLE:
        return choice
    return replace(choice, left_out=choice.left_out - {slots.OBJECT_GRAPH})


def by_graph(source: Source, meta: str | Path) -> Choice:
    """Return the choice that the metagraph in the file *meta* makes."""
    graph = read_metagraph(meta)
    wanted = graph.variables() - graph.training_only()
    there = source.specs.keys() | source.aliases.keys()
    if not wanted & there:
        raise UnsupportedCheckpoint(
            f"none of the {len(wanted)} variables of the graph in {meta} is in the checkpoint; "
            f"{example(wanted, source.specs)}"
        )
    tied = {name for alias, name in source.aliases.items() if alias in wanted}
    left_out = frozenset(source.specs.keys() - wanted - tied)
    return Choice(f"the graph in {meta}", left_out, tuple(sorted(wanted - there)))


def example(wanted: set[str], names: Mapping[str, Any]) -> str:
    """Return the part of a message that shows how two lists of names differ."""
    one = min(wanted, default="nothing")
    found = near(one, names) or list(names)[:1]
    return f"the graph has {one!r}, the checkpoint {', '.join(map(repr, found)) or 'nothing'}"
