"""Slips in rules as they are written: a near verb, a missing colon, another arrow."""

import re
from collections.abc import Collection, Iterable

from ..names import near


def unknown(text: str, verb: str, verbs: Collection[str]) -> str:
    """Return what to say of a *text* that begins with *verb*, none of *verbs*."""
    hint = nearest(verb.lower(), verbs)
    rules = f"expected {', '.join(verbs)} and what it is about, or the name of a rule file"
    if verb != text.strip() or hint:
        return f"there is no rule {verb!r}{hint}; {rules}"
    return f"it is no rule and no rule file, which ends in .toml; {rules}"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the part of a message that says which of *known* the *name* may have meant.

    >>> nearest("conv2d", ["dense", "conv"]), nearest("x", ["dense"])
    (' (near it: conv)', '')
    """
    close = near(name, known, count=1)
    return f" (near it: {close[0]})" if close else ""


#: What is often written for something else: what it looks like, and what it should.
SLIPS = (
    (r"^(\S+)\s*(?:=>|-->|→|->)\s*(\S.*)$", r"\1 -> \2"),
    (r"^(\S+?)(?::|\s+)(?=\S)(?!->|as\s)(.*)$", r"\1: \2"),
    (r"( -> \S+?)\s+(?=(?:axis|sizes)\s)", r"\1: "),
    (r"(\sas\s+\w+)\s+(?=\w+\s+->)", r"\1: "),
    (r"(\d)\s+(-?\d+)$", r"\1:\2"),
    (r"^(\S+)\s+((?!->)\S+)$", r"\1 -> \2"),
)

#: How a form has the colon behind a pattern.
COLON = r":\s"

#: What a pattern or a name hardly is: it is the rest of a rule, behind a missing colon.
TAIL = re.compile(r"\S+?(?::|\s)\s*-?\d+(?:[\s,]+-?\d+)+|.*\s(?:axis|sizes)\s+-?\d.*", re.DOTALL)


def meant(form: str, rest: str) -> str:
    r"""Return what *rest*, to be of a *form*, was meant for, "" where it is well as it is.

    >>> meant(r"(?P<pattern>.+):\s(\d \d)", "w 1 0"), meant(r"(.+) -> (?P<new>.+)", "a => b")
    ('w: 1 0', 'a -> b')
    """
    words = re.fullmatch(form, rest, re.DOTALL)
    said = words.groupdict() if words else {}
    ends = [said.get("pattern") or "", said.get("new") or ""] if COLON in form else []
    if words and not any(map(TAIL.fullmatch, ends)):
        return ""
    for slip, right in SLIPS:
        other = re.sub(slip, right, rest, count=1)
        if other != rest and re.fullmatch(form, other, re.DOTALL):
            return other
    return ""
