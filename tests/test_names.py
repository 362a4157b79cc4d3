"""Names are cut at a separator or not at all; patterns match whole names."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmstart.errors import RuleError
from warmstart.names import (
    grouped,
    idle,
    inside,
    joined,
    matcher,
    meant,
    parent,
    selected,
    without_output,
)

NAME = st.text(min_size=1, max_size=12)
PART = st.text(st.characters(exclude_characters="/"), min_size=1, max_size=6)
PATH = st.lists(PART, min_size=1, max_size=4).map("/".join)


@given(prefix=PART, name=NAME)
def test_joining_is_undone_by_looking_inside(prefix: str, name: str) -> None:
    assert inside(joined(prefix, name), prefix) == name


@given(prefix=PART, name=NAME)
def test_a_final_separator_counts_once(prefix: str, name: str) -> None:
    assert joined(prefix + "/", name) == joined(prefix, name)


@given(prefix=PART, more=PART, rest=NAME)
def test_a_longer_scope_is_not_inside_a_shorter_one(prefix: str, more: str, rest: str) -> None:
    assert inside(f"{prefix}{more}/{rest}", prefix) is None


@given(name=PATH, prefix=PATH)
def test_what_is_inside_gives_the_name_back(name: str, prefix: str) -> None:
    assert inside(name, prefix) in (None, name[len(prefix) + 1 :])


@given(PATH)
def test_a_name_is_inside_its_parent(name: str) -> None:
    assert joined(parent(name), name.rpartition("/")[2]) == name


@given(NAME)
def test_only_a_zero_output_is_cut(name: str) -> None:
    assert without_output(name + ":0") == name
    assert without_output(name + ":1") == name + ":1"


@given(NAME)
def test_a_name_matches_itself_whatever_it_is(name: str) -> None:
    assert matcher("re:" + re.escape(name))(name)
    assert matcher(re.compile(re.escape(name)))(name)


@given(NAME.filter(lambda name: not name.startswith("re:")))
def test_odd_characters_need_no_escape(name: str) -> None:
    assert matcher(name)(name)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("fc/*", ["fc/w", "fc/a/b", "fc/"], ["fc", "fc2/w", "a/fc/w"]),
        ("*", ["", "a", "a/b\nc"], []),
        ("w?", ["w1"], ["w", "w12"]),
        ("w[12]", ["w1", "w[12]"], ["w3", "w12"]),
        ("re:w", ["w"], ["ww", "w/v"]),
        ("re:w|v.*", ["w", "vv"], ["wx"]),
        (re.compile("W", re.IGNORECASE), ["w", "W"], ["ww"]),
    ],
)
def test_patterns_match_whole_names(
    pattern: str | re.Pattern[str], yes: list[str], no: list[str]
) -> None:
    test = matcher(pattern)
    assert [name for name in yes + no if test(name)] == yes


def test_selected_keeps_the_order_of_the_names() -> None:
    names = ["b", "a2", "c", "a1"]
    assert selected(names, ["a*", "b"]) == ["b", "a2", "a1"]
    assert selected(names, "c") == ["c"]
    assert selected(names, re.compile(".")) == ["b", "c"]


def test_idle_patterns_match_nothing() -> None:
    assert idle(iter(["a1", "b"]), ["a*", "x*", "re:a"]) == ["x*", "re:a"]
    assert idle(["a"], "a") == []


def test_numbers_are_grouped() -> None:
    names = [f"block{i}/attn/{p}" for i in range(12) for p in "qkv"]
    assert grouped(names) == ["block{0..11}/attn/{k,q,v}"]


def test_a_name_alone_is_not_written_in_braces() -> None:
    assert grouped(["w", "fc/bias", "conv2/W"]) == ["w", "fc/bias", "conv2/W"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["0", ":"], ["0", ":"]),
        (["0", "1", "a", "b"], ["{0..1}", "{a,b}"]),
        (["l01", "l02"], ["{l01,l02}"]),
        (["l\u0663", "l\u0664"], ["{l\u0663,l\u0664}"]),  # digits, but not those of a counter
        (["9" * 5000, "8" * 5000], [f"{{{'8' * 5000},{'9' * 5000}}}"]),
    ],
)
def test_what_looks_like_a_number_and_is_none(names: list[str], expected: list[str]) -> None:
    assert grouped(names) == expected


@given(st.lists(PATH | st.text("019a:/.", min_size=1), max_size=6))
def test_grouping_needs_no_more_lines_than_there_are_names(names: list[str]) -> None:
    assert len(grouped(names)) <= len(set(names))


@given(st.lists(st.text("ab01/._", min_size=1), unique=True))
def test_names_are_found_by_what_they_are_shown_as(names: list[str]) -> None:
    for group in grouped(names):
        assert selected(names, group), group
    assert selected(names, grouped(names)) == names


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("l{0..2}/{q,k}", ["l0/q", "l2/k"]),
        ("l{2..10,x}/*", ["l2/k", "l10/q", "lx/q"]),
        ("[lm]{0..2}/?", ["l0/q", "l2/k", "m0/q"]),
        ("l{3..1}/q", []),
        ("{a}", ["{a}"]),
        ("{a,b}", ["a", "{a,b}"]),
    ],
)
def test_braces_list_what_is_meant(pattern: str, matched: list[str]) -> None:
    names = ["l0/q", "l2/k", "l10/q", "lx/q", "m0/q", "{a}", "a", "{a,b}"]
    assert selected(names, pattern) == matched


@pytest.mark.parametrize(
    ("pattern", "suggested"),
    [
        ("stem", ["stem/*"]),
        ("stem/", ["stem/*"]),
        ("stm/*", ["stem/*"]),
        ("stm/*.w", ["stem/w", "stem/b"]),  # none ends so under the scope
        ("re:stem.w+", ["stem/w", "stem/b"]),
        ("layr{0,1}/w", ["layer0/w", "layer1/w"]),
        ("quite another", []),
    ],
)
def test_what_a_pattern_may_have_been_meant_for(pattern: str, suggested: list[str]) -> None:
    assert meant(pattern, ["stem/w", "stem/b", "layer0/w", "layer1/w"]) == suggested


def test_a_regex_that_cannot_be_read() -> None:
    with pytest.raises(RuleError, match=r"the regex '\(' cannot be read: missing \), unterminated"):
        matcher("re:(")
