"""Two checkpoints, tensor by tensor, of whatever formats.

At zero tolerance bytes are compared, so that a NaN's payload and the sign of a zero count.  With a
tolerance values are: |a - b| <= atol + rtol * max(|a|, |b|), NaN equal to NaN at the same place.
A name on one side only, another dtype and another shape are differences at any tolerance.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

from ..binary.urls import looking_once
from ..restore.grammar import parse
from ..restore.recipe import Recipe
from ..restore.rule_kinds import Drop, Keep, Rule
from ..restore.rules import refuse_faults, refuse_fits, refuse_idle, trace
from ..restore.slots import OBJECT_GRAPH
from ..source import Source
from ..spec import RUN_PREFIX, TensorSpec
from .compare import Comparison, compare
from .options import Reading, divided, reader
from .views import Input, Progress, counted, label, opened, read_ahead, seen_of, tied_view


@dataclass(frozen=True, slots=True)
class Change:
    """A tensor that both have and that differs; `values` is None if dtype or shape do."""

    name: str
    a: TensorSpec
    b: TensorSpec
    values: Comparison | None

    def to_dict(self) -> dict[str, Any]:
        """Return the change as JSON holds it."""
        values = None if self.values is None else self.values.to_dict()
        return {"name": self.name, "a": described(self.a), "b": described(self.b), "values": values}

    def __str__(self) -> str:
        if self.values is None:
            return f"{self.name}: {self.a} against {self.b}"
        return f"{self.name}: {self.a}, {self.values}"


@dataclass(frozen=True, slots=True)
class Diff:
    """What is the same in *a* and *b* and what is not; names are those after the rules."""

    a: str
    b: str
    same_tensors: tuple[str, ...]
    changed: tuple[Change, ...]
    only_a: tuple[TensorSpec, ...]
    only_b: tuple[TensorSpec, ...]
    metadata: tuple[str, ...]  # keys that differ; compared only when all is

    @property
    def same(self) -> bool:
        """Return whether nothing differs."""
        return not (self.changed or self.only_a or self.only_b or self.metadata)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON holds it."""
        return {
            "a": self.a,
            "b": self.b,
            "same": self.same,
            "same_tensors": list(self.same_tensors),
            "changed": [change.to_dict() for change in self.changed],
            "only_a": [described(spec) for spec in self.only_a],
            "only_b": [described(spec) for spec in self.only_b],
            "metadata": list(self.metadata),
        }

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """Yield a line for each difference, and one that counts."""
        yield from (f"only in {self.a}: {spec.name} {spec}" for spec in self.only_a)
        yield from (f"only in {self.b}: {spec.name} {spec}" for spec in self.only_b)
        yield from map(str, self.changed)
        yield from (f"metadata {key!r} differs" for key in self.metadata)
        yield (
            f"{len(self.same_tensors)} tensors are the same, {len(self.changed)} differ, "
            f"{len(self.only_a)} only in {self.a}, {len(self.only_b)} only in {self.b}"
        )


@looking_once()
def diff(
    a: Input,
    b: Input,
    *,
    rules: Any = (),
    rtol: float = 0,
    atol: float = 0,
    all: bool = False,
    progress: Progress | None = None,
    **options: Unpack[Reading],
) -> Diff:
    """Return the differences of two checkpoints (or open sources, sessions, dicts).

    *rules* apply to the names of *a*; what they drop or do not keep is left out of *b* too, unless
    a `keep` before a rename is about names that *b* never had.  Run
    state (`_RUN/` and the metadata) is compared only with *all*.  One pair of tensors is in memory
    at a time.  *options* are those of `open`, for whichever of *a* and *b* can use them.
    """
    refuse_negative(rtol=rtol, atol=atol)
    for_a, for_b = divided(options, reader(a), reader(b))
    with opened(a, **for_a) as source_a, opened(b, **for_b) as source_b:
        view_a, view_b = compared(source_a, source_b, rules, run_state=all)
        reading = counted(view_a, progress)
        with read_ahead(a, source_a, view_a), read_ahead(b, source_b, view_b):
            changes = {
                name: change_of(name, reading, view_b, rtol=rtol, atol=atol)
                for name in shared_names(reading, view_b)
            }
        return Diff(
            a=label(a),
            b=label(b),
            same_tensors=tuple(sorted(name for name, change in changes.items() if not change)),
            changed=tuple(change for _, change in sorted(changes.items()) if change),
            only_a=one_sided(view_a, view_b),
            only_b=one_sided(view_b, view_a),
            metadata=differing_keys(source_a.metadata, source_b.metadata) if all else (),
        )


def refuse_negative(**tolerances: float) -> None:
    """Raise ValueError for a tolerance that is below 0 or NaN: nothing would be within it."""
    wrong = [f"{name} is {value}" for name, value in tolerances.items() if not value >= 0]
    if wrong:
        raise ValueError(f"{' and '.join(wrong)}; expected a number from 0 up")


def compared(a: Source, b: Source, rules: Any, *, run_state: bool) -> tuple[Source, Source]:
    """Return what of *a* and *b* is to be compared, that of *a* under its new names."""
    parsed = parse(rules)
    of_a, seen_b = trace(parsed, seen_of(a)), seen_of(b)
    names_b = list(seen_b.specs)
    leaving_out = list(for_both(parsed, names_b))
    refuse_idle(idle_for_both(of_a.idle, leaving_out, names_b))
    refuse_faults(of_a.faults)
    refuse_fits(of_a.ruled.fits)
    view_a = tied_view(a, without_run_state(of_a.ruled.origin, run_state))
    kept_b = trace(leaving_out, seen_b).ruled.origin
    wanted_b = {n: made for n, made in kept_b.items() if n not in of_a.ruled.withheld}
    return view_a, tied_view(b, without_run_state(wanted_b, run_state))


def for_both(rules: Sequence[Rule], names: Sequence[str]) -> Iterator[Drop | Keep]:
    """Yield those of *rules* that leave something out of *names* too, those of the second side.

    What stands before a rename is about other names: a `keep` of `model/*` that are then renamed
    `*` does not mean to leave out every tensor of a checkpoint that never had the prefix.
    """
    for place, rule in enumerate(rules):
        renamed = any(not isinstance(later, Drop | Keep) for later in rules[place:])
        foreign = isinstance(rule, Keep) and renamed and idles(rule, names)
        if isinstance(rule, Drop | Keep) and not foreign:
            yield rule


def idles(rule: Drop | Keep, names: Sequence[str]) -> bool:
    """Return whether no pattern of *rule* matches any of *names*."""
    return len(rule.idle(names)) == len(rule.patterns)


def without_run_state(origin: Mapping[str, Recipe], run_state: bool) -> dict[str, Recipe]:
    """Return *origin* without the names of run state, unless that is wanted.

    The graph of objects of a TensorFlow 2 checkpoint says where what is, so it counts as that.
    """
    if run_state:
        return dict(origin)
    shown = (n for n in origin if not n.startswith(RUN_PREFIX) and n != OBJECT_GRAPH)
    return {name: origin[name] for name in shown}


def idle_for_both(idle: list[str], leaving_out: list[Drop | Keep], names: list[str]) -> list[str]:
    """Return those *idle* lines whose rule does not leave anything out of *names* either."""
    parts = {text for rule in leaving_out for text, _ in rule.idle(())}
    used = parts.difference(text for rule in leaving_out for text, _ in rule.idle(names))
    return [line for line in idle if line.strip().partition("    ")[0] not in used]


def shared_names(a: Source, b: Source) -> Iterator[str]:
    """Yield a name for each pair of tensors that share one, tied tensors under any of theirs."""
    names_b = b.specs.keys() | b.aliases.keys()
    seen = set()
    for name in (*a.read_order(), *a.aliases):
        pair = (a.aliases.get(name, name), b.aliases.get(name, name))
        if name in names_b and pair not in seen:
            seen.add(pair)
            yield name


def one_sided(source: Source, other: Source) -> tuple[TensorSpec, ...]:
    """Return the tensors of *source* none of whose names is in *other*."""
    names = other.specs.keys() | other.aliases.keys()
    found = {tensor for alias, tensor in source.aliases.items() if alias in names}
    alone = source.specs.keys() - names - found
    return tuple(source.specs[name] for name in sorted(alone))


def change_of(name: str, a: Source, b: Source, *, rtol: float, atol: float) -> Change | None:
    """Return how the tensor *name* differs, None if it does not."""
    spec_a, spec_b = (s.specs[s.aliases.get(name, name)] for s in (a, b))
    if (spec_a.dtype, spec_a.shape) != (spec_b.dtype, spec_b.shape):
        return Change(name, spec_a, spec_b, None)
    values = compare(a.read(name), b.read(name), rtol=rtol, atol=atol)
    return Change(name, spec_a, spec_b, values) if values.differing else None


def differing_keys(a: Mapping[str, str], b: Mapping[str, str]) -> tuple[str, ...]:
    """Return the keys whose values differ or that only one of the two has."""
    return tuple(sorted(key for key in a.keys() | b.keys() if a.get(key) != b.get(key)))


def described(spec: TensorSpec) -> dict[str, Any]:
    """Return *spec* as JSON holds it."""
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape), "role": spec.role}
