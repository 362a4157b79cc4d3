r"""Rules drafted from suggestions: what is to be renamed, and turned around, with wildcards.

    rename encoder/layer_*/mlp/dense/kernel -> encoder.*.mlp.weight
    transpose encoder.*.mlp.weight: 1 0
    rename re:encoder/layer_(\d+)/dense/bias -> encoder.\g<1>.dense.bias

Suggestions that are alike but for numbers become one rule: a glob where that means no other name,
else a regex.  Whoever reads a draft decides; those that are guesses are marked.
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..names import matcher, numbered
from .near_misses import Near, Nearest

#: A suggestion: the tensor's name, and the variable's.
Move = tuple[str, str]

#: What means something in a rule; names with it are written in a mapping, letter for letter.
SPECIAL = re.compile(r"[*?\[\]{}\\]|^re:|\s|[#,:]")


@dataclass(frozen=True, slots=True)
class Draft:
    """A rule that suggestions lead to."""

    old: str  # a pattern, or a name
    new: str  # what it becomes
    where: str  # a pattern of what it has become
    steps: tuple[str, ...]  # of what is done to the values: "transpose 1 0"
    moves: tuple[Move, ...]  # the names it is made for
    doubt: str  # why it is a guess

    def __str__(self) -> str:
        return ", then ".join([f"rename {self.old} -> {self.new}", *self.steps])

    @property
    def lines(self) -> list[str | dict[str, str]]:
        """The rules as a list or a rule file has them."""
        exact = len(self.moves) == 1 and any(map(SPECIAL.search, self.moves[0]))
        rename = {self.old: self.new} if exact else f"rename {self.old} -> {self.new}"
        return [rename, *(of_values(step, self.where) for step in self.steps)]


def hints(near: Nearest) -> list[str]:
    """Return the rules that lead to *near* for people, each with what it does to the values."""
    return [str(draft) for draft in drafts_of(near)]


def of_values(step: str, pattern: str) -> str:
    """Return the rule that does *step* to what *pattern* matches.

    >>> of_values("transpose 1 0", "fc.weight")
    'transpose fc.weight: 1 0'
    """
    verb, _, rest = step.partition(" ")
    return f"{verb} {pattern}: {rest}"


def drafts_of(near: Nearest) -> list[Draft]:
    """Return the rules that lead to *near*, in its order."""
    under = scopes_renamed(near)
    groups: dict[object, list[Move]] = {}
    for new, found in near.items():
        scopes = scopes_before_same(found.old, new)
        alike = (numbered(found.old)[0], numbered(new)[0], found.steps, found.doubt)
        key: object = scopes if scopes in under and not found.steps else alike
        groups.setdefault(key, []).append((found.old, new))
    drafts = []
    for key, moves in groups.items():
        if key in under:
            old, new = scopes_before_same(*moves[0])
            doubts = {near[name].doubt: None for _, name in moves}
            doubt = "" if "" in doubts else next(iter(doubts))
            drafts.append(Draft(f"{old}*", f"{new}*", f"{new}*", (), tuple(moves), doubt))
        else:
            drafts += generalised(moves, near[moves[0][1]], near.names, near)
    return drafts


def scopes_renamed(near: Nearest) -> set[tuple[str, str]]:
    """Return the scopes, old and new, of several of *near*.

    What else stands in the old one is not more than these, and nobody's loss under another name.
    """
    scopes = (scopes_before_same(each.old, new) for new, each in near.items() if not each.steps)
    several = {scope: n for scope, n in Counter(scopes).items() if scope[0] and n > 1}
    moved = {(each.old, new) for new, each in near.items() if not each.steps}
    wanted = {each.old for each in near.values()}
    others: dict[str, list[str]] = {old: [] for old, _ in several}
    for name in near.names:
        for old, below in others.items():
            if name.startswith(old):
                below.append(name)
    there = set(near.names)

    def is_free(name: str, new: str) -> bool:
        free = name in near.offers and name not in wanted
        return (name, new) in moved or (free and new not in there and new not in near.missing)

    return {
        (old, new)
        for (old, new), n in several.items()
        if len(others[old]) <= 2 * n
        and all(is_free(name, new + name.removeprefix(old)) for name in others[old])
    }


def scopes_before_same(old: str, new: str) -> tuple[str, str]:
    """Return what stands in each name before the longest end that both have from a separator on.

    >>> scopes_before_same("model/enc/w", "enc/w"), scopes_before_same("head.w", "out.w")
    (('model/', ''), ('head.', 'out.'))
    """
    for cut in re.finditer(r"^|[/.]", old):
        end = old[cut.end() :]
        if new == end or new.endswith(("/" + end, "." + end)):
            return old[: cut.end()], new[: len(new) - len(end)]
    return "", ""


def generalised(
    moves: Sequence[Move], like: Near, olds: Collection[str], news: Collection[str]
) -> list[Draft]:
    """Return the fewest rules for *moves*, alike but for their numbers, among *olds* and *news*."""
    if len(moves) == 1:
        ((old, new),) = moves
        return [Draft(old, new, new, like.steps, tuple(moves), like.doubt)]
    if varying(moves, 0) == varying(moves, 1):
        found = with_wildcards(moves, olds, news)
        if found is not None:
            return [Draft(*found, like.steps, tuple(moves), like.doubt)]
    return [draft for part in divided(moves) for draft in generalised(part, like, olds, news)]


def columns(moves: Sequence[Move], side: int) -> list[tuple[str, ...]]:
    """Return the numbers at each place of the old names, or of the new ones for *side* 1."""
    return list(zip(*(numbered(move[side])[1] for move in moves), strict=True))


def varying(moves: Sequence[Move], side: int) -> list[tuple[str, ...]]:
    """Return the columns of numbers that differ."""
    return [column for column in columns(moves, side) if len(set(column)) > 1]


def with_wildcards(
    moves: Sequence[Move], olds: Collection[str], news: Collection[str]
) -> tuple[str, str, str] | None:
    """Return *moves* as one old and one new name, and the pattern of the latter.

    Globs where they mean no other names than these, else regexes; None where names are too odd.
    """
    if any(map(SPECIAL.search, (*moves[0],))):
        return None
    old, new = (as_glob(moves, side) for side in (0, 1))
    where = new if means_only(new, [m[1] for m in moves], news) else as_regex(moves, 1, r"\d+")
    if means_only(old, [m[0] for m in moves], olds):
        return old, new, where
    old, new = as_regex(moves, 0, r"(\d+)"), numbered_groups(new)
    return (old, new, where) if means_only(old, [m[0] for m in moves], olds) else None


def means_only(pattern: str, wanted: Collection[str], names: Collection[str]) -> bool:
    """Return whether *pattern* matches none of *names* but those *wanted*."""
    test = matcher(pattern)
    return {name for name in names if test(name)} <= {*wanted}


def as_glob(moves: Sequence[Move], side: int) -> str:
    """Return the names of a side with `*` for the numbers that differ."""
    texts, marks = numbered(moves[0][side])[0], marks_of(moves, side, "*")
    return texts[0] + "".join(m + text for m, text in zip(marks, texts[1:], strict=True))


def as_regex(moves: Sequence[Move], side: int, digits: str) -> str:
    """Return the names of a side as a regex, with *digits* for the numbers that differ."""
    texts = [text.replace(".", r"\.") for text in numbered(moves[0][side])[0]]
    marks = marks_of(moves, side, digits)
    return "re:" + texts[0] + "".join(m + t for m, t in zip(marks, texts[1:], strict=True))


def marks_of(moves: Sequence[Move], side: int, mark: str) -> list[str]:
    """Return each number of the names of a side, or *mark* where it differs."""
    return [mark if len(set(column)) > 1 else column[0] for column in columns(moves, side)]


def numbered_groups(glob: str) -> str:
    r"""Return the new name of a regex with the groups that the wildcards of *glob* stand for.

    >>> numbered_groups("layer.*.conv*.weight")
    'layer.\\g<1>.conv\\g<2>.weight'
    """
    pieces = glob.split("*")
    return pieces[0] + "".join(rf"\g<{i}>{piece}" for i, piece in enumerate(pieces[1:], 1))


def divided(moves: Sequence[Move]) -> list[list[Move]]:
    """Return *moves* in parts of which each has one number fewer that differs.

    It is one that is not the same in the new names, or else that of the fewest values.
    """
    news, table = varying(moves, 1), columns(moves, 0)
    places = [place for place, column in enumerate(table) if len(set(column)) > 1]
    place = min(places, key=lambda p: (table[p] in news, len(set(table[p]))), default=None)
    if place is None:
        return [[move] for move in moves]
    parts: dict[str, list[Move]] = {}
    for move, number in zip(moves, table[place], strict=True):
        parts.setdefault(number, []).append(move)
    return list(parts.values())
