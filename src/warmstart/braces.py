"""Braces in globs, as names are shown with: `{q,k}` and `{0..11}` are each of what they list."""

import re

from .errors import RuleError

#: What may stand between letters in a glob beside `*` and `?`: a class of letters, or braces.
CLASS = r"\[!?\]?[^\]]*\]"
BRACES = r"\{[^{}]*(?:,|\.\.)[^{}]*\}"

#: Numbers that braces in a pattern may list.
MAX_LISTED = 10_000


def any_of(braces: str) -> str:
    """Return the regex of braces in a glob: any of what they list.

    >>> any_of("{q,k}"), any_of("{8..10,x.y}")
    ('(?:q|k)', '(?:8|9|10|x\\\\.y)')
    """
    return f"(?:{'|'.join(map(re.escape, listed(braces)))})"


def listed(braces: str) -> list[str]:
    """Return what braces in a glob list.  Raise RuleError for more numbers than a model has layers.

    >>> listed("{q,k}"), listed("{0..2,7}")
    (['q', 'k'], ['0', '1', '2', '7'])
    """
    found: list[str] = []
    for item in braces[1:-1].split(","):
        ends = re.fullmatch(r"(0|[1-9]\d{0,17})\.\.(0|[1-9]\d{0,17})", item)
        if ends is None:
            found.append(item)
            continue
        begin, end = map(int, ends.groups())
        if end - begin >= MAX_LISTED:
            raise RuleError(f"{braces} lists more than {MAX_LISTED:,} numbers; * stands for any")
        found += map(str, range(begin, end + 1))
    return found
