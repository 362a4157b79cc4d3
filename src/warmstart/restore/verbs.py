"""The rules as functions: `ws.rename(...)` and its like return what a line of text stands for.

Axes count from 0, or from the end when negative.  A pattern is a glob, a regex after `re:`, or a
compiled one.
"""

import re
from collections.abc import Callable, Iterable, Sequence

from ..errors import RuleError
from ..names import Pattern, compiled
from ..spec import ITEMSIZES
from .arguments import are_all_whole, are_lists, are_numbers, are_patterns, are_texts, are_whole
from .globs import NewName, expansion, read, read_new, swapped
from .patterns import Probe, expander, glob_probe, probe_of
from .recipe import Step
from .remap import Remap
from .rule_kinds import Drop, Keep, Rename, Rule, Scope, Written
from .several import Concatenation, Splitting, Stacking, Unstacking
from .slips import nearest
from .steps import Cast, Flip, Pad, Reshape, Slice, Transpose
from .value_rules import POLICIES, Fit, Transform
from .vocab import (
    PATHS,
    Vocabulary,
    called,
    is_another_order,
    places_between,
    refuse_small,
)


def rename(pattern: str | re.Pattern[str], replacement: str) -> Rule:
    r"""Return the rule that renames what the regex *pattern* matches in full.

    *replacement* may refer to groups, as in `re.sub`: `rename(r"layer(\d+)/w", r"block\1/kernel")`.
    """
    are_patterns("rename", pattern=pattern)
    are_texts("rename", replacement=replacement)
    probe = probe_of(compiled(pattern))
    text = f"rename {probe.pattern} -> {replacement}"
    try:
        probe.regex.sub(replacement, "")  # the new name is read before anything is matched
    except (re.error, IndexError) as error:
        raise RuleError(f"the new name in {text!r} cannot be read: {error}") from error
    line = Written(text, lost=LOST_NAME)
    return Rename(probe, expander(probe.regex, replacement), line)


def rename_glob(old: str, new: str) -> Rule:
    """Return the rename from a glob, or after `re:` a regex, to *new*, as a line of text has it."""
    if old.startswith("re:"):
        return rename(old[3:], new)
    text = f"rename {old} -> {new}"
    name = named(new, len(read(old).wildcards), text)
    line = Written(text, way_back("rename", old, new), LOST_NAME)
    return Rename(probe_of(old), of_match(name), line)


def drop(*patterns: Pattern) -> Rule:
    """Return the rule that leaves out every tensor whose name any of *patterns* matches."""
    return Drop(probes(patterns, "drop"))


def keep(*patterns: Pattern) -> Rule:
    """Return the rule that leaves out every tensor whose name none of *patterns* matches."""
    return Keep(probes(patterns, "keep"))


def scope(old: str, new: str) -> Rule:
    """Return the rule that puts all under the scope *old* under the scope *new*.

    Below, the separators become those of *new*: `scope("encoder.layers.*", "encoder/block*")` makes
    `encoder/block0/attn/w` of `encoder.layers.0.attn.w`.  A `*` stands for one part of a name; a
    separator at the end says which one is meant, and alone it means all names.
    """
    are_texts("scope", old=old, new=new)
    text = f"scope {old} -> {new}"
    (inner, before), (outer, behind) = ended(old), ended(new)
    between = re.escape(before) if inner and before else "[/.]" if inner else ""
    glob = read(inner)
    regex = re.compile(f"{glob.regex('[^/.]*').pattern}({between})(.*)", re.DOTALL)
    name = named(outer, len(glob.wildcards), text)
    probe = glob_probe(old, glob, regex)
    back = way_back("scope", f"{inner}{before}", f"{outer}{behind}") if before and behind else ""
    return Scope(probe, name, (before, behind), Written(text, back, LOST_NAME))


def transpose(pattern: Pattern, *axes: int) -> Rule:
    """Return the rule that puts axes into another order: axis i of the result is `axes[i]`.

    Without *axes* their order is reversed.
    """
    are_patterns("transpose", pattern=pattern)
    are_all_whole("transpose", "an axis", axes)
    step = Transpose(axes)
    order = [axis % len(axes) for axis in axes]
    back = [order.index(axis) for axis in range(len(axes))] if len(set(order)) == len(axes) else []
    return transformed(pattern, "transpose", spaced(axes), step, spaced(back) if axes else "")


def reshape(pattern: Pattern, *shape: int) -> Rule:
    """Return the rule that gives the same values in the same order another shape.

    One side may be -1: what the others leave.
    """
    are_patterns("reshape", pattern=pattern)
    are_all_whole("reshape", "a size", shape)
    if not all(side >= -1 for side in shape) or shape.count(-1) > 1:
        raise RuleError(f"reshape takes sizes, of which one may be -1; not {spaced(shape)}")
    return transformed(pattern, "reshape", spaced(shape), Reshape(shape))


def cast(pattern: Pattern, dtype: str) -> Rule:
    """Return the rule that gives values another dtype; what rounding loses is lost.

    A pattern with wildcards casts only what is of the same kind: floats to floats, integers to
    integers.
    """
    are_patterns("cast", pattern=pattern)
    are_texts("cast", dtype=dtype)
    if dtype not in ITEMSIZES or dtype == "string":
        known = ", ".join(name for name in ITEMSIZES if name != "string")
        hint = nearest(dtype, ITEMSIZES)
        raise RuleError(f"cast takes a dtype of numbers, not {dtype!r}{hint}; known: {known}")
    return transformed(pattern, "cast", dtype, Cast(dtype))


def slice_axis(
    pattern: Pattern, begin: int | None = None, end: int | None = None, *, axis: int = 0
) -> Rule:
    """Return the rule that keeps *begin* to *end* (half-open) along an axis, as a slice has it."""
    are_patterns("slice_axis", pattern=pattern)
    are_whole("slice_axis", begin=begin or 0, end=end or 0, axis=axis)
    sides = ":".join("" if side is None else str(side) for side in (begin, end))
    return transformed(pattern, "slice", f"axis {axis} {sides}", Slice(axis, begin, end))


def pad(pattern: Pattern, before: int, after: int, *, axis: int = 0, fill: float = 0) -> Rule:
    """Return the rule that adds places before and after along an axis, filled with *fill*."""
    are_patterns("pad", pattern=pattern)
    are_whole("pad", before=before, after=after, axis=axis)
    are_numbers("pad", fill=fill)
    if min(before, after) < 0:
        raise RuleError(f"pad adds places and takes none away; found {before}:{after}")
    probe, step = probe_of(pattern), Pad(axis, before, after, fill)
    text = f"pad {probe.pattern}: axis {axis} {before}:{after} with {fill:g}"
    end = -after if after else ""
    back = f"slice {probe.pattern}: axis {axis} {before}:{end}"
    return Transform(probe, step, Written(text, back, LOST_VALUES))


def flip(pattern: Pattern, *axes: int) -> Rule:
    """Return the rule that turns the order along *axes* around."""
    are_patterns("flip", pattern=pattern)
    are_all_whole("flip", "an axis", axes)
    if not axes:
        raise RuleError("flip needs at least one axis")
    return transformed(pattern, "flip", spaced(axes), Flip(axes), spaced(axes))


def concatenate(inputs: Sequence[str], new: str, *, axis: int = 0) -> Rule:
    """Return the rule that puts tensors behind each other along an axis, under the name *new*.

    *inputs* are globs with equally many wildcards, which stand for the same in each.
    """
    are_lists("concatenate", inputs=inputs)
    are_texts("concatenate", new=new)
    are_whole("concatenate", axis=axis)
    text = f"concatenate {', '.join(inputs)} -> {new}: axis {axis}"
    counts = {len(read(pattern).wildcards) for pattern in inputs}
    if len(counts) != 1 or len(inputs) < 2:
        raise RuleError(f"{text!r} needs two patterns or more, with equally many wildcards")
    name = named(new, counts.pop(), text)
    line = Written(text, lost="the sizes of its inputs are not known")
    return Concatenation(tuple(map(probe_of_glob, inputs)), name, axis, line)


def split(old: str, new: Sequence[str], *, axis: int = 0, sizes: Sequence[int] = ()) -> Rule:
    """Return the rule that cuts tensors along an axis, into equal parts or parts of *sizes*."""
    are_texts("split", old=old)
    are_lists("split", new=new)
    are_whole("split", axis=axis)
    are_all_whole("split", "a size", sizes)
    given = f" sizes {spaced(sizes)}" if sizes else ""
    text = f"split {old} -> {', '.join(new)}: axis {axis}{given}"
    if len(new) < 2 or (sizes and len(sizes) != len(new)) or min(sizes, default=1) < 0:
        raise RuleError(f"{text!r} needs two names or more, and if sizes are given as many of them")
    names = tuple(named(part, len(read(old).wildcards), text) for part in new)
    ways = [swapped(old, part) for part in new]
    back = ""
    if all(ways):
        inputs = ", ".join(way[0] for way in ways if way)
        back = f"concatenate {inputs} -> {ways[0][1] if ways[0] else ''}: axis {axis}"
    line = Written(text, back, LOST_NAME)
    return Splitting((probe_of_glob(old),), names, axis, tuple(sizes), line)


def stack(old: str, new: str, *, axis: int = 0) -> Rule:
    """Return the rule that puts tensors behind each other on a new axis: those a `#` counts from 0.

    `stack("layers.#.w", "layers.w")` is for models that scan over their layers.
    """
    are_texts("stack", old=old, new=new)
    are_whole("stack", axis=axis)
    text = f"stack {old} -> {new}: axis {axis}"
    glob = read(old, numbered=True)
    place = counter(glob.wildcards, text)
    name = named(new, len(glob.wildcards) - 1, text)
    probe = glob_probe(old, glob)
    back = way_back("unstack", old, new, f": axis {axis}", numbered=True)
    return Stacking((probe,), place, name, axis, Written(text, back, LOST_NAME))


def unstack(old: str, new: str, *, axis: int = 0) -> Rule:
    """Return the rule that takes tensors apart along an axis; a `#` in *new* is the place there."""
    are_texts("unstack", old=old, new=new)
    are_whole("unstack", axis=axis)
    text = f"unstack {old} -> {new}: axis {axis}"
    place = counter(read_new(new, numbered=True).wildcards, text)
    name = named(new, len(read(old).wildcards) + 1, text, numbered=True)
    back = way_back("stack", old, new, f": axis {axis}", numbered=True)
    return Unstacking((probe_of(old),), place, name, axis, Written(text, back, LOST_NAME))


def fit(pattern: Pattern, policy: str, *, cubic: bool = False, grid: int | None = None) -> Rule:
    """Return the rule on variables of the model whose shape is not the checkpoint's.

    error        what happens without a rule
    skip         the variable keeps its initial value
    pad          the checkpoint's values come first; behind them the variable keeps its own
    slice        the first of the checkpoint's values are taken
    interpolate  linear or *cubic*, between the centres of places; with *grid* the places behind the
                 first *grid* ones are a square grid
    """
    are_patterns("fit", pattern=pattern)
    are_texts("fit", policy=policy)
    are_whole("fit", grid=grid or 0)
    probe = probe_of(pattern)
    more = (" cubic" if cubic else "") + ("" if grid is None else f" grid {grid}")
    text = f"fit {probe.pattern}: {policy}{more}"
    if policy not in POLICIES:
        raise RuleError(f"{text!r}: expected one of {', '.join(POLICIES)}")
    if (more and policy != "interpolate") or (grid or 0) < 0:
        raise RuleError(f"{text!r}: only interpolate takes cubic and grid, which is 0 or more")
    lost = "what a model's shape asks for is no property of the checkpoint"
    return Fit(probe, policy, Written(text, lost=lost), cubic, grid)


def vocab(
    pattern: Pattern, old: Vocabulary, new: Vocabulary, *, axis: int = 0, buckets: int = 0
) -> Rule:
    """Return the rule that carries rows over by their words, from one vocabulary to another.

    *old* and *new* are files with a word a line, read now, or lists of words.  Rows of words that
    the old one lacks, and of *buckets* at the end for words in neither, are zeros; `VocabInfo` has
    other ways.
    """
    are_patterns("vocab", pattern=pattern)
    are_whole("vocab", axis=axis)
    refuse_small("buckets", buckets, 0)
    places = places_between(old, new, axis, buckets)
    probe, step = probe_of(pattern), Remap((places,))
    more = f" axis {axis}" + (f" buckets {buckets}" if buckets else "")
    text = f"vocab {probe.pattern}: {called(old)} -> {called(new)}{more}"
    back = f"vocab {probe.pattern}: {called(new)} -> {called(old)} axis {axis}"
    files = isinstance(old, PATHS) and isinstance(new, PATHS)
    known = files and is_another_order(places, old)
    return Transform(probe, step, Written(text, back if known else "", LOST_VALUES))


#: Why some renames have no way back.
LOST_NAME = "the old name cannot be told from the new one"

#: Why some changes of values have none.
LOST_VALUES = "what it was before is not known, or lost"


def probes(patterns: Iterable[Pattern], verb: str) -> tuple[Probe, ...]:
    """Return *patterns* ready to be tried; raise for none at all and for other things."""
    patterns = tuple(patterns)
    if not patterns:
        raise RuleError(f"{verb} needs at least one pattern")
    wrong = [p for p in patterns if not isinstance(p, str | re.Pattern)]
    if wrong:
        raise TypeError(f"{verb} takes patterns one by one, {verb}('a/*', 'b/*'), not {wrong[0]!r}")
    return tuple(map(probe_of, patterns))


def transformed(pattern: Pattern, verb: str, said: str, step: Step, back: str = "") -> Rule:
    """Return the rule to do *step*, *said* in words; *back* says so of the same verb's inverse."""
    probe = probe_of(pattern)
    line = f"{verb} {probe.pattern}"
    reverse = f"{line}: {back}" if back else line if not said and verb == "transpose" else ""
    text = f"{line}: {said}" if said else line
    return Transform(probe, step, Written(text, reverse, LOST_VALUES))


def named(new: str, n_wildcards: int, text: str, *, numbered: bool = False) -> NewName:
    """Return what makes names of *new*; an error names the rule, *text*."""
    try:
        return expansion(new, n_wildcards, numbered=numbered)
    except RuleError as error:
        raise RuleError(f"the rule {text!r} {error}") from error


def of_match(name: NewName) -> Callable[[re.Match[str]], str]:
    """Return *name* as what is made of a match of a glob."""
    return lambda match: name(match.groups())


def way_back(verb: str, old: str, new: str, more: str = "", *, numbered: bool = False) -> str:
    """Return the line that takes a rule from *old* to *new* back, "" where there is none."""
    way = swapped(old, new, numbered=numbered)
    return f"{verb} {way[0]} -> {way[1]}{more}" if way else ""


def probe_of_glob(pattern: str) -> Probe:
    """Return *pattern*, a glob, ready to be tried; raise for a regex."""
    if pattern.startswith("re:"):
        raise RuleError(f"{pattern!r} is a regex; this rule takes globs, whose wildcards it counts")
    return probe_of(pattern)


def counter(wildcards: Sequence[str], text: str) -> int:
    """Return which of *wildcards* is the `#`; raise unless there is exactly one."""
    if wildcards.count("#") != 1:
        raise RuleError(f"the rule {text!r} needs one #, which counts from 0")
    return wildcards.index("#")


def ended(scope: str) -> tuple[str, str]:
    """Return a scope without a separator at its end, and the separator it has, "" if unknown.

    >>> ended("enc."), ended("a/b"), ended("enc"), ended("/")
    (('enc', '.'), ('a/b', '/'), ('enc', ''), ('', '/'))
    """
    if scope.endswith(("/", ".")):
        return scope[:-1], scope[-1]
    return scope, "/" if "/" in scope else "." if "." in scope else ""


def spaced(numbers: Iterable[int]) -> str:
    """Return *numbers* as a rule has them: "1 0"."""
    return " ".join(map(str, numbers))
