"""What two runs of a command left, compared bit by bit: checkpoints, run state, statistics."""

import json
import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError, full_text, number_of
from ..files.compare import different_bytes
from ..files.diff import Change, diff
from ..files.folder import survey
from ..files.variables import open as open_checkpoint
from ..names import Pattern, joined, selected
from ..spec import RUN_PREFIX
from ..train.snapshot import KEY

RUN_STATE = "run state"  # what its values are called

#: Metadata that say when a file was written.
VOLATILE = ("keras.metadata",)

#: Statistics, a line for each entry, that equal runs write equal.
STATISTICS = "*.jsonl"
NUMBERED = re.compile(r".*\d.*")
MOST = 10  # differences told of one checkpoint


@dataclass(frozen=True, slots=True)
class Difference:
    """Something of the result *name* that two runs left otherwise."""

    name: str
    key: str  # a tensor, a value of the run state, metadata, a line; "" for the whole
    what: str

    @property
    def of_run_state(self) -> bool:
        """Return whether it is no variable that differs, but what the run keeps beside them."""
        return self.key.startswith((RUN_PREFIX, RUN_STATE))

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.name, self.key, self.what)))


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was compared, every difference, and what is worth a note."""

    compared: tuple[str, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = field(default=())

    def lines(self) -> Iterator[str]:
        """Yield the differences: those of the last result one by one, of others how many."""
        by_name: dict[str, list[Difference]] = {}
        for each in self.differences:
            by_name.setdefault(each.name, []).append(each)
        last = last_of(by_name) or ""
        for name in (name for name in by_name if name != last):
            first, *more = by_name[name]
            yield f"{first}{f'; and {len(more)} more' if more else ''}"
        rest = by_name.get(last, [])
        yield from map(str, rest[:MOST])
        if len(rest) > MOST:
            yield f"{last}: {number_of(len(rest) - MOST, 'more difference')}"

    def without(self, noise: "Comparison") -> "Comparison":
        """Return the same without the differences that *noise* has in the same places."""
        known = {(each.name, each.key) for each in noise.differences}
        left = tuple(each for each in self.differences if (each.name, each.key) not in known)
        return replace(self, differences=left)


def compare_runs(
    straight: Path, killed: Path, ignore: Pattern | Sequence[Pattern] = ()
) -> Comparison:
    """Return the differences of what two runs left in their folders.

    Checkpoints and statistics of equal names are compared; *ignore* are patterns for what need not
    be equal: names of tensors, keys of metadata and of the run state, files.
    """
    left, right = results_in(straight, ignore), results_in(killed, ignore)
    compared, differences, notes = [], [], []
    for name in left:
        if name in right:
            compared.append(name)
            found = list(differences_of(name, left[name], right[name]))
            ignored = set(selected([each.key for each in found], ignore))
            differences += [each for each in found if each.key not in ignored]
    for name in sorted(left.keys() ^ right.keys()):
        what = f"only the {'unkilled' if name in left else 'killed'} run left it"
        # How many older ones are kept may depend on the clock; the last one and the best may not.
        if NUMBERED.fullmatch(name) and name not in (last_of(left), last_of(right)):
            notes.append(f"{name}: {what}")
        else:
            differences.append(Difference(name, "", what))
    return Comparison(tuple(compared), tuple(differences), tuple(notes))


def results_in(folder: Path, ignore: Pattern | Sequence[Pattern] = ()) -> dict[str, Path]:
    """Return every checkpoint and every file of statistics below *folder*, by its name there."""
    found: dict[str, Path] = {}
    for place, below, files in os.walk(folder):
        below.sort()
        for entry in survey(place).checkpoints:
            path = Path(entry.path)
            found.setdefault(str(path.relative_to(folder)), path)
            if path.is_dir() and path.parent == Path(place) and path.name in below:
                below.remove(path.name)  # a checkpoint that is a folder
        for file in sorted(files):
            if Path(file).match(STATISTICS):
                found[str(Path(place, file).relative_to(folder))] = Path(place, file)
    left_out = set(selected(found, ignore))
    return {name: path for name, path in found.items() if name not in left_out}


def last_of(results: Collection[str]) -> str | None:
    """Return the result with the highest number in its name, None when there is none.

    >>> last_of(["model-5", "model-10", "min-loss"])
    'model-10'
    """
    numbered = {name: int(numbers[-1]) for name in results if (numbers := re.findall(r"\d+", name))}
    return max(numbered, key=lambda name: (numbered[name], name)) if numbered else None


def differences_of(name: str, left: Path, right: Path) -> Iterator[Difference]:
    """Yield the differences of one result, which goes by *name*."""
    try:
        found = statistics(left, right) if left.match(STATISTICS) else checkpoints(left, right)
        yield from (Difference(name, key, what) for key, what in found)
    except CheckpointError as error:
        yield Difference(name, "", full_text(error))


def checkpoints(left: Path, right: Path) -> Iterator[tuple[str, str]]:
    """Yield what differs in two checkpoints, and how."""
    found = diff(left, right, all=True)
    changed = [change.name for change in found.changed if change.values]
    firsts = first_differences(left, right, changed[:MOST])
    for change in found.changed:
        yield change.name, said(change, firsts.get(change.name, ""))
    for spec in (*found.only_a, *found.only_b):
        yield spec.name, "only one run has it"
    if KEY in found.metadata:
        yield from run_states(left, right)
    yield from ((f"metadata {k}", "differs") for k in found.metadata if k not in (KEY, *VOLATILE))


def said(change: Change, first: str) -> str:
    """Return how a tensor differs, the *first* of its differences first."""
    if change.values is None:
        return f"{change.a} against {change.b}"
    return "; ".join(filter(None, (first, str(change.values))))


def first_differences(left: Path, right: Path, names: Sequence[str]) -> dict[str, str]:
    """Return for each of the tensors *names* where it differs first, and both values there."""
    found = {}
    with open_checkpoint(left) as a, open_checkpoint(right) as b:
        for name in names:
            here, there = a.read(name), b.read(name)
            differ = different_bytes(here.reshape(-1), there.reshape(-1)).argmax()
            place = [int(n) for n in np.unravel_index(differ, here.shape)]
            found[name] = f"{here.flat[differ]} against {there.flat[differ]} at {place}"
    return found


def run_states(left: Path, right: Path) -> Iterator[tuple[str, str]]:
    """Yield each plain value of the run state that differs: its path, and both values."""
    with open_checkpoint(left) as a, open_checkpoint(right) as b:
        texts = a.metadata.get(KEY, "null"), b.metadata.get(KEY, "null")
    values_a, values_b = (dict(leaves(json.loads(text))) for text in texts)
    for key in [*values_a, *(key for key in values_b if key not in values_a)]:
        here, there = values_a.get(key, "nothing"), values_b.get(key, "nothing")
        if here != there:
            yield f"{RUN_STATE} {key}", f"{here} against {there}"


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield every plain value in JSON as text, under the path to it."""
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from leaves(item, joined(name, str(key)))
    else:
        yield name, json.dumps(value)


def statistics(left: Path, right: Path) -> Iterator[tuple[str, str]]:
    """Yield the first line in which two files differ."""
    a, b = left.read_bytes().splitlines(), right.read_bytes().splitlines()
    for number, (here, there) in enumerate(zip(a, b, strict=False), 1):
        if here != there:
            shown = [str(line[:80], "utf-8", "replace") for line in (here, there)]
            yield f"line {number}", f"{shown[0]} against {shown[1]}"
            return
    if len(a) != len(b):
        yield "", f"{number_of(len(a), 'line')} against {len(b)}"
