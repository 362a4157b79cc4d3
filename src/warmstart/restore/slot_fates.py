"""What became of the optimizer's state: kept with its variable, left behind, or begun anew.

    kept    fc.weight/exp_avg    the variable is on both sides, and the optimizer has it here
    lost    old.weight/exp_avg   its variable is gone, or no longer the optimizer's
    fresh   new.weight           a variable that the optimizer trains and no source has slots of

Only a source that has slots, for a model with an optimizer, is spoken of.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..names import grouped, parent
from ..sessions.base import Session
from ..spec import RUN_PREFIX
from .plan import Part, Plan, Verdict
from .slots import is_counter, slots_in, training_only


@dataclass(frozen=True, slots=True)
class SlotFates:
    """The slots of a restore."""

    kept: tuple[str, ...] = ()
    lost: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by the source's label
    fresh: tuple[str, ...] = ()  # names of variables
    why: Mapping[str, str] = field(default_factory=dict)  # of some that are lost, the reason

    def to_dict(self) -> dict[str, Any]:
        """Return the slots as JSON holds them."""
        lost = {label: list(names) for label, names in self.lost.items()}
        said = {"kept": list(self.kept), "lost": lost, "fresh": list(self.fresh)}
        return {**said, "why": dict(self.why)} if self.why else said

    def rows(self) -> list[tuple[str, str, str]]:
        """Return what a table says of slots beside those that it lists as loaded."""
        alike: dict[tuple[str, str], list[str]] = {}
        for label, names in self.lost.items():
            for name in names:
                alike.setdefault((label, self.why.get(name, "")), []).append(name)
        lost = [
            ("lost", name, f"slots in {label}{why and ': ' + why}")
            for (label, why), names in alike.items()
            for name in grouped(names)
        ]
        return lost + [("fresh", name, "slots begin anew") for name in grouped(self.fresh)]


def slot_fates(plan: Plan, parts: Sequence[Part], session: Session) -> SlotFates:
    """Return what becomes of slots by *plan*, before it is carried out."""
    trained = trained_by_optimizer(plan, session)
    kept = tuple(n for n in plan.named(Verdict.LOADED) if plan.specs[n].role == "slot")
    lost = {
        part.label: names
        for index, part in enumerate(parts)
        if not part.explicit and (names := left_behind(plan, index, part))
    }
    if not trained or not (kept or lost):
        return SlotFates()
    owners = {parent(name) for name in kept}
    new = [name for name in trained if plan.specs[name].role == "trainable" and name not in owners]
    every = {name for names in lost.values() for name in names}
    why = {name: text for left in plan.left for name, text in left.items() if name in every}
    return SlotFates(kept, lost, tuple(new), why)


def trained_by_optimizer(plan: Plan, session: Session) -> Collection[str]:
    """Return the variables that the optimizer of *session* has: as it says, or by their slots."""
    said = session.optimized()
    if said is not None:
        return said
    owners = {parent(name) for name, spec in plan.specs.items() if spec.role == "slot"}
    return [name for name, spec in plan.specs.items() if name in owners and spec.role != "slot"]


def left_behind(plan: Plan, index: int, part: Part) -> tuple[str, ...]:
    """Return the slots of one source that nothing asked for."""
    specs = dict(part.source.specs.items())
    left = [
        name
        for name, verdict in plan.sources[index].items()
        if verdict in (Verdict.KEPT, Verdict.UNUSED) and not name.startswith(RUN_PREFIX)
    ]
    by_table = {name for name in training_only(specs, left) if not is_counter(name)}
    slots = by_table | slots_in(specs, left)
    return tuple(name for name in left if name in slots and specs[name].role != "run")
