"""Patterns over many names: what is skipped without a look could not have matched."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmstart.restore.patterns import Names, expander, probe_of

NAMES = st.lists(st.text("ab0:/.", max_size=7), max_size=12)
GLOBS = st.text("ab0:/.*?", min_size=1, max_size=6)
REGEXES = st.sampled_from(
    [
        r"a.*",
        r"(a|b)0",
        r"(ab)?0",
        r"(ab)+/",
        r"a+b*",
        r"\.a",
        r"a\.b",
        r"[ab]0",
        r"a{2}b",
        r"a$",
        r"(?:a0)/(?P<x>b)",
        r"(?i)A.*",
        r"\x61b",
        r"a\d",
        r"(a)\1",
        r"(a(b0)?)/b",
        r".*/b:0",
        r"w?:0",
        r"(?!a).*",
        r"\Aab",
        r"a[]b]",
        r"(a0)*b",
        r"a(?=b)b.*",
    ]
)


def brute(regex, names):
    return [i for i, n in enumerate(names) if regex.fullmatch(n) or regex.fullmatch(n + ":0")]


@given(names=NAMES, glob=GLOBS)
def test_a_glob_finds_all_that_match(names, glob):
    probe = probe_of(glob)
    for some in (names, Names(names)):
        found = [place for place in probe.places(some) if probe(some[place])]
        assert found == sorted({*brute(probe.regex, names), *found})
        assert {names[place] for place in found} >= {n for n in names if n == glob}
        assert probe.idle(some) == (not found)


@given(names=NAMES, text=REGEXES)
def test_a_regex_finds_all_that_match(names, text):
    probe = probe_of(f"re:{text}")
    for some in (names, Names(names)):
        found = sorted(place for place in probe.places(some) if probe(some[place]))
        assert found == brute(re.compile(text), names)


@pytest.mark.parametrize(
    ("pattern", "literals", "prefix"),
    [
        ("enc/*/kernel", ("/kernel", "enc/"), "enc/"),
        (r"re:(blocks\.3\.\d+)\.(.*)\.kernel", ("blocks.3.", ".kernel", "."), "blocks.3."),
        (r"re:x(ab)+c", ("ab", "c", "x"), "x"),
        (r"re:(ab)?cd", ("cd",), ""),
        ("w:0", ("w",), "w"),
        ("re:a|b", (), ""),
    ],
)
def test_what_a_name_must_contain_and_begin_with(pattern, literals, prefix):
    probe = probe_of(pattern)
    assert (probe.literals, probe.prefix) == (literals, prefix)


@given(
    names=st.lists(st.text("ab/", max_size=5), min_size=1, max_size=12),
    changes=st.lists(st.dictionaries(st.integers(0, 11), st.text("ab/", max_size=5)), max_size=8),
    prefix=st.text("ab/", min_size=1, max_size=3),
)
def test_names_that_begin_alike_are_found_whatever_was_renamed(names, changes, prefix):
    known = Names(names)
    for change in changes:
        known.beginning(prefix)
        known.change({place: name for place, name in change.items() if place < len(names)})
        found = known.beginning(prefix)
        wanted = {place for place, name in enumerate(known) if name.startswith(prefix)}
        assert wanted <= {*found}
        assert len(found) == len({*found})


@pytest.mark.parametrize("replacement", [r"\1-\2", r"\g<1>%\g<x>", "plain", r"a\\\1", r"\n", r"\2"])
def test_a_replacement_is_what_re_makes_of_it(replacement):
    for text in ("ab", "a"):
        match = re.fullmatch("(?P<x>a)(b)?", text)
        assert expander(match.re, replacement)(match) == match.expand(replacement)
