"""The rules that make one tensor of several, and several of one.

    concatenate *.q.weight, *.k.weight -> *.qk.weight: axis 0      wildcards stand for the same
    split *.qk.weight -> *.q.weight, *.k.weight: axis 0
    stack layers.#.w -> layers.w: axis 0                           # counts from 0
    unstack layers.w -> layers.#.w: axis 0

Optimizer slots go the same way where they have their variable's shape; of a count of steps a merged
tensor has the first one, and each part a copy.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..errors import RuleError
from ..names import inside, parent
from ..spec import TensorSpec, shape_text
from .globs import Key, NewName
from .patterns import Probe
from .recipe import Step
from .rows import Outcome, Row, Rows, is_one, matching, tried
from .rule_kinds import OneLine, Written
from .steps import Concatenate, Slice, Stack, Take, axis_of


class Several(OneLine):
    """A rule that changes how many tensors there are."""

    probes: tuple[Probe, ...]

    def idle(self, names: Sequence[str]) -> list[tuple[str, str]]:
        unused = all(probe.idle(names) for probe in self.probes)
        return [(self.line.text, self.probes[0].pattern)] if unused else []

    def slots(self, rows: Rows, names: Sequence[str]) -> dict[str, dict[str, int]]:
        """Return the slots of what the patterns may match: variable -> what it is -> place."""
        found: dict[str, dict[str, int]] = {}
        for place in dict.fromkeys(p for probe in self.probes for p in probe.places(names)):
            if rows.slot[place] and rows.kept[place]:
                name = names[place]
                owner = parent(name)
                found.setdefault(owner, {})[inside(name, owner) or name] = place
        return found


class Gather(Several):
    """A rule that makes one tensor of several."""

    @abstractmethod
    def groups(
        self, rows: Rows, names: Sequence[str], done: Outcome
    ) -> Iterable[tuple[str, list[int]]]:
        """Yield each new name with the places of its inputs; note in *done* what is incomplete."""

    @abstractmethod
    def step(self) -> Step:
        """Return what makes one tensor of the inputs."""

    def on(self, rows: Rows, names: Sequence[str]) -> Outcome:
        done = Outcome()
        slots = self.slots(rows, names)
        for name, places in self.groups(rows, names, done):
            made = tried(self.step(), [rows[place] for place in places], name)
            if isinstance(made, str):
                done.faults.append((rows[places[0]].old, f"{self}: {made}"))
                continue
            done.rows |= dict.fromkeys(places, ()) | {places[0]: (made,)}
            self.follow(name, places, rows, slots, done)
        return done

    def follow(
        self,
        name: str,
        places: Sequence[int],
        rows: Rows,
        slots: Mapping[str, Mapping[str, int]],
        done: Outcome,
    ) -> None:
        """Note in *done* what becomes of the slots of the inputs at *places*."""
        of_each = [slots.get(rows[place].name, {}) for place in places]
        for last in dict.fromkeys(last for of_one in of_each for last in of_one):
            at = [of_one[last] for of_one in of_each if last in of_one]
            owners = [rows[p] for p, of_one in zip(places, of_each, strict=True) if last in of_one]
            made = self.merged([rows[p] for p in at], owners, f"{name}/{last}", len(places))
            if made is None:
                for place in at:
                    done.leave(place, rows[place], f"cannot follow {self}")
            else:
                done.rows |= dict.fromkeys(at, ()) | {at[0]: (made,)}

    def merged(
        self, slots: Sequence[Row], owners: Sequence[Row], name: str, n_inputs: int
    ) -> Row | None:
        """Return the slot called *name* that is made of *slots*, or None if none can be."""
        if len(slots) != n_inputs:
            return None
        if all(s.spec.shape == o.spec.shape for s, o in zip(slots, owners, strict=True)):
            made = tried(self.step(), slots, name)
            return None if isinstance(made, str) else made
        return slots[0].called(name) if all(is_one(slot.spec) for slot in slots) else None


@dataclass(frozen=True, slots=True, repr=False)
class Concatenation(Gather):
    """Put the tensors that several patterns match behind each other."""

    probes: tuple[Probe, ...]
    new: NewName
    axis: int
    line: Written

    def step(self) -> Step:
        return Concatenate(self.axis)

    def groups(
        self, rows: Rows, names: Sequence[str], done: Outcome
    ) -> Iterator[tuple[str, list[int]]]:
        found = [keyed(probe, rows, names) for probe in self.probes]
        for key in dict.fromkeys(key for of_one in found for key in of_one):
            places = [of_one[key] for of_one in found if key in of_one]
            if len(places) == len(found):
                yield self.new(key), places
                continue
            there = ", ".join(repr(names[place]) for place in places)
            lacking = [p.pattern for p, of in zip(self.probes, found, strict=True) if key not in of]
            why = f"{self}: {there} {'is' if len(places) == 1 else 'are'} there, and nothing for "
            done.faults.append((rows[places[0]].old, why + ", ".join(map(repr, lacking))))


@dataclass(frozen=True, slots=True, repr=False)
class Stacking(Gather):
    """Put the tensors that a pattern matches behind each other along a new axis, by number."""

    probes: tuple[Probe, ...]  # one
    number: int  # which wildcard counts
    new: NewName
    axis: int
    line: Written

    def step(self) -> Step:
        return Stack(self.axis)

    def groups(
        self, rows: Rows, names: Sequence[str], done: Outcome
    ) -> Iterator[tuple[str, list[int]]]:
        found: dict[Key, dict[int, int]] = {}
        for key, place in keyed(self.probes[0], rows, names).items():
            others = key[: self.number] + key[self.number + 1 :]
            first = found.setdefault(others, {}).setdefault(int(key[self.number]), place)
            if first != place:
                why = f"{self}: {names[first]!r} and {names[place]!r} have the same number"
                done.faults.append((rows[place].old, why))
        for key, places in found.items():
            if sorted(places) == list(range(len(places))):
                yield self.new(key), [places[n] for n in range(len(places))]
                continue
            numbers = ", ".join(map(str, sorted(places)))
            old = rows[min(places.values())].old
            why = f"{self}: expected numbers from 0 on without a gap; found {numbers}"
            done.faults.append((old, why))


class Scatter(Several):
    """A rule that makes several tensors of one."""

    @abstractmethod
    def parts(self, spec: TensorSpec, key: Key) -> Sequence[tuple[str, Step]]:
        """Return the names of the parts of a tensor, and how each is taken.  Raise RuleError."""

    def on(self, rows: Rows, names: Sequence[str]) -> Outcome:
        done = Outcome()
        slots = self.slots(rows, names)
        for key, place in keyed(self.probes[0], rows, names).items():
            row = rows[place]
            try:
                parts = self.parts(row.spec, key)
            except RuleError as error:
                done.faults.append((row.old, f"{self}: {error}"))
                continue
            done.rows[place] = tuple(part_of(row, name, step) for name, step in parts)
            for last, at in slots.get(row.name, {}).items():
                self.follow(at, rows[at], row, [(f"{n}/{last}", s) for n, s in parts], done)
        return done

    def follow(
        self, place: int, slot: Row, owner: Row, parts: Sequence[tuple[str, Step]], done: Outcome
    ) -> None:
        """Note in *done* what becomes of a *slot* of what is taken apart."""
        if slot.spec.shape == owner.spec.shape:
            done.rows[place] = tuple(part_of(slot, name, step) for name, step in parts)
        elif is_one(slot.spec):
            done.rows[place] = tuple(slot.called(name) for name, _ in parts)
        else:
            done.leave(place, slot, f"cannot follow {self}")


@dataclass(frozen=True, slots=True, repr=False)
class Splitting(Scatter):
    """Cut tensors along an axis, into equal parts unless sizes are given."""

    probes: tuple[Probe, ...]  # one
    new: tuple[NewName, ...]
    axis: int
    sizes: tuple[int, ...]  # () for equal parts
    line: Written

    def parts(self, spec: TensorSpec, key: Key) -> Sequence[tuple[str, Step]]:
        axis = axis_of(Slice(self.axis, None, None), self.axis, spec)
        whole, n = spec.shape[axis], len(self.new)
        sizes = self.sizes or (whole // n,) * n
        if sum(sizes) != whole:
            wanted = f"{n} equal parts" if not self.sizes else f"parts of {shape_text(self.sizes)}"
            raise RuleError(
                f"{spec.name!r} is {shape_text(spec.shape)}; its axis {self.axis} has no {wanted}"
            )
        ends = [sum(sizes[: i + 1]) for i in range(n)]
        steps = [Slice(self.axis, end - size, end) for size, end in zip(sizes, ends, strict=True)]
        return [(new(key), step) for new, step in zip(self.new, steps, strict=True)]


@dataclass(frozen=True, slots=True, repr=False)
class Unstacking(Scatter):
    """Take tensors apart along an axis; the number of the place stands in the name."""

    probes: tuple[Probe, ...]  # one
    number: int  # before which wildcard of the new name the number comes
    new: NewName
    axis: int
    line: Written

    def parts(self, spec: TensorSpec, key: Key) -> Sequence[tuple[str, Step]]:
        n = spec.shape[axis_of(Take(self.axis, 0), self.axis, spec)]
        if not n:
            raise RuleError(f"{spec.name!r} is {shape_text(spec.shape)} and has no parts")
        before, after = key[: self.number], key[self.number :]
        return [(self.new((*before, str(i), *after)), Take(self.axis, i)) for i in range(n)]


def keyed(probe: Probe, rows: Rows, names: Sequence[str]) -> dict[Key, int]:
    """Return what the wildcards of *probe* stand for -> the place of the row that it matches."""
    places = (p for p, name in matching(probe, rows, names) if names[p] == name)
    return {match.groups(""): p for p in places if (match := probe.match(names[p]))}


def part_of(row: Row, name: str, step: Step) -> Row:
    """Return the part that *step* takes of *row*, under *name*."""
    made = tried(step, [row], name)
    assert isinstance(made, Row)  # the sizes were those of its axis
    return made
