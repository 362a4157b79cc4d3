"""Rules: which tensors of a source are wanted, and under which names.

    rules=["drop fc/*", "rename encoder/* -> bert/*"]     strings, applied in this order
    rules={"w_old": "w", "emb": ["emb_a", "emb_b"]}       a mapping; None or an empty list drops
    rules=lambda name: name.removeprefix("module.")       a function; None drops
    rules=[ws.rename(r"layer(\\d+)", r"block\\1"), ws.drop("re:.*_ema")]

A rule sees the names that the rule before it left.  In a glob's rename the first wildcard of the
new name takes what the first of the old one stood for, and so on.  TensorFlow's `w:0` answers to
`w` as well.  Neighbouring `keep` rules keep what either of them names.

Optimizer slots follow their variable, names of run state (`_RUN/...`) are neither seen nor touched,
and a rule that matches nothing is an error: it is nearly always a typing mistake.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from ..errors import NameConflict, RuleError
from ..names import Pattern, compiled, near, without_output
from ..source import Source
from ..spec import RUN_PREFIX
from .rule_kinds import Drop, Function, Keep, Rename, Rule, Table, as_names

#: How many idle parts of a rule get a suggestion: finding one compares thousands of names.
MAX_HINTS = 20


@dataclass(frozen=True, slots=True)
class Renaming:
    """What rules make of a list of names."""

    origin: dict[str, str]  # new name -> old name; one old name may have several new ones
    dropped: tuple[str, ...]  # old names that have no new one
    withheld: frozenset[str]  # the names that what was dropped would have ended on


def rename(pattern: str | re.Pattern[str], replacement: str) -> Rule:
    r"""Return the rule that renames what the regex *pattern* matches in full.

    *replacement* may refer to groups, as in `re.sub`: `rename(r"layer(\d+)/w", r"block\1/kernel")`.
    """
    regex = compiled(pattern)
    text = f"rename {regex.pattern} -> {replacement}"
    return Rename(regex, checked_replacement(regex, replacement, text), regex.pattern, text)


def drop(*patterns: Pattern) -> Rule:
    """Return the rule that leaves out every tensor whose name any of *patterns* matches."""
    return Drop(checked(patterns, "drop"))


def keep(*patterns: Pattern) -> Rule:
    """Return the rule that leaves out every tensor whose name none of *patterns* matches."""
    return Keep(checked(patterns, "keep"))


def parse(rules: Any) -> tuple[Rule, ...]:
    """Return rules in any of the forms they may be written in, one or an iterable of them."""
    if isinstance(rules, Iterable) and not isinstance(rules, str | Mapping):
        return united([parse_one(rule) for rule in rules])
    return (parse_one(rules),)


def parse_one(rule: Any) -> Rule:
    """Return a single rule from the form it was written in."""
    if isinstance(rule, Rule):
        return rule
    if isinstance(rule, str):
        return parse_text(rule)
    if isinstance(rule, Mapping):
        return Table({without_output(old): as_names(new, old) for old, new in rule.items()})
    if callable(rule):
        return Function(rule)
    raise TypeError(
        f"a rule is a string, a mapping, a function or the result of ws.rename, ws.drop or "
        f"ws.keep, not a {type(rule).__name__}"
    )


def parse_text(text: str) -> Rule:
    """Return the rule that a string writes down."""
    verb, _, rest = text.strip().partition(" ")
    match verb:
        case "drop" if rest.strip():
            return drop(rest.strip())
        case "keep" if rest.strip():
            return keep(rest.strip())
        case "rename" if " -> " in rest:
            old, _, new = rest.partition(" -> ")
            return parse_rename(old.strip(), new.strip(), text.strip())
    raise RuleError(
        f"the rule {text!r} cannot be read; expected 'drop PATTERN', 'keep PATTERN' or "
        "'rename OLD -> NEW'"
    )


def parse_rename(old: str, new: str, text: str) -> Rule:
    """Return the rename from the glob or `re:` regex *old* to *new*."""
    if old.startswith("re:"):
        return rename(old[3:], new)
    regex, n_wildcards = glob_with_groups(old)
    pieces = re.split(r"[*?]", new.replace("\\", r"\\"))
    if len(pieces) - 1 > n_wildcards:
        raise RuleError(
            f"the rule {text!r} has {len(pieces) - 1} wildcards in the new name and only "
            f"{n_wildcards} in the old one"
        )
    expansion = pieces[0] + "".join(rf"\g<{i}>{piece}" for i, piece in enumerate(pieces[1:], 1))
    return Rename(regex, expansion, old, text)


def glob_with_groups(glob: str) -> tuple[re.Pattern[str], int]:
    """Return *glob* as a regex with one group per wildcard, and how many there are."""
    pieces = re.split(r"(\*|\?|\[!?[^\]]+\])", glob)
    groups = {"*": "(.*)", "?": "(.)"}
    wild = [groups.get(piece) or f"({piece.replace('[!', '[^')})" for piece in pieces[1::2]]
    plain = [re.escape(piece) for piece in pieces[::2]]
    body = plain[0] + "".join(w + p for w, p in zip(wild, plain[1:], strict=True))
    return re.compile(body, re.DOTALL), len(wild)


def apply(
    rules: Any,
    names: Iterable[str],
    *,
    aliases: Mapping[str, str] | None = None,
    slots: Collection[str] = (),
    fellows: Collection[str] = (),
) -> Renaming:
    """Return what *rules* make of *names*.

    *aliases* are further names of tied tensors (alias -> one of *names*), of which *fellows* are
    dropped together; *slots* are those names that stand under their variable's and follow it.
    Raise RuleError naming every idle rule, and NameConflict naming every two tensors that end on
    one name.
    """
    aliases = aliases or {}
    every = [*names, *aliases]
    renaming, idle = trace(parse(rules), every, ties=aliases, slots=slots, fellows=fellows)
    refuse_idle(idle)
    return renaming


def trace(
    rules: Iterable[Rule],
    names: Iterable[str],
    *,
    ties: Mapping[str, str],
    slots: Collection[str],
    fellows: Collection[str] = (),
) -> tuple[Renaming, list[str]]:
    """Return what *rules* make of *names*, and a line for each part of them that matches nothing.

    *ties* maps a name to the one that stands for its tensor, where that is another.  Of a tensor's
    names those among *fellows* (see `fellows_of`) are dropped as soon as one of them is.
    """
    names = list(names)
    flow = [Flow(name, name) for name in names if not name.startswith(RUN_PREFIX)]
    idle: list[str] = []
    for rule in rules:
        idle += idle_parts(rule, flow)
        flow = list(stepped(rule, flow, slots))
        if fellows and rule.drops:
            flow = list(together(flow, ties, fellows))
    kept = [item for item in flow if item.kept]
    survivors = {ties.get(item.old, item.old) for item in kept}
    ours = [name for name in names if name.startswith(RUN_PREFIX)]
    gone_on = survivors.union(ours, ties)
    renaming = Renaming(
        origin=dict(zip(ours, ours, strict=True)) | without_conflicts(kept, ties),
        dropped=tuple(n for n in names if n not in gone_on),
        withheld=frozenset(without_output(item.new) for item in flow if not item.kept),
    )
    return renaming, idle


def fellows_of(source: Source) -> set[str]:
    """Return the names that share their tensor's fate: the derived ones, and what they stand for.

    Who drops the momentum of a file by its place means it under its parameter's name as well; tied
    tensors, each a tensor in the model, are dropped one by one.
    """
    return set(source.derived).union(source.aliases[alias] for alias in source.derived)


def refuse_idle(idle: Collection[str]) -> None:
    """Raise if there is a part of a rule that matches nothing."""
    if idle:
        raise RuleError("\n".join(["these rules match nothing:", *idle]))


@dataclass(frozen=True, slots=True)
class Flow:
    """A name on its way through the rules; dropped ones go on, to say what they would be called."""

    old: str
    new: str
    kept: bool = True


def stepped(rule: Rule, flow: Iterable[Flow], slots: Collection[str]) -> Iterable[Flow]:
    """Yield *flow* after one more rule."""
    for item in flow:
        bare = without_output(item.new)
        new_names = rule.new_slot_names(bare) if item.old in slots else rule.new_names(bare)
        if new_names is None:
            yield item
        elif not new_names:
            yield Flow(item.old, item.new, kept=False)
        else:
            yield from (Flow(item.old, new, item.kept) for new in new_names)


def together(
    flow: Collection[Flow], ties: Mapping[str, str], fellows: Collection[str]
) -> Iterable[Flow]:
    """Yield *flow* where what is dropped under one of its *fellows* is under the others too."""
    dropped = (item.old for item in flow if not item.kept and item.old in fellows)
    gone = {ties.get(old, old) for old in dropped}
    for item in flow:
        kept = item.old not in fellows or ties.get(item.old, item.old) not in gone
        yield item if kept else Flow(item.old, item.new, kept=False)


def without_conflicts(kept: Iterable[Flow], ties: Mapping[str, str]) -> dict[str, str]:
    """Return new name -> old name, or raise naming every two tensors that end on one name."""
    origin: dict[str, str] = {}
    conflicts: list[str] = []
    for item in kept:
        first = origin.setdefault(item.new, item.old)
        if ties.get(first, first) != ties.get(item.old, item.old):
            conflicts.append(f"  {first!r} and {item.old!r} are both {item.new!r}")
    if conflicts:
        raise NameConflict(
            "\n".join(["two tensors end on one name; drop or rename one of them:", *conflicts])
        )
    return origin


def idle_parts(rule: Rule, flow: Iterable[Flow]) -> list[str]:
    """Return a line for each part of *rule* that matches no name; the first ones with a hint."""
    bare = list(dict.fromkeys(without_output(item.new) for item in flow if item.kept))
    parts = rule.idle(bare)
    before = rule.idle([without_output(item.old) for item in flow]) if parts else []
    return [
        f"  {text}{hint(pattern, bare, used=(text, pattern) not in before, rank=rank)}"
        for rank, (text, pattern) in enumerate(parts)
    ]


def hint(pattern: str, names: Collection[str], *, used: bool, rank: int) -> str:
    """Return the end of a message on the idle *pattern*: it is *used* up, or near what it is."""
    if used:
        return "    matches only names that the rules before it have changed or dropped"
    return near_text(pattern, names) if rank < MAX_HINTS else ""


def near_text(wanted: str, names: Collection[str]) -> str:
    """Return the end of a message that names what is near *wanted*, or nothing."""
    found = near(wanted, names)
    return f"    near it: {', '.join(found)}" if found else ""


def united(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """Return *rules* with neighbouring `keep` rules made one."""
    result: list[Rule] = []
    for is_keep, run in groupby(rules, lambda rule: isinstance(rule, Keep)):
        if is_keep:
            result.append(Keep(tuple(p for rule in run for p in rule.patterns)))  # type: ignore[attr-defined]
        else:
            result += run
    return tuple(result)


def checked(patterns: tuple[Pattern, ...], verb: str) -> tuple[Pattern, ...]:
    """Return *patterns*, refusing none at all, other things, and regexes that cannot be read."""
    if not patterns:
        raise RuleError(f"{verb} needs at least one pattern")
    wrong = [p for p in patterns if not isinstance(p, str | re.Pattern)]
    if wrong:
        raise TypeError(f"{verb} takes patterns one by one, {verb}('a/*', 'b/*'), not {wrong[0]!r}")
    return tuple(
        compiled(p[3:]) if isinstance(p, str) and p.startswith("re:") else p for p in patterns
    )


def checked_replacement(regex: re.Pattern[str], replacement: str, text: str) -> str:
    """Return *replacement*, refusing one that asks for groups that *regex* does not have."""
    try:
        regex.sub(replacement, "")  # the new name is read before anything is matched
    except (re.error, IndexError) as error:
        raise RuleError(f"the new name in {text!r} cannot be read: {error}") from error
    return replacement
