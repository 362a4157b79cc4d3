"""Patterns over a hundred thousand names: most names are told apart by what a pattern must contain.

    probe = probe_of("encoder/*/kernel")
    probe.literals                       ("encoder/", "/kernel")
    probe.places(names)                  indices of the names with both: few
    probe.match("encoder/0/kernel")      a match with a group for each wildcard

TensorFlow's `w:0` answers to `w` as well, so a name matches with and without `:0`.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from os.path import commonprefix

from ..names import Pattern, compiled, without_output
from .globs import Glob, read

#: How many literals are looked for in every name; each look costs a hundred thousand names 4 ms.
MAX_LITERALS = 2

#: What a pattern's text is read as: a class, an escape, a quantifier, a bracket, or a plain letter.
TOKENS = re.compile(
    r"\[\^?\]?(?:\\.|[^\]\\])*\]|\\(?:x..|u.{4}|U.{8}|N\{[^}]*\}|\d+|.)|\{\d*,?\d*\}"
    r"|\((?:\?:|\?P<\w+>)?|.",
    re.DOTALL,
)

#: How many batches of renamed names are kept before all are sorted anew.
MAX_BATCHES = 100

#: What follows that may be left out, and that may come more than once.
OPTIONAL = ("*", "?", "{")
QUANTIFIERS = (*OPTIONAL, "+")

#: Flags under which a regex still contains its letters as they are.
PLAIN_FLAGS = re.UNICODE | re.DOTALL | re.MULTILINE

#: Flags as they stand in a regex itself.
FLAGS = {"i": re.IGNORECASE, "s": re.DOTALL, "m": re.MULTILINE, "x": re.VERBOSE, "a": re.ASCII}


class Names(list[str]):
    """Names by their places, which finds those that begin alike without a look at each.

    They are sorted once; what is renamed later is kept in batches beside that.
    """

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__(names)
        self._places: list[int] = []  # in the order of the names
        self._sorted: list[str] = []
        self._batches: list[tuple[str, list[int]]] = []  # what all of them begin with, where

    def beginning(self, prefix: str) -> list[int]:
        """Return the places of all names that begin with *prefix*, and perhaps of some others."""
        n_moved = sum(len(places) for _, places in self._batches)
        if not self._sorted or n_moved > len(self) or len(self._batches) > MAX_BATCHES:
            self._places = sorted(range(len(self)), key=self.__getitem__)
            self._sorted = [self[place] for place in self._places]
            self._batches = []
        begin = bisect_left(self._sorted, prefix)
        end = bisect_left(self._sorted, True, begin, key=lambda name: not name.startswith(prefix))
        found = self._places[begin:end]
        alike = [p for shared, p in self._batches if begin_alike(shared, prefix)]
        return sorted({*found, *chain.from_iterable(alike)}) if alike else sorted(found)

    def change(self, names: Mapping[int, str]) -> None:
        """Put others in place of the names at the keys of *names*."""
        if self._sorted and names:
            ends = min(names.values()), max(names.values())
            self._batches.append((commonprefix(ends), list(names)))  # noqa: RUF071  (no paths)
        for place, name in names.items():
            self[place] = name


def begin_alike(one: str, other: str) -> bool:
    """Return whether a name can begin with both."""
    return one.startswith(other) or other.startswith(one)


@dataclass(frozen=True, slots=True)
class Probe:
    """A pattern, ready to be tried on many names."""

    pattern: str  # as written
    regex: re.Pattern[str]
    literals: tuple[str, ...]  # what each name that matches contains, the most telling first
    prefix: str = ""  # what each name that matches begins with
    exact: str | None = None  # the glob letter for letter, as a name with odd characters

    @property
    def plain(self) -> bool:
        """Whether the pattern is a name, without wildcards."""
        return self.exact is not None and not self.regex.groups

    def match(self, name: str) -> re.Match[str] | None:
        """Return how *name* matches, with or without `:0`, or None."""
        return self.regex.fullmatch(name) or self.regex.fullmatch(name + ":0")

    def __call__(self, name: str) -> bool:
        """Return whether *name* matches."""
        return self.match(name) is not None or name == self.exact

    def places(self, names: Sequence[str]) -> Sequence[int]:
        """Return the indices of all *names* that may match, or whose beginning may."""
        places: Sequence[int] = range(len(names))
        literals: Sequence[str] = self.literals
        if self.prefix and isinstance(names, Names):
            places = names.beginning(self.prefix)
            literals = tuple(text for text in literals if text not in self.prefix)
        elif literals:
            first, *literals = literals[:MAX_LITERALS]
            places = [place for place, name in enumerate(names) if first in name]
        for text in literals[:MAX_LITERALS]:
            places = [place for place in places if text in names[place]]
        return places

    def idle(self, names: Sequence[str]) -> bool:
        """Return whether none of *names* matches."""
        return not any(self(names[place]) for place in self.places(names))


@lru_cache(maxsize=1024)
def probe_of(pattern: Pattern) -> Probe:
    """Return *pattern* as a probe: a glob, a regex after `re:`, or a compiled one."""
    if isinstance(pattern, re.Pattern):
        runs = literals_of(pattern)
        return Probe("re:" + text_of(pattern), pattern, telling(runs), bare(runs[0]))
    if pattern.startswith("re:"):
        return probe_of(compiled(pattern[3:]))
    glob = read(pattern)
    return glob_probe(pattern, glob, exact=without_output(pattern))


def glob_probe(
    pattern: str, glob: Glob, regex: re.Pattern[str] | None = None, exact: str | None = None
) -> Probe:
    """Return the probe of a *glob*, written as *pattern*; its regex may be another than its own."""
    regex = glob.regex() if regex is None else regex
    return Probe(pattern, regex, telling(glob.pieces), bare(glob.pieces[0]), exact)


def text_of(regex: re.Pattern[str]) -> str:
    """Return the text that compiles to *regex*, with its flags in front.

    >>> text_of(re.compile("a.*", re.IGNORECASE))
    '(?i)a.*'
    """
    flags = "".join(letter for letter, flag in FLAGS.items() if regex.flags & flag)
    stated = not flags or regex.pattern.startswith("(?")
    return regex.pattern if stated else f"(?{flags}){regex.pattern}"


def literals_of(regex: re.Pattern[str]) -> list[str]:
    """Return texts that each match of *regex* contains, the first of which it begins with."""
    text = regex.pattern
    if regex.flags & ~PLAIN_FLAGS or "|" in text or re.search(r"\(\?(?!:|P<)", text):
        return [""]
    return list(plain_runs(TOKENS.findall(text)))


def plain_runs(tokens: Sequence[str]) -> Iterator[str]:
    """Yield the runs of letters among a regex's *tokens* that stand in each match.

    A group is looked into, unless it may be left out; one that may come again ends a run.
    """
    run, optional = "", 0  # how many groups around may be left out
    ends = group_ends(tokens)
    for place, token in enumerate(tokens):
        end = ends.get(place, place)
        after = tokens[end + 1][:1] if end + 1 < len(tokens) else ""
        if token[0] == "(":
            optional += after in OPTIONAL
        letter = token if len(token) == 1 and token not in "().^$*+?" else escaped(token)
        plain = letter and after not in OPTIONAL
        if optional or not (plain or (token[0] in "()" and after not in QUANTIFIERS)):
            yield run
            run = ""
        elif plain:
            run += letter
        if token == ")":
            optional -= after in OPTIONAL
    yield run


def group_ends(tokens: Sequence[str]) -> dict[int, int]:
    """Return for the place of each bracket among *tokens* that opens the place where it closes."""
    ends, opened = {}, []
    for place, token in enumerate(tokens):
        if token[0] == "(":
            opened.append(place)
        if token == ")":
            ends[opened.pop()] = place
    return ends


def escaped(token: str) -> str:
    r"""Return the letter that an escape such as `\.` stands for, or nothing.

    >>> escaped(r"\."), escaped(r"\d")
    ('.', '')
    """
    return token[1] if token[0] == "\\" and len(token) == 2 and not token[1].isalnum() else ""


def telling(pieces: Iterable[str]) -> tuple[str, ...]:
    """Return those of *pieces* that a name itself must contain, the longest first."""
    found = {bare(piece) for piece in pieces} - {""}
    return tuple(sorted(found, key=lambda piece: (-len(piece), piece)))


def bare(piece: str) -> str:
    """Return as much of *piece* as a name must have that may match with `:0` behind it only.

    >>> bare("w:0"), bare("w:"), bare("0"), bare("w0")
    ('w', 'w', '', 'w0')
    """
    return "" if piece == "0" else piece.removesuffix(":0").removesuffix(":")


def expander(regex: re.Pattern[str], replacement: str) -> Callable[[re.Match[str]], str]:
    r"""Return what makes of a match the text that *replacement* (`\1`, `\g<name>`) stands for.

    `Match.expand` reads the replacement anew each time, which takes ten times as long.
    """
    pieces = re.split(r"\\(?:g<(\w+)>|([1-9]\d?)(?!\d))", replacement)
    keys = [int(k) if k.isdigit() else k for k in map(first_of, pieces[1::3], pieces[2::3])]
    if any("\\" in piece for piece in pieces[::3]) or not keys:
        return lambda match: match.expand(replacement)
    layout = "%s".join(piece.replace("%", "%%") for piece in pieces[::3])

    def expanded(match: re.Match[str]) -> str:
        values = match.group(0, *keys)[1:]  # a tuple, however few
        return match.expand(replacement) if None in values else layout % values

    return expanded


def first_of(name: str | None, number: str | None) -> str:
    """Return whichever of the two is there."""
    return name or number or ""
