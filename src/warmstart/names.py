"""Names of variables: the only place that cuts them, always at a separator; patterns over them.

A pattern is a glob on the whole name (`*` crosses separators), or a regex with fullmatch when it
begins with `re:` or is compiled.  Braces in a glob are what names are shown with, `{q,k}` and
`{0..11}`: each of what they list.  A name that equals the glob letter for letter matches too, so
that odd characters in a name need no escaping.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import translate
from itertools import islice
from typing import Any

from .braces import BRACES, CLASS, any_of, listed
from .errors import RuleError, described

Pattern = str | re.Pattern[str]

#: How many names are compared with a mistyped one: comparing takes some 10 microseconds each.
NEAR_LIMIT = 5_000

#: How deep names are taken apart when they are grouped; what lies deeper stays together.
MAX_PARTS = 40

#: How like a scope must be to the one that is asked for, from 0 to 1.
SCOPE_LIKENESS = 0.7

#: A part of a name: its stem, a number without leading zeros if it ends in one, its separator.
NUMBERED = re.compile(r"(.*?)((?<!\d)(?:0|[1-9]\d{0,17}))?([/.]?)", re.DOTALL | re.ASCII)


def inside(name: str, prefix: str, separator: str = "/") -> str | None:
    """Return *name* relative to *prefix*, or None when it lies elsewhere.

    >>> inside("resnet/conv/W", "resnet")
    'conv/W'
    >>> inside("resnet2/conv/W", "resnet") is None
    True
    """
    root = prefix + separator
    return name[len(root) :] if name.startswith(root) else None


def joined(prefix: str, name: str, separator: str = "/") -> str:
    """Return *name* under *prefix*; an empty prefix changes nothing, a final separator counts once.

    >>> joined("tower", "w"), joined("tower/", "w"), joined("", "w")
    ('tower/w', 'tower/w', 'w')
    """
    if not prefix:
        return name
    return prefix.removesuffix(separator) + separator + name


def rescoped(name: str, scope: str, old: str, new: str) -> str:
    """Return *name* under *scope*, and in it the separator *new* in place of *old*.

    >>> rescoped("attn.q.weight", "encoder/0", ".", "/"), rescoped("w", "", ".", "/")
    ('encoder/0/attn/q/weight', 'w')
    """
    below = without_output(name).replace(old, new)
    return f"{scope}{new}{below}" if scope and scope[-1] != new else scope + below


def printable(text: str) -> str:
    """Return *text* with escapes for what could move the cursor: names come from outside.

    >>> printable("w\\n")
    'w\\\\n'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def without_output(name: str) -> str:
    """Return a TensorFlow variable's name without the `:0` of its tensor.

    >>> without_output("w:0"), without_output("w:1"), without_output("w")
    ('w', 'w:1', 'w')
    """
    return name.removesuffix(":0")


def without_outputs(names: Iterable[str]) -> list[str]:
    """Return `without_output` of each of *names*."""
    return [name.removesuffix(":0") for name in names]


def parent(name: str, separator: str = "/") -> str:
    """Return the scope a name stands in, "" for a top-level one.

    >>> parent("fc/kernel"), parent("fc.weight", "."), parent("w")
    ('fc', 'fc', '')
    """
    return name.rpartition(separator)[0]


def parents(names: Iterable[str]) -> list[str]:
    """Return `parent` of each of *names*."""
    return [name.rpartition("/")[0] for name in names]


def scopes(name: str) -> Iterator[str]:
    """Yield the scopes *name* stands in, the innermost first; the top only if it is that.

    >>> list(scopes("a/bn/mean")), list(scopes("mean"))
    (['a/bn', 'a'], [''])
    """
    scope = parent(name)
    yield scope
    while scope := parent(scope):
        yield scope


def last(name: str, separator: str = "/") -> str:
    """Return the part of a name after its scope.

    >>> last("fc/kernel"), last("fc.weight", "."), last("w")
    ('kernel', 'weight', 'w')
    """
    return name.rpartition(separator)[2]


def first(name: str, separator: str = "/") -> str:
    """Return the outermost scope of a name, itself for a top-level one.

    >>> first("Adam/m/fc/kernel"), first("w")
    ('Adam', 'w')
    """
    return name.partition(separator)[0]


def parts(name: str, separator: str = "/") -> list[str]:
    """Return the scopes that a name stands in, the outermost first, and then its last part.

    >>> parts("block/fc/kernel"), parts("w")
    (['block', 'fc', 'kernel'], ['w'])
    """
    return name.split(separator)


def leaf_of(name: str) -> str:
    """Return the part of a name after its last separator, be it "/" or ".".

    >>> leaf_of("fc/kernel"), leaf_of("block.0/fc.weight"), leaf_of("w")
    ('kernel', 'weight', 'w')
    """
    return last(last(name), ".")


def dotted(name: str) -> str:
    """Return a name as it reads with dots for all separators.

    >>> dotted("block/0/fc.weight")
    'block.0.fc.weight'
    """
    return name.replace("/", ".")


def object_path(steps: Iterable[str]) -> str:
    """Return the names of parts on the way to an object as TensorFlow writes them in one.

    >>> object_path(["model", "a/b.c", "w"])
    'model/a.Sb..c/w'
    """
    return "/".join(step.replace(".", "..").replace("/", ".S") for step in steps)


def keras_slot(own_name: str, variable: str, place: str) -> str:
    """Return what an optimizer of Keras 3 calls a slot of *variable*: "momentum".

    The slot's own name is that of the variable with "_" for "/" and ":", then that of the slot;
    failing that, it is called as the list in which it is kept, *place*.

    >>> keras_slot("adam/fc_kernel_momentum", "fc/kernel", "_momentums")
    'momentum'
    >>> keras_slot("adam/w_0_velocity", "w:0", "_velocities"), keras_slot("adafactor/w", "w", "_r")
    ('velocity', 'r')
    """
    start = without_output(variable).replace("/", "_").replace(":", "_")
    own = last(own_name)
    for ending in ("_0_", "_"):  # of a tf.Variable, whose name ends in ":0", and of a Keras one
        if own.startswith(start + ending):
            return own.removeprefix(start + ending)
    return place.strip("_")


def matcher(pattern: Pattern) -> Callable[[str], bool]:
    """Return the test that *pattern* stands for.

    >>> matcher("fc/*")("fc/kernel"), matcher("fc/*")("fc2/kernel"), matcher("re:fc[12]")("fc2")
    (True, False, True)
    """
    if isinstance(pattern, re.Pattern):
        return lambda name: pattern.fullmatch(name) is not None
    if pattern.startswith("re:"):
        return matcher(compiled(pattern[3:]))
    glob = re.compile(glob_regex(pattern))
    return lambda name: name == pattern or glob.match(name) is not None


def glob_regex(pattern: str) -> str:
    """Return the regex that a whole name must match to match the glob *pattern*."""
    pieces = re.split(rf"({CLASS}|{BRACES})", pattern)
    if not any(piece.startswith("{") for piece in pieces[1::2]):
        return translate(pattern)
    parts = [any_of(p) if p.startswith("{") else translated(p) for p in pieces]
    return rf"(?s:{''.join(parts)})\Z"


def translated(glob: str) -> str:
    """Return the regex for *glob*, a piece of a pattern without braces, to go on after."""
    return translate(glob).removeprefix("(?s:")[:-3]  # it ends in `)\\Z`


def is_name(pattern: Pattern) -> bool:
    """Return whether *pattern* matches nothing but the name it is.

    >>> is_name("fc/kernel"), is_name("fc/*"), is_name("re:fc"), is_name("{q,k}")
    (True, False, False, False)
    """
    return isinstance(pattern, str) and not re.search(rf"[*?\[]|^re:|{BRACES}", pattern)


def compiled(regex: str | re.Pattern[str]) -> re.Pattern[str]:
    """Return *regex* compiled, or a RuleError that says where it is wrong."""
    try:
        return re.compile(regex)
    except re.error as error:
        raise RuleError(f"the regex {regex!r} cannot be read: {error}") from error


def selected(names: Iterable[str], patterns: Pattern | Iterable[Pattern]) -> list[str]:
    """Return the *names* that match any of *patterns*, in their own order."""
    tests = [matcher(p) for p in as_patterns(patterns)]
    return [name for name in names if any(test(name) for test in tests)]


def idle(names: Iterable[str], patterns: Pattern | Iterable[Pattern]) -> list[Pattern]:
    """Return the *patterns* that match none of *names*: nearly always typing mistakes."""
    names = list(names)
    return [p for p in as_patterns(patterns) if not any(map(matcher(p), names))]


def as_patterns(patterns: Pattern | Iterable[Pattern]) -> Sequence[Pattern]:
    """Return one pattern or several as a sequence; TypeError for anything else."""
    if isinstance(patterns, str | re.Pattern):
        return [patterns]
    try:
        found: list[Any] = list(patterns)
    except TypeError:  # as a tensor without axes says, too
        found = [patterns]
    wrong = [each for each in found if not isinstance(each, str | re.Pattern)]
    if wrong:
        given = wrong if isinstance(patterns, list | tuple | set | frozenset) else [patterns]
        raise TypeError(
            "a pattern is a string or a compiled regex, or a list of these; not "
            + ", ".join(dict.fromkeys(map(described, given)))
        )
    return found


def words(name: str) -> tuple[str, ...]:
    """Return the words and the numbers in *name*, in lower case, without what stands between them.

    >>> words("Encoder.layer12/attn_q")
    ('encoder', 'layer', '12', 'attn', 'q')
    """
    return tuple(re.findall(r"[^\W\d_]+|\d+", name.lower()))


def numbered(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the text of *name* before, between and after its numbers, and the numbers.

    >>> numbered("layer_3/conv1/w"), numbered("w")
    ((('layer_', '/conv', '/w'), ('3', '1')), (('w',), ()))
    """
    pieces = re.split(r"(\d+)", name)
    return tuple(pieces[::2]), tuple(pieces[1::2])


def grouped(names: Iterable[str]) -> list[str]:
    """Return *names* with what differs in one place only written in braces.

    >>> grouped(["b0/q", "b0/k", "b1/q", "b1/k", "b2/q", "b2/k", "fc.w"])
    ['b{0..2}/{k,q}', 'fc.w']
    """
    tree: dict[str, Any] = {}
    for name in names:
        node = tree
        for part in re.split(r"(?<=[/.])", name, maxsplit=MAX_PARTS):
            node = node.setdefault(part, {})
        node[""] = {}  # a name ends here, though others may go on
    return endings(tree)


def endings(tree: dict[str, Any]) -> list[str]:
    """Return what can follow at a node of a tree of names, like children written as one."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for part, below in tree.items():
        alike.setdefault(tuple(endings(below)) if below else ("",), []).append(part)
    result = []
    for follow, parts in alike.items():
        result += [start + end for start in braced(parts) for end in follow]
    return result


def braced(parts: Iterable[str]) -> list[str]:
    """Return *parts* of names, each with its separator, as few as braces allow.

    >>> braced(["b0/", "b1/", "b3/", "fc/", "w"])
    ['b{0..1,3}/', 'fc/', 'w']
    """
    stems: dict[tuple[str, str, bool], list[str]] = {}
    for part in parts:
        stem, number, end = NUMBERED.fullmatch(part).groups()  # type: ignore[union-attr]
        key = (stem, end, True) if number else ("", end, False)
        stems.setdefault(key, []).append(number or stem)
    result = []
    for (stem, end, numbered), inner in stems.items():
        ranges = runs(inner) if numbered else sorted(inner)
        result.append(stem + (f"{{{','.join(ranges)}}}" if len(inner) > 1 else inner[0]) + end)
    return result


def runs(numbers: Iterable[str]) -> list[str]:
    """Return *numbers* in order, consecutive ones as a range.

    >>> runs(["3", "1", "2", "7"])
    ['1..3', '7']
    """
    values = sorted(map(int, numbers))
    starts = [n for i, n in enumerate(values) if i == 0 or values[i - 1] != n - 1]
    ends = [n for i, n in enumerate(values) if i + 1 == len(values) or values[i + 1] != n + 1]
    return [str(a) if a == b else f"{a}..{b}" for a, b in zip(starts, ends, strict=True)]


def near(wanted: str, names: Iterable[str], *, count: int = 3) -> list[str]:
    """Return up to *count* of *names* that *wanted*, a name or a pattern, may have been meant for.

    >>> near("fc/kernal", ["fc/kernel", "conv/kernel", "step"], count=1)
    ['fc/kernel']
    >>> near("encodr/*", ["encoder/w", "step"]), near("kernel", ["enc/layer0/attention/kernel"])
    (['encoder/w'], ['enc/layer0/attention/kernel'])
    """
    from difflib import get_close_matches

    braced = re.sub(BRACES, lambda found: listed(found[0])[0], wanted)
    plain = re.sub(r"^re:|[*?()\\[\]^$|]|\.[*+]", "", braced)
    candidates = list(islice(names, NEAR_LIMIT))
    found = get_close_matches(plain, candidates, n=count, cutoff=0.6)
    if found or not plain:
        return found
    heads = {name[: len(plain)]: name for name in reversed(candidates)}
    found = [heads[head] for head in get_close_matches(plain, heads, n=count, cutoff=0.7)]
    inner = [name for name in candidates if plain in name] if len(plain) > 2 else []
    return found or inner[:count]


def meant(pattern: str, names: Iterable[str], *, count: int = 3) -> list[str]:
    """Return up to *count* patterns or names that *pattern*, which matches none, may have been.

    >>> meant("stm/*", ["stem/w", "stem/b"]), meant("stem", ["stem.w"]), meant("fc.w", ["fc.v"])
    (['stem/*'], ['stem.*'], ['fc.v'])
    """
    from difflib import get_close_matches

    candidates = list(islice(names, NEAR_LIMIT))
    if pattern.startswith("re:"):
        return near(pattern, candidates, count=count)
    known = list(dict.fromkeys(scope for name in candidates for scope in openings(name)))
    head, star, tail = pattern.partition("*")
    if not star:
        own = [f"{scope}*" for scope in known if scope[:-1] == pattern.rstrip("/.")]
        return own or near(pattern, candidates, count=count)
    close = get_close_matches(head, known, n=count, cutoff=SCOPE_LIKENESS) if head else []
    globs = [scope + star + tail for scope in close]
    found = [glob for glob in globs if any(map(matcher(glob), candidates))]
    return found or near(pattern, candidates, count=count)


def openings(name: str) -> Iterator[str]:
    """Yield the scopes that *name* stands in with their last separator, the outermost first.

    >>> list(openings("block/0.w"))
    ['block/', 'block/0.']
    """
    for cut in re.finditer(r"[/.]", name):
        yield name[: cut.end()]
