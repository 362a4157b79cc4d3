"""Rules as they are written: one grammar for Python, the command line and rule files.

    drop PATTERN                                   keep PATTERN
    rename OLD -> NEW                              scope OLD -> NEW
    transpose PATTERN: 1 0                         reshape PATTERN: 3 4 -1
    cast PATTERN: bfloat16                         flip PATTERN: 0 1
    slice PATTERN: axis 0 10:20                    pad PATTERN: axis 0 0:10 with 0
    concatenate A, B, C -> NEW: axis 0             split OLD -> A, B, C: axis 0 sizes 3 4 5
    stack OLD.#.w -> NEW: axis 0                   unstack OLD -> NEW.#.w: axis 0
    vocab PATTERN: OLD_FILE -> NEW_FILE axis 0 buckets 2
    fit PATTERN: error | skip | pad | slice | interpolate [cubic] [grid N]
    carry PATTERN as KIND: torch -> keras          layout keras

A pattern is a glob on the whole name, or a regex after `re:`.  The first wildcard of a new name
takes what the first of the old one stood for, and so on.  Neighbouring `keep` rules keep what
either names.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from ..errors import RuleError
from ..names import without_output
from . import verbs
from .layouts.rules import carry, layout
from .rule_files import Place, is_file, lines_in
from .rule_kinds import Function, Keep, Rule, Table, as_names
from .slips import meant, unknown

Words = re.Match[str]

#: Pieces of the forms below.  What comes before the colon holds no other colon with a space.
PATTERN = r"(?P<pattern>(?:(?!:\s).)+?)"
ARROW = r"(?P<old>(?:(?!\s->\s|:\s).)+?)\s+->\s+(?P<new>(?:(?!:\s).)+?)"
AXIS = r"(?:axis\s+(?P<axis>-?\d+)\s*)"
NUMBERS = r"(?P<numbers>-?\d+(?:[\s,]+-?\d+)*)"
SIDES = r"(?P<begin>-?\d*):(?P<end>-?\d*)"
FILL = r"(?:\s+with\s+(?P<fill>\S+))?"
FILES = (
    r"(?P<old>.+?)\s+->\s+(?P<new>.+?)"
    r"(?:\s+axis\s+(?P<axis>-?\d+))?(?:\s+buckets\s+(?P<buckets>\d+))?"
)
CARRIED = r"(?P<kind>\w+):\s+(?P<source>\w+)\s+->\s+(?P<target>\w+)(?P<said>(?:\s+\w+\s+\d+)*)"
POLICY = r"(?P<policy>\w+)(?P<cubic>\s+cubic)?(?:\s+grid\s+(?P<grid>\d+))?"


def numbers(words: Words) -> tuple[int, ...]:
    """Return the numbers that are written."""
    return tuple(map(int, re.findall(r"-?\d+", words["numbers"] or "")))


def axis(words: Words) -> int:
    """Return the axis that is written, or the first."""
    return int(words["axis"] or 0)


def side(text: str) -> int | None:
    """Return one side of `10:20`, None where nothing is written."""
    return int(text) if text else None


def fill(words: Words) -> float:
    """Return the number to fill with."""
    try:
        return float(words["fill"] or 0)
    except ValueError as error:
        raise RuleError(f"pad fills with a number, not {words['fill']!r}") from error


def options(words: Words) -> dict[str, int]:
    """Return the options that are written: "heads 8"."""
    return {name: int(number) for name, number in re.findall(r"(\w+)\s+(\d+)", words["said"])}


def listed(text: str) -> list[str]:
    """Return names with commas between them; those in braces are none.

    >>> listed("a.{q,k}, b")
    ['a.{q,k}', 'b']
    """
    return [name.strip() for name in re.split(r",(?![^{}]*\})", text)]


#: verb -> its form in words, its form after the verb, and what makes the rule.
VERBS: dict[str, tuple[str, str, Callable[[Words], Rule]]] = {
    "drop": ("drop PATTERN", "(?P<pattern>.+)", lambda w: verbs.drop(w["pattern"])),
    "keep": ("keep PATTERN", "(?P<pattern>.+)", lambda w: verbs.keep(w["pattern"])),
    "rename": (
        "rename OLD -> NEW", r"(?P<old>.+?)\s+->\s+(?P<new>.+)",
        lambda w: verbs.rename_glob(w["old"], w["new"]),
    ),
    "scope": (
        "scope OLD -> NEW", r"(?P<old>.+?)\s+->\s+(?P<new>.+)",
        lambda w: verbs.scope(w["old"], w["new"]),
    ),
    "transpose": (
        "transpose PATTERN: 1 0", f"{PATTERN}(?::\\s+{NUMBERS})?",
        lambda w: verbs.transpose(w["pattern"], *numbers(w)),
    ),
    "reshape": (
        "reshape PATTERN: 3 4 -1", f"{PATTERN}:\\s+{NUMBERS}",
        lambda w: verbs.reshape(w["pattern"], *numbers(w)),
    ),
    "cast": (
        "cast PATTERN: bfloat16", rf"{PATTERN}:\s+(?P<dtype>\w+)",
        lambda w: verbs.cast(w["pattern"], w["dtype"]),
    ),
    "flip": (
        "flip PATTERN: 0 1", f"{PATTERN}:\\s+{NUMBERS}",
        lambda w: verbs.flip(w["pattern"], *numbers(w)),
    ),
    "slice": (
        "slice PATTERN: axis 0 10:20", f"{PATTERN}:\\s+{AXIS}?{SIDES}",
        lambda w: verbs.slice_axis(
            w["pattern"], side(w["begin"]), side(w["end"]), axis=axis(w)
        ),
    ),
    "pad": (
        "pad PATTERN: axis 0 0:10 with 0", f"{PATTERN}:\\s+{AXIS}?{SIDES}{FILL}",
        lambda w: verbs.pad(
            w["pattern"], side(w["begin"]) or 0, side(w["end"]) or 0, axis=axis(w), fill=fill(w)
        ),
    ),
    "concatenate": (
        "concatenate A, B -> NEW: axis 0", f"{ARROW}(?::\\s+{AXIS})?",
        lambda w: verbs.concatenate(listed(w["old"]), w["new"], axis=axis(w)),
    ),
    "split": (
        "split OLD -> A, B: axis 0 sizes 3 4", rf"{ARROW}(?::\s+{AXIS}?(?:sizes\s+{NUMBERS})?)?",
        lambda w: verbs.split(w["old"], listed(w["new"]), axis=axis(w), sizes=numbers(w)),
    ),
    "stack": (
        "stack OLD.#.w -> NEW: axis 0", f"{ARROW}(?::\\s+{AXIS})?",
        lambda w: verbs.stack(w["old"], w["new"], axis=axis(w)),
    ),
    "unstack": (
        "unstack OLD -> NEW.#.w: axis 0", f"{ARROW}(?::\\s+{AXIS})?",
        lambda w: verbs.unstack(w["old"], w["new"], axis=axis(w)),
    ),
    "vocab": (
        "vocab PATTERN: OLD_FILE -> NEW_FILE [axis 0] [buckets 2]", f"{PATTERN}:\\s+{FILES}",
        lambda w: verbs.vocab(
            w["pattern"], w["old"], w["new"], axis=axis(w), buckets=int(w["buckets"] or 0)
        ),
    ),
    "fit": (
        "fit PATTERN: error, skip, pad, slice or interpolate [cubic] [grid N]",
        f"{PATTERN}:\\s+{POLICY}",
        lambda w: verbs.fit(
            w["pattern"], w["policy"], cubic=bool(w["cubic"]),
            grid=None if w["grid"] is None else int(w["grid"]),
        ),
    ),
    "carry": (
        "carry PATTERN as KIND: torch -> keras [OPTION N]", rf"(?P<pattern>.+?)\s+as\s+{CARRIED}",
        lambda w: carry(w["pattern"], w["kind"], w["source"], w["target"], **options(w)),
    ),
    "layout": ("layout keras", r"(?P<layout>\w+)", lambda w: layout(w["layout"])),
}  # fmt: skip


def parse(rules: Any) -> tuple[Rule, ...]:
    """Return rules in any of the forms they may be written in, one or an iterable of them."""
    several = isinstance(rules, Iterable) and not isinstance(rules, str | Mapping | os.PathLike)
    return united([rule for item in (rules if several else [rules]) for rule in parse_one(item)])


def parse_one(item: Any) -> Sequence[Rule]:
    """Return the rules that an item of a list stands for: one, or those of a file."""
    if isinstance(item, Rule):
        return [item]
    if isinstance(item, os.PathLike) or (isinstance(item, str) and is_file(item, VERBS)):
        return [parse_line(line, place) for place, line in lines_in(item)]
    if isinstance(item, str | Mapping):
        return [parse_line(item)]
    if callable(item):
        return [Function(item)]
    raise TypeError(
        "a rule is a string, a mapping, a function, the path of a rule file or the result of "
        f"ws.rename and its like, not a {type(item).__name__}"
    )


def parse_line(line: str | Mapping[str, Any], place: Place | None = None) -> Rule:
    """Return the rule that a string or a mapping writes down; an error begins with its *place*."""
    try:
        if isinstance(line, Mapping):
            return as_table(line)
        return parse_text(line if place is None else from_folder(line, place.file.parent))
    except RuleError as error:
        raise RuleError(str(error) if place is None else f"{place}: {error}") from error


def from_folder(text: str, folder: Path) -> str:
    """Return a rule, *text* as it stands in a file in *folder*, with paths as they are from here.

    >>> from_folder("vocab emb: a.txt -> /b.txt axis 1", Path("models"))
    'vocab emb: models/a.txt -> /b.txt axis 1'
    """
    return with_paths(text, lambda path: os.fspath(folder / Path(path).expanduser()))


def for_folder(text: str, folder: Path) -> str:
    """Return the rule *text*, written here, as a file in *folder* has it.

    >>> for_folder("vocab emb: a.txt -> b.txt", Path("models"))
    'vocab emb: ../a.txt -> ../b.txt'
    """
    return with_paths(
        text, lambda path: Path(os.path.relpath(Path(path).expanduser(), folder)).as_posix()
    )


def with_paths(text: str, change: Callable[[str], str]) -> str:
    """Return the rule *text* with *change* done to the paths in it, if it has any."""
    verb, _, rest = text.strip().partition(" ")
    words = re.fullmatch(VERBS["vocab"][1], rest.strip(), re.DOTALL) if verb == "vocab" else None
    if words is None:
        return text
    body = words.string
    old, new = change(words["old"]), change(words["new"])
    between, end = body[words.end("old") : words.start("new")], body[words.end("new") :]
    return f"{verb} {body[: words.start('old')]}{old}{between}{new}{end}"


def as_table(names: Mapping[str, Any]) -> Rule:
    """Return the rule that a mapping of names stands for."""
    wrong = [repr(old) for old in names if not isinstance(old, str)]
    if wrong:
        raise RuleError(f"a mapping is of names, which are strings; found {', '.join(wrong)}")
    return Table({without_output(old): as_names(new, old) for old, new in names.items()})


def parse_text(text: str) -> Rule:
    """Return the rule that a string writes down."""
    verb, _, rest = text.strip().partition(" ")
    if verb not in VERBS:
        raise RuleError(f"the rule {text!r} cannot be read: {unknown(text, verb, VERBS)}")
    usage, form, make = VERBS[verb]
    words = re.fullmatch(form, rest.strip(), re.DOTALL)
    slip = meant(form, rest.strip())
    if words is None or slip:
        hint = f"; perhaps {f'{verb} {slip}'!r}" if slip else ""
        raise RuleError(f"the rule {text!r} cannot be read; expected {usage!r}{hint}")
    return make(words)


def united(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """Return *rules* with neighbouring `keep` rules made one."""
    result: list[Rule] = []
    for is_keep, run in groupby(rules, lambda rule: isinstance(rule, Keep)):
        if is_keep:
            result.append(Keep(tuple(p for rule in run for p in rule.patterns)))  # type: ignore[attr-defined]
        else:
            result += run
    return tuple(result)
