"""What a restore did: the plan that was carried out, for people and for programs."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ..binary.atomic import replacing
from ..errors import number_of
from ..names import grouped, without_output
from .drafts import hints
from .plan import Match, Plan, Verdict
from .slot_fates import SlotFates
from .table import Row, show, table


@dataclass(frozen=True, slots=True)
class Line:
    """What became of one variable of the session."""

    name: str
    verdict: str
    file: str | None = None  # what filled it
    old_name: str | None = None  # its name there
    note: str = ""  # a cast, what was overridden, both sides of a misfit
    frozen: bool = False  # held still at that moment

    @property
    def remark(self) -> str:
        """What a table says beside the name; variables that differ only by name have the same."""
        renamed = self.old_name is not None and without_output(self.old_name) != self.name
        parts = [
            f"from {self.file}" if self.file else "",
            "renamed" if renamed else "",
            self.note,
            "frozen" if self.frozen else "",
        ]
        return ", ".join(filter(None, parts))

    def as_dict(self) -> dict[str, str | bool | None]:
        """Return the line as JSON holds it."""
        return {
            "verdict": self.verdict,
            "file": self.file,
            "old_name": self.old_name,
            "note": self.note,
            "frozen": self.frozen,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What became of every name of both sides, or *done* being False, what would.

    `str` shows it as a table of grouped names, `show` prints that in colours.
    """

    plan: Plan
    initialized: tuple[str, ...] = ()  # had no value before and were given their initial one
    #: Of a source with slots, for a model with an optimizer: which were kept, lost, begun anew.
    slots: SlotFates = field(default_factory=SlotFates)
    #: The model as it is now: the one that was given, or of an immutable tree the new one.
    model: Any = field(default=None, compare=False, repr=False)
    frozen: tuple[str, ...] = ()  # variables that `ws.freeze` held still at that moment
    done: bool = True

    def named(self, verdict: str) -> list[str]:
        """Return the session's names with *verdict*: "loaded".  Raise ValueError for no verdict."""
        return self.plan.named(verdict)

    @property
    def loaded(self) -> tuple[str, ...]:
        """Variables that have their value from a source."""
        return self.plan.loaded

    @property
    def cast(self) -> dict[str, str]:
        """Loaded variables whose dtype changed on the way: name -> "float64 -> float32"."""
        return {name: cast_text(m) for name, m in self.plan.matches.items() if m.cast}

    @property
    def renamed(self) -> dict[str, str]:
        """Loaded variables whose tensor has another name: name -> its name in the source."""
        return {name: m.old for name, m in self.plan.matches.items() if m.renamed}

    @property
    def transformed(self) -> dict[str, str]:
        """Loaded variables whose values a rule or a layout changed: name -> "transpose 1 0"."""
        return {name: m.steps for name, m in self.plan.matches.items() if m.transformed}

    @property
    def missing(self) -> tuple[str, ...]:
        """Variables of the model that no source has; slots and counters are not counted."""
        return self.plan.missing

    @property
    def unused(self) -> tuple[str, ...]:
        """Tensors of the sources that the model does not have; slots and counters do not count."""
        return self.plan.unused

    @property
    def dropped(self) -> tuple[str, ...]:
        """Tensors of the sources left out by a rule or ignored."""
        return self.plan.dropped

    @property
    def mismatched(self) -> dict[str, str]:
        """Variables that a tensor was found for that does not fit: name -> what does not fit."""
        return {m.match.target.name: misfit_text(m.match) for m in self.plan.misfits}

    @property
    def skipped(self) -> dict[str, str]:
        """Those of `mismatched` that were left out since that was allowed: name -> why."""
        return {m.match.target.name: misfit_text(m.match) for m in self.plan.misfits if not m.fatal}

    @property
    def overridden(self) -> dict[str, tuple[str, ...]]:
        """Loaded variables that several sources have: name -> the earlier sources that lost."""
        return {
            name: tuple(self.plan.labels[match.part] for match in lost)
            for name, lost in self.plan.overridden.items()
        }

    def lines(self) -> Iterator[Line]:
        """Yield what became of every variable of the session."""
        frozen = set(self.frozen)
        over = {name: f"over {', '.join(lost)}" for name, lost in self.overridden.items()}
        ruled = (m for m in self.plan.misfits if m.rule and not m.fatal)
        unfit, skipped = self.mismatched, {m.match.target.name: f"by {m.rule}" for m in ruled}
        for name, verdict in self.plan.targets.items():
            match = self.plan.matches.get(name)
            file = self.plan.labels[match.part] if match else None
            changes = [match.steps, cast_text(match) if match.cast else ""] if match else []
            notes = [*changes, over.get(name), unfit.get(name), skipped.get(name)]
            note, old = ", ".join(filter(None, notes)), match.old if match else None
            yield Line(name, str(verdict), file, old, note, name in frozen)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON holds it: every name of both sides once."""
        return {
            "done": self.done,
            "variables": {line.name: line.as_dict() for line in self.lines()},
            "initialized": list(self.initialized),
            "slots": self.slots.to_dict(),
            "sources": [
                {"file": label, "tensors": {name: str(v) for name, v in verdicts.items()}}
                for label, verdicts in zip(self.plan.labels, self.plan.sources, strict=True)
            ],
            "suggestions": {
                name: {"tensor": near.old, "steps": list(near.steps), "doubt": near.doubt}
                for name, near in self.plan.near.items()
            },
        }

    def to_json(self) -> str:
        """Return `to_dict` as JSON text."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1)

    def to_html(self) -> str:
        """Return the report as one page that needs nothing else, to be sent to somebody."""
        from .page import page

        return page(self)

    def save_html(self, path: str | os.PathLike[str]) -> None:
        """Write `to_html` to the file *path*, as a whole or not at all."""
        data = memoryview(self.to_html().encode("utf-8"))
        with replacing(Path(path)) as file:
            while data:
                data = data[file.write(data) :]

    def show(self, file: IO[str] | None = None) -> None:
        """Print the table, in colours where *file*, by default standard output, is a terminal."""
        show(self._table(), file)

    def __str__(self) -> str:
        """Return the table for people: a summary, then a row for each group of like names."""
        return "\n".join(self._table())

    def summary(self) -> str:
        """Return how many variables have which verdict, in one line."""
        counts = {v: len(self.plan.named(v)) for v in Verdict}
        loaded = "loaded" if self.done else "would be loaded"
        words = {v: str(v) for v in Verdict} | {Verdict.LOADED: loaded}
        if all(not misfit.fatal for misfit in self.plan.misfits):
            words[Verdict.MISMATCHED] = "skipped"
        said = [f"{n} {words[v]}" for v, n in counts.items() if n or v is Verdict.LOADED]
        return f"{number_of(len(self.plan.targets), 'variable')}: {', '.join(said)}"

    def _table(self) -> list[str]:
        perhaps = [] if self.done else hints(self.plan.near)
        return table(self.summary(), self.rows(), [f"perhaps: {text}" for text in perhaps])

    def rows(self) -> list[Row]:
        """Return a row for each group of names that have the same said of them."""
        names: dict[tuple[str, str], list[str]] = {}
        skipped = self.skipped
        for line in self.lines():
            passed = line.verdict == Verdict.MISMATCHED and line.name in skipped
            word = "skipped" if passed else self._word(line.verdict)
            names.setdefault((word, line.remark), []).append(line.name)
        rows = [
            (word, name, remark)
            for (word, remark), group in names.items()
            for name in grouped(group)
        ]
        rows += [(str(v), name, f"in {label}") for v, label, name in self._source_rows()]
        return [*rows, *self.slots.rows()]

    def _word(self, verdict: str) -> str:
        return verdict if self.done or verdict != Verdict.LOADED else "would load"

    def _source_rows(self) -> Iterator[tuple[Verdict, str, str]]:
        for verdict in (Verdict.UNUSED, Verdict.DROPPED):
            for label, verdicts in zip(self.plan.labels, self.plan.sources, strict=True):
                for name in grouped(n for n, given in verdicts.items() if given == verdict):
                    yield verdict, label, name


def cast_text(match: Match) -> str:
    """Return the change of dtype: "float64 -> float32"."""
    return f"{match.source.dtype} -> {match.target.dtype}"


def misfit_text(match: Match) -> str:
    """Return both sides of what does not fit."""
    return f"model {match.target}, checkpoint {checkpoint_side(match)}"


def checkpoint_side(match: Match) -> str:
    """Return what the checkpoint offers: "float32 (4, 3) after transpose 1 0"."""
    return f"{match.source} after {match.steps}" if match.transformed else str(match.source)
