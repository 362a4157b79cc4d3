"""Drafts made short: what whole scopes are called, then what is in them, then which axes turn.

    scope net/ -> .
    rename *.kernel -> *.weight
    transpose fc.weight: 1 0

Such rules say more than the suggestions that they are made of, so they are tried on all names.
Where anything is not as suggested then, there are none, and each suggestion stays a rule.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ..errors import RestoreError
from ..names import numbered
from ..spec import TensorSpec
from .drafts import SPECIAL, Draft, Move, as_glob, varying
from .grammar import parse
from .near_misses import Nearest
from .recipe import Taken
from .rule_files import Line
from .rules import Seen, trace

#: How much shorter than a rule for each suggestion they must be to be worth reading.
SHORTER = 0.75


class Cut(NamedTuple):
    """A name, cut before its leaf."""

    scope: str
    separator: str
    leaf: str


def compacted(near: Nearest, drafts: Sequence[Draft]) -> list[str] | None:
    """Return fewer lines that do the same as those of *drafts* that can be made short, or None.

    *drafts* are all that *near* leads to; the rules of the others come before these.
    """
    sure = [draft for draft in drafts if can_be_short(draft)]
    others = [draft for draft in drafts if not can_be_short(draft)]
    before: list[Line] = [line for draft in others for line in draft.lines]
    moves = [move for draft in sure for move in draft.moves]
    if not sure or any(SPECIAL.search(name) for move in moves for name in move):
        return None
    steps = [line for draft in sure for line in draft.lines[1:] if isinstance(line, str)]
    lines = [*scope_lines(moves), *leaf_lines(sure), *steps]
    if len(lines) > SHORTER * sum(len(draft.lines) for draft in sure):
        return None
    return lines if leads_to(near, [*before, *lines]) else None


def can_be_short(draft: Draft) -> bool:
    """Return whether *draft* is neither a guess nor a rule for a whole scope already."""
    return not draft.doubt and not draft.new.endswith("*")


def cut(name: str) -> Cut:
    """Return *name* cut before its leaf; of a name alone all else is empty.

    >>> cut("net/fc.weight"), cut("w")
    (Cut(scope='net/fc', separator='.', leaf='weight'), Cut(scope='', separator='', leaf='w'))
    """
    found = re.fullmatch(r"(.*)([/.])([^/.]*)", name, re.DOTALL)
    return Cut(*found.groups()) if found else Cut("", "", name)


def scope_lines(moves: Iterable[Move]) -> list[str]:
    """Return the rules for the scopes of *moves*, inner ones first; numbers that differ are `*`."""
    pairs = {scopes_of(old, new): None for old, new in moves}
    groups: dict[object, list[Move]] = {}
    for old, new in pairs:
        if old != new:
            groups.setdefault((numbered(old)[0], numbered(new)[0]), []).append((old, new))
    found = [pair for group in groups.values() for pair in with_stars(group)]
    ordered = sorted(found, key=lambda pair: (-len(pair[0]), pair[0]))
    return [f"scope {old} -> {new}" for old, new in ordered]


def scopes_of(old: str, new: str) -> Move:
    """Return the scopes that differ, each with the separator that follows it.

    >>> scopes_of("net/a/fc/kernel", "a.fc.weight"), scopes_of("bn1.bias", "norm0/beta")
    (('net/', '.'), ('bn1.', 'norm0/'))
    """
    before, after = cut(old), cut(new)
    own, theirs = (re.split(r"([/.])", each.scope) for each in (before, after))
    while own and theirs and own[-1] == theirs[-1]:
        own, theirs = own[:-2], theirs[:-2]
    return f"{''.join(own)}{before.separator}", f"{''.join(theirs)}{after.separator}"


def with_stars(pairs: Sequence[Move]) -> list[Move]:
    """Return *pairs*, alike but for numbers, as one with `*` where these go alike on both sides."""
    if len(pairs) == 1 or varying(pairs, 0) != varying(pairs, 1):
        return list(pairs)
    return [(as_glob(pairs, 0), as_glob(pairs, 1))]


def leaf_lines(drafts: Sequence[Draft]) -> list[str]:
    """Return the rules for the leaves in *drafts*; one that has several names says where."""
    news: dict[tuple[str, str], set[str]] = {}
    for old, new in (move for draft in drafts for move in draft.moves):
        after = cut(new)
        news.setdefault((after.separator, cut(old).leaf), set()).add(after.leaf)
    single = [
        f"rename *{separator}{leaf} -> *{separator}{new}"
        for (separator, leaf), names in news.items()
        for new in names
        if len(names) == 1 and new != leaf
    ]
    return [*dict.fromkeys(line for draft in drafts for line in told_apart(draft, news)), *single]


def told_apart(draft: Draft, news: dict[tuple[str, str], set[str]]) -> Iterator[str]:
    """Yield the rule for the leaf of *draft* where others of that name have another in *news*."""
    for glob in dict.fromkeys([draft.new] if len(draft.moves) > 1 else draft.moves[0][1:]):
        after, leaf = cut(glob), cut(draft.moves[0][0]).leaf
        if len(news.get((after.separator, leaf), ())) > 1 and leaf != after.leaf:
            yield f"rename {after.scope}{after.separator}{leaf} -> {glob}"


def leads_to(near: Nearest, lines: Sequence[Line]) -> bool:
    """Return whether *lines* do what *near* suggests, and leave alone what is taken elsewhere."""
    taken = [name for name in near.names if name not in near.offers]
    specs = {name: TensorSpec(name, "float32", ()) for name in taken} | dict(near.offers)
    try:
        done = trace(parse(lines), Seen(specs))
    except RestoreError:
        return False
    origin = done.ruled.origin
    wanted = {name: found.recipe for name, found in near.items()}
    wanted |= {name: Taken(name) for name in taken}
    more = near.missing - wanted.keys()
    return not (done.idle or done.faults or more & origin.keys()) and all(
        origin.get(name) == recipe for name, recipe in wanted.items()
    )
