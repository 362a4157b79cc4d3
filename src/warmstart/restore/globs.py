"""Globs taken apart: what their wildcards stand for goes into a new name, and back.

glob = read("enc/*/kernel")          pieces ("enc/", "/kernel"), wildcards ("*",)
glob.regex()                         a regex with a group for each wildcard
name = expansion("layers.*.w", 1)    name(("0",)) is "layers.0.w"
swapped(glob, "layers.*.w")          ("layers.*.w", "enc/*/kernel"): the way back
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from ..braces import BRACES, CLASS, any_of
from ..errors import RuleError
from ..names import translated

#: What the wildcards of a pattern stand for.
Key = tuple[str, ...]

#: Makes a name of what the wildcards stand for.
NewName = Callable[[Key], str]


@dataclass(frozen=True, slots=True)
class Glob:
    """A glob, taken apart: there is one piece more than wildcards."""

    pieces: tuple[str, ...]
    wildcards: tuple[str, ...]  # "*", "?", "[a-c]", "{q,k}", and where they are asked for "#"

    def regex(self, star: str = ".*") -> re.Pattern[str]:
        """Return the regex with a group for each wildcard; a `*` stands for what *star* matches."""
        known = {"*": star, "?": ".", "#": "[0-9]{1,18}"}
        groups = [f"({known.get(wildcard) or class_of(wildcard)})" for wildcard in self.wildcards]
        plain = map(re.escape, self.pieces)
        body = "".join(p + g for p, g in zip(plain, [*groups, ""], strict=True))
        return re.compile(body, re.DOTALL)

    def with_wildcards(self, wildcards: Iterable[str]) -> str:
        """Return the glob as it is written with other wildcards."""
        return "".join(p + w for p, w in zip(self.pieces, [*wildcards, ""], strict=True))


@lru_cache(maxsize=1024)
def read(glob: str, *, numbered: bool = False) -> Glob:
    """Return *glob* taken apart; if *numbered*, a `#` stands for a number."""
    number = "#|" if numbered else ""
    pieces = re.split(rf"({number}\*|\?|{CLASS}|{BRACES})", glob)
    return Glob(tuple(pieces[::2]), tuple(pieces[1::2]))


def class_of(brackets: str) -> str:
    """Return the regex of the brackets or braces of a glob.

    >>> class_of("[!a-c]"), class_of("{q,k}")
    ('[^a-c]', '(?:q|k)')
    """
    return any_of(brackets) if brackets.startswith("{") else translated(brackets)


def read_new(new: str, *, numbered: bool = False) -> Glob:
    """Return a new name taken apart: of the wildcards only `*`, `?` and, *numbered*, `#` count."""
    pieces = re.split(r"([*?#])" if numbered else r"([*?])", new)
    return Glob(tuple(pieces[::2]), tuple(pieces[1::2]))


def expansion(new: str, n_wildcards: int, *, numbered: bool = False) -> NewName:
    """Return what makes a name of *new* and of what *n_wildcards* wildcards stand for.

    Raise RuleError where it has more of them.
    """
    if braces := re.search(BRACES, new):
        raise RuleError(
            f"has {braces[0]} in the new name; braces are for patterns, * for new names"
        )
    glob = read_new(new, numbered=numbered)
    n = len(glob.wildcards)
    if n > n_wildcards:
        raise RuleError(f"has {n} wildcards in the new name and only {n_wildcards} in the old one")
    layout = "%s".join(piece.replace("%", "%%") for piece in glob.pieces)
    return layout.__mod__ if n == n_wildcards else lambda key: layout % key[:n]


def swapped(old: str, new: str, *, numbered: bool = False) -> tuple[str, str] | None:
    """Return the pattern and the new name of the way back, None where that is not certain.

    >>> swapped("enc/l?/*", "dec.*.*"), swapped("a*", "b")
    (('dec.?.*', 'enc/l*/*'), None)
    """
    before, after = read(old, numbered=numbered), read_new(new, numbered=numbered)
    kinds = [kind for kind in before.wildcards if kind != "#"]
    if len(kinds) != sum(kind != "#" for kind in after.wildcards) or "[" in new or "{" in new:
        return None
    asked = iter(kinds)
    pattern = after.with_wildcards([k if k == "#" else next(asked) for k in after.wildcards])
    return pattern, before.with_wildcards(["#" if k == "#" else "*" for k in before.wildcards])
