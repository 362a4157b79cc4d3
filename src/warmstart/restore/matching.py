"""Making a plan: what of which source belongs to which variable.  Pure.

Names are equal after rules; `w` and `w:0` are one name, and either name of a tied tensor or of a
tied variable will do.
"""

from collections.abc import Iterable, Mapping, Sequence, Set

from ..errors import NameConflict
from ..names import parent, without_output, without_outputs
from ..sessions.base import Session
from ..spec import RUN_PREFIX, TensorSpec
from .fit import misfit
from .fitting import fitted, policy_of, refuse_idle_fits
from .near_misses import MAX_NAMES, Nearest, Sides
from .plan import Match, Misfit, Part, Plan, Tie, Verdict, match_of
from .recipe import (
    Recipe,
    SpecsOf,
    Taken,
    distinct_names,
    first_name,
    spec_from,
    specs_by_every_name,
    specs_in,
    tensors_in,
    without_aliases,
)
from .slots import is_batch_counter, slots_in, training_only

Specs = Mapping[str, TensorSpec]

#: What a part has for a variable, with the name that it has it under.
Claim = tuple[str, Match]

#: What is asked for of a part, what its tensors are, and what becomes of them.
Asked = tuple[Mapping[str, Recipe], Specs, Mapping[str, Verdict]]

#: Verdicts on a tensor that meets variables; of several it has the first.
BEST_FIRST = (Verdict.LOADED, Verdict.MISMATCHED, Verdict.OVERRIDDEN, Verdict.KEPT)


def make_plan(parts: Iterable[Part], session: Session, *, with_run: bool = False) -> Plan:
    """Match the tensors of *parts* with the variables of *session*, as a whole.

    Variables of role "run" are filled only *with_run*, or by a part whose names were chosen one by
    one.  A slot goes with its variable: it is left alone where a part has both and the variable is
    not filled from there.
    """
    parts = list(parts)
    # Asked for once: each time a session looks through the whole model.
    own, synonyms, aliases = session.specs, session.synonyms, session.aliases
    specs = dict(own)
    met: list[Match] = []
    ties: list[Tie] = []
    others = {**synonyms, **aliases}
    for index, part in enumerate(parts):
        known = specs_by_every_name(part.source)
        specs |= created_by(part, known, session, own)
        offered = claims_of(part, index, known, specs, others)
        matches, of_part = matches_of(
            part, without_second_best(offered, {*part.source.derived}, synonyms.keys())
        )
        met += matches
        ties += of_part
    refuse_idle_fits(parts, [*specs, *aliases])
    made = fitted(met, ties, parts)
    met, ties = made.matches, made.ties
    fits, unfit = sorted_out(those_asked_for(met, parts, with_run))
    winners = {match.target.name: match for match in fits}
    overridden = {} if len(winners) == len(fits) else losers(fits, winners)
    misfits = tuple(judged(match, winners.get(match.target.name), parts) for match in unfit)
    targets = target_verdicts(own, parts, winners, misfits)
    sources = source_verdicts(parts, met, ties, winners, misfits)
    return Plan(
        labels=tuple(part.label for part in parts),
        specs=specs,
        targets=targets,
        sources=sources,
        matches=winners,
        overridden=overridden,
        misfits=misfits,
        left=made.left,
        ties=tuple(tie for tie in ties if tie.match == winners.get(tie.match.target.name)),
        near=suggestions(parts, specs, targets, sources),
    )


def suggestions(
    parts: Iterable[Part],
    specs: Specs,
    targets: Mapping[str, Verdict],
    sources: Sequence[Mapping[str, Verdict]],
) -> Nearest:
    """Return what variables without a tensor may have been meant to get, by names after rules."""
    # The sources may be closed, and should not be held, when suggestions are asked for.
    asked = [
        (part.origin, specs_in(part.source), verdicts)
        for part, verdicts in zip(parts, sources, strict=True)
    ]
    return Nearest(lambda: sides(specs, targets, asked))


def sides(specs: Specs, targets: Mapping[str, Verdict], asked: Iterable[Asked]) -> Sides:
    """Return the variables without a tensor, and of what is *asked* for the unused and the rest."""
    missing = {name: specs[name] for name, v in targets.items() if is_wanting(v, specs[name])}
    offers: dict[str, TensorSpec] = {}
    taken: list[str] = []
    for origin, own, verdicts in asked if missing else ():
        unused = {name for name, verdict in verdicts.items() if is_wanting(verdict, own[name])}
        for name, recipe in origin.items():
            if not unused.issuperset(distinct_names(recipe)):
                taken.append(name)
            elif len(offers) < MAX_NAMES:
                offers[name] = spec_from(recipe, own).renamed(name)
    return missing, offers, taken


def is_wanting(verdict: Verdict, spec: TensorSpec) -> bool:
    """Return whether a counterpart is looked for: of counters of batches none is missed."""
    kept = verdict is Verdict.KEPT and is_batch_counter(spec)
    return kept or verdict in (Verdict.MISSING, Verdict.UNUSED)


def created_by(part: Part, specs: Specs, session: Session, known: Specs) -> Specs:
    """Return what *session*, beside what is *known* of it, would create for *part*, by every name.

    The tensors of *part* are *specs*.
    """
    lacking = part.origin.keys() - known.keys()
    strange = [new for new in part.origin if new in lacking and not new.startswith(RUN_PREFIX)]
    unknown = {
        bare: spec_from(part.origin[new], specs).renamed(bare)
        for new in strange
        if (bare := without_output(new)) not in known
    }
    created = session.creatable(unknown)
    return {**created, **{spec.name: spec for spec in created.values()}}


def claims_of(
    part: Part, index: int, known: Specs, specs: Specs, aliases: Mapping[str, str]
) -> list[Claim]:
    """Return what one part, whose tensors are *known*, has for the session's *specs*."""
    claims: list[Claim] = []
    others, spec_of = part.source.aliases, SpecsOf(known).recipe
    bares = without_outputs(part.origin)
    targets = map(specs.get, [aliases.get(bare, bare) for bare in bares] if aliases else bares)
    for bare, recipe, target in zip(bares, part.origin.values(), targets, strict=True):
        if target is not None:
            own = without_aliases(recipe, others) if others else recipe
            if isinstance(recipe, Taken):
                old, spec = recipe.name, known[recipe.name]
            else:
                old, spec = first_name(recipe), spec_of(own)
            claims.append((bare, match_of((target, spec, old, index, own, False))))
    return claims


def matches_of(part: Part, claims: Sequence[Claim]) -> tuple[list[Match], list[Tie]]:
    """Return the matches of one part by name alone, and the ties whose values must be equal.

    Raise NameConflict naming every two tensors that end on one name.
    """
    if len({match.target.name for _, match in claims}) == len(claims):
        return [match for _, match in claims], []
    found = by_target(claims)
    matches = {name: of_one[0][1] for name, of_one in found.items()}
    several = {name: of_one for name, of_one in found.items() if len(of_one) > 1}
    refuse_conflicts(several, part.label)
    ties: list[Tie] = []
    for name, of_one in several.items():
        chosen = next((match for bare, match in of_one if bare == name), of_one[0][1])
        matches[name] = chosen
        ties += [Tie(chosen, match) for _, match in of_one if match.recipe != chosen.recipe]
    return list(matches.values()), ties


def by_target(claims: Iterable[Claim]) -> dict[str, list[Claim]]:
    """Return what is claimed of each variable."""
    found: dict[str, list[Claim]] = {}
    for claim in claims:
        found.setdefault(claim[1].target.name, []).append(claim)
    return found


def without_second_best(claims: list[Claim], derived: Set[str], synonyms: Set[str]) -> list[Claim]:
    """Return the claims on each variable without those by a lesser name, if there are better ones.

    Names that are *derived* say where a tensor lies, and *synonyms* what files of a framework call
    a variable: Keras numbers its layers.  Such a name counts only while neither its tensor nor its
    variable is matched by a real one.
    """
    if not derived and not synonyms:
        return claims

    found = by_target(claims)

    def is_lesser(bare: str, match: Match) -> bool:
        return bare in synonyms or (bare == match.old and bare in derived)

    best = {n: [c for c in of_one if not is_lesser(*c)] for n, of_one in found.items()}
    taken = {match.recipe for of_one in best.values() for _, match in of_one}
    return [
        claim
        for name, of_one in found.items()
        for claim in best[name] or [c for c in of_one if c[1].recipe not in taken]
    ]


def refuse_conflicts(found: Mapping[str, list[Claim]], label: str) -> None:
    """Raise if two tensors have one name: `w` and `w:0`.  A tied variable's two names are two."""
    conflicts = []
    for claims in found.values():
        by_name: dict[str, Match] = {}
        for bare, match in claims:
            first = by_name.setdefault(bare, match)
            if first.recipe != match.recipe:
                conflicts.append(f"  {first.old!r} and {match.old!r} are both {bare!r}")
    if conflicts:
        raise NameConflict(
            "\n".join([f"two tensors of {label} end on one name; drop one of them:", *conflicts])
        )


def those_asked_for(matches: list[Match], parts: Sequence[Part], with_run: bool) -> list[Match]:
    """Return *matches* but for run state, where it is not asked for, and for orphans."""
    roles, asked = {match.target.role for match in matches}, matches
    if "run" in roles and not with_run:
        asked = [m for m in matches if parts[m.part].explicit or m.target.role != "run"]
    return without_orphans(asked) if "slot" in roles else asked


def without_orphans(matches: Sequence[Match]) -> list[Match]:
    """Return *matches* but for slots whose variable the same part has and does not fill."""
    home: dict[str, int] = {}
    for match in matches:
        if misfit(match.source, match.target) is None:
            home[match.target.name] = match.part  # the later part wins
    offered = {(match.part, match.target.name) for match in matches}

    def is_orphan(match: Match) -> bool:
        owner = parent(match.target.name)
        return (match.part, owner) in offered and home.get(owner) != match.part

    return [match for match in matches if match.target.role != "slot" or not is_orphan(match)]


def sorted_out(matches: Iterable[Match]) -> tuple[list[Match], list[Match]]:
    """Return the matches that fit, and those that do not."""
    fits: list[Match] = []
    unfit: list[Match] = []
    for match in matches:
        own, wanted = match.source, match.target
        same = own.shape == wanted.shape and own.dtype == wanted.dtype  # true of most
        (fits if same or misfit(own, wanted) is None else unfit).append(match)
    return fits, unfit


def losers(matches: Iterable[Match], winners: Mapping[str, Match]) -> dict[str, tuple[Match, ...]]:
    """Return those of *matches* that are no *winners*, by target, in the order of the chain."""
    found: dict[str, tuple[Match, ...]] = {}
    for match in matches:
        name = match.target.name
        if winners[name] is not match:
            found[name] = (*found.get(name, ()), match)
    return found


def judged(match: Match, winner: Match | None, parts: Sequence[Part]) -> Misfit:
    """Return the misfit that *match* is.  Only shapes may be ignored."""
    part = parts[match.part]
    reason = misfit(match.source, match.target) or "shape"
    overridden = winner is not None and winner.part > match.part
    fit = policy_of(match.target, part) if reason == "shape" else None
    policy = "" if fit is None else fit.policy
    ignored = policy == "skip" or (part.ignore_mismatch and policy != "error")
    fatal = not overridden and not (reason == "shape" and ignored)
    return Misfit(match, reason, fatal, "" if fit is None else str(fit))


def target_verdicts(
    specs: Specs, parts: Sequence[Part], winners: Mapping[str, Match], misfits: Iterable[Misfit]
) -> dict[str, Verdict]:
    """Return what becomes of every variable of the session, and of the slots that are created."""
    mismatched = {m.match.target.name for m in misfits}
    withheld = frozenset().union(*(part.withheld for part in parts))
    all_asked = any(not part.explicit for part in parts)

    def verdict(name: str) -> Verdict:
        if name in mismatched:
            return Verdict.MISMATCHED
        if not all_asked or specs[name].role in ("slot", "run"):
            return Verdict.KEPT
        if name in withheld:
            return Verdict.DROPPED
        return Verdict.KEPT if is_batch_counter(specs[name]) else Verdict.MISSING

    given = dict.fromkeys(specs, Verdict.LOADED)
    given |= dict.fromkeys((*winners, *sorted(mismatched)), Verdict.LOADED)
    given |= {name: verdict(name) for name in given if name not in winners}
    return given


def source_verdicts(
    parts: Sequence[Part],
    met: Iterable[Match],
    ties: Iterable[Tie],
    winners: Mapping[str, Match],
    misfits: Iterable[Misfit],
) -> tuple[dict[str, Verdict], ...]:
    """Return what becomes of every tensor, for each part.  A tensor that feeds several variables
    has the best of its verdicts.
    """
    winning, unfit = set(map(id, winners.values())), {id(misfit.match) for misfit in misfits}
    losing = [match for match in met if id(match) not in winning]
    given: list[dict[str, Verdict]] = []
    for index in range(len(parts)):
        loaded = tensors_in(m.recipe for m in winners.values() if m.part == index)
        given.append(dict.fromkeys(loaded, Verdict.LOADED))
    for match in losing:
        verdict = Verdict.OVERRIDDEN if match.target.name in winners else Verdict.KEPT
        verdict = Verdict.MISMATCHED if id(match) in unfit else verdict
        of_part = given[match.part]
        for name in match.tensors:
            of_part[name] = min(of_part.get(name, verdict), verdict, key=BEST_FIRST.index)
    for tie in ties:
        of_part = given[tie.match.part]
        for name in tie.other.tensors:
            of_part.setdefault(name, of_part.get(tie.match.tensors[0], Verdict.KEPT))
    return tuple(map(of_all_tensors, parts, given))


def of_all_tensors(part: Part, given: Mapping[str, Verdict]) -> dict[str, Verdict]:
    """Return the verdicts *given* on tensors of *part*, and one for each that meets no variable."""
    verdicts = dict.fromkeys(part.source.specs, Verdict.LOADED)
    unmet = unmet_verdicts(part, [name for name in verdicts if name not in given])
    verdicts |= given
    verdicts |= unmet
    return verdicts


def tensors_asked_for(part: Part) -> set[str]:
    """Return the tensors of *part* that have a name after its rules, or go into one that has."""
    others = part.source.aliases
    names = tensors_in(part.origin.values())
    return {others.get(name, name) for name in names} if others else names


def unmet_verdicts(part: Part, names: Sequence[str]) -> dict[str, Verdict]:
    """Return the verdict of each of *names*, whose tensors no variable of the session takes."""
    if not names:
        return {}
    specs, asked_for = specs_in(part.source), tensors_asked_for(part)
    for_training = {n for n in training_only(specs, names) if specs[n].role is None}
    for_training |= slots_in(specs, names)

    def verdict(name: str) -> Verdict:
        if part.explicit or name.startswith(RUN_PREFIX) or name in part.left:
            return Verdict.KEPT
        if name not in asked_for:
            return Verdict.DROPPED
        quiet = name in for_training or specs[name].role == "run" or is_batch_counter(specs[name])
        return Verdict.KEPT if quiet else Verdict.UNUSED

    return {name: verdict(name) for name in names}
