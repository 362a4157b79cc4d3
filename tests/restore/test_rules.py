"""Rules: every form they are written in, their order, and what is refused."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import warmstart as ws
from warmstart.errors import NameConflict, RuleError
from warmstart.restore import rules as rules_
from warmstart.restore.grammar import parse
from warmstart.restore.rules import Seen
from warmstart.spec import TensorSpec


def apply(rules, names, aliases=None, slots=(), fellows=()):
    """Return what rules make of names of which no more is known, tensors by their names."""
    every = [*names, *(aliases or {})]
    specs = {name: TensorSpec(name, "float32", (2, 3)) for name in every}
    done = rules_.apply(rules, Seen(specs, aliases or {}, slots, fellows))
    return replace(done, origin={new: recipe.name for new, recipe in done.origin.items()})


def origin(rules, names, **more):
    return apply(rules, names, **more).origin


@pytest.mark.parametrize(
    ("rules", "new"),
    [
        ("rename enc/* -> bert/*", "bert/l0/w"),
        ("rename */l?/w -> *.?.kernel", "enc.0.kernel"),
        ("rename enc/l[0-3]/* -> e*/*", "e0/w"),
        (r"rename re:enc/l(\d)/(?P<what>w) -> x\1_\g<what>", "x0_w"),
        ("rename enc/l0/w -> a b", "a b"),
        (r"rename enc/l0/w -> a\b", r"a\b"),
        (ws.rename(r"enc/l(\d+)/w", r"layer\1/kernel"), "layer0/kernel"),
        (ws.rename(re.compile(r"ENC/(.*)", re.IGNORECASE), r"\1"), "l0/w"),
        ({"enc/l0/w": "w"}, "w"),
        ({"enc/l0/w:0": "w:0"}, "w"),
        (lambda name: name.removeprefix("enc/"), "l0/w"),
        (["rename enc/* -> dec/*", "rename dec/l0/* -> *"], "w"),
    ],
)
def test_a_rename_in_each_form(rules, new):
    assert origin(rules, ["enc/l0/w"]) == {new: "enc/l0/w"}


@pytest.mark.parametrize(
    "rules",
    [
        "drop fc/*",
        "drop re:fc.*",
        "keep enc/*",
        ["keep enc/w", "keep enc/b"],
        ws.drop("fc/w", "fc/b"),
        ws.keep(re.compile("enc/[wb]")),
        {"fc/w": None, "fc/b": []},
        lambda name: None if name.startswith("fc") else name,
    ],
)
def test_dropping_in_each_form(rules):
    renaming = apply(rules, ["enc/w", "fc/w", "enc/b", "fc/b"])
    assert renaming.origin == {"enc/w": "enc/w", "enc/b": "enc/b"}
    assert renaming.dropped == ("fc/w", "fc/b")
    assert renaming.withheld == {"fc/w", "fc/b"}


def test_a_regex_must_match_the_whole_name():
    assert origin([ws.rename("w", "v")], ["w", "w2"]) == {"v": "w", "w2": "w2"}


def test_a_mapping_may_swap_two_names():
    assert origin({"a": "b", "b": "a"}, ["a", "b"]) == {"b": "a", "a": "b"}


def test_one_tensor_may_feed_several():
    assert origin({"a": ["b", "c"]}, ["a"]) == {"b": "a", "c": "a"}


def test_a_pattern_answers_with_and_without_the_output_number():
    assert origin(["drop a:0", "rename b -> c"], ["a:0", "b:0", "d:0"]) == {
        "c": "b:0",
        "d:0": "d:0",
    }


@pytest.mark.parametrize(
    "rules", ["rename *:0 -> *", ws.rename(r"(.*):0", r"\1"), {"a:0": "a", "b:0": "b"}]
)
def test_a_rule_may_take_the_output_number_away(rules):
    assert origin(rules, ["a:0", "b:0"]) == {"a": "a:0", "b": "b:0"}


def test_a_kept_name_keeps_its_output_number():
    assert origin("keep a", ["a:0", "b:0"]) == {"a:0": "a:0"}


def test_what_was_dropped_still_goes_through_the_later_rules():
    assert apply(["drop a/w", "rename a/* -> b/*"], ["a/w", "a/v"]).withheld == {"b/w"}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"w": "v"}, {"v": "w", "v/Adam": "w/Adam"}),
        ({"w": ["u", "v"]}, {"u": "w", "v": "w", "u/Adam": "w/Adam", "v/Adam": "w/Adam"}),
        ("drop w", {}),
        ("keep w", {"w": "w", "w/Adam": "w/Adam"}),
        ("drop */Adam", {"w": "w"}),
        ({"w": "v", "w/Adam": None}, {"v": "w"}),
        ({"w": "v", "w/Adam": "s"}, {"v": "w", "s": "w/Adam"}),
        (lambda name: {"w": "v"}.get(name, name), {"v": "w", "v/Adam": "w/Adam"}),
    ],
)
def test_slots_follow_their_variable(rules, expected):
    assert origin(rules, ["w", "w/Adam"], slots={"w/Adam"}) == expected


def test_run_state_is_neither_seen_nor_touched():
    renaming = apply(["keep w", lambda name: name.upper()], ["w", "_RUN/state", "b"])
    assert renaming.origin == {"_RUN/state": "_RUN/state", "W": "w"}
    assert renaming.dropped == ("b",)


def test_a_rule_for_run_state_is_told_who_reads_it():
    with pytest.raises(RuleError, match=r"RUN/also/[*]    rules leave run state alone; ws[.]open"):
        apply("keep _RUN/also/*", ["w", "_RUN/also/w"])


def test_other_names_of_tied_tensors_are_names_too():
    tied = {"head": "emb"}
    assert origin("rename head -> out", ["emb"], aliases=tied) == {"emb": "emb", "out": "head"}
    assert origin({"head": "emb"}, ["emb"], aliases=tied) == {"emb": "emb"}


def test_every_idle_rule_is_named_with_what_is_near():
    rules = ["drop fc/kernal", {"conv/W": "x", "encoder/w": "y"}, ws.rename("enc(.*)", r"\1")]
    with pytest.raises(RuleError) as caught:
        apply(rules, ["fc/kernel", "conv/w", "encoder/w"])
    assert str(caught.value).splitlines() == [
        "these rules match nothing:",
        "  drop fc/kernal    near it: fc/kernel",
        "  the mapping's 'conv/W'    near it: conv/w",
        r"  rename re:enc(.*) -> \1    matches only names that the rules before it have changed or "
        "dropped",
    ]


def test_of_many_rules_that_match_nothing_the_first_get_a_hint():
    with pytest.raises(RuleError) as caught:
        apply([f"drop layer{i}/w" for i in range(50)], ["layer/w"])
    assert ["near it" in line for line in str(caught.value).splitlines()[1:]] == (
        [True] * 20 + [False] * 30
    )


def test_a_rule_sees_only_what_is_left():
    with pytest.raises(RuleError, match="drop a"):
        apply(["drop *", "drop a"], ["a"])


def test_every_two_tensors_on_one_name_are_named():
    with pytest.raises(NameConflict) as caught:
        apply(r"rename re:.*/(.) -> \1", ["a/w", "b/w", "a/b", "b/b"])
    assert str(caught.value).splitlines() == [
        "two tensors end on one name; drop or rename one of them:",
        "  'a/w' and 'b/w' are both 'w'",
        "  'a/b' and 'b/b' are both 'b'",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("remove w", "'remove w' cannot be read: there is no rule 'remove'.*; expected drop, keep"),
        (
            "renam a -> b",
            r"there is no rule 'renam' \(near it: rename\); expected drop, .* rule file",
        ),
        ("Scope a -> b", r"there is no rule 'Scope' \(near it: scope\)"),
        (
            "mine.tml",
            "'mine.tml' cannot be read: it is no rule and no rule file, which ends in .tom",
        ),
        ("rename a => b", "expected 'rename OLD -> NEW'; perhaps 'rename a -> b'$"),
        ("rename a->b", "perhaps 'rename a -> b'$"),
        ("rename a -> ", "expected 'rename OLD -> NEW'$"),
        ("rename a* -> {b,c}", r"has \{b,c\} in the new name; braces are for patterns"),
        ("drop a{0..10000}", r"\{0..10000\} lists more than 10,000 numbers; \* stands for any"),
        ("drop", "the rule 'drop' cannot be read"),
        ("rename a b", "the rule 'rename a b' cannot be read"),
        ("rename a -> b*", "has 1 wildcards in the new name and only 0 in the old one"),
        ("rename re:( -> b", r"the regex '\(' cannot be read"),
        (r"rename re:a -> \1", r"the new name in .* cannot be read: invalid group reference"),
        ("drop re:[", r"the regex '\[' cannot be read"),
        ({"a": ""}, "a rule gives 'a' the name '', which is not a name"),
        ({"a": {"b": 1}}, r"a rule gives 'a' the name \{'b': 1\}, which is not a name"),
        ({3: "a"}, "a mapping is of names, which are strings; found 3"),
        (lambda name: 3, "a rule gives 'a' the name 3, which is not a name"),
        (lambda name: [3], r"a rule gives 'a' the name \[3\], which is not a name"),
    ],
)
def test_a_rule_that_cannot_be_read_is_refused(text, message):
    with pytest.raises(RuleError, match=message):
        apply(text, ["a"])


@pytest.mark.parametrize("make", [ws.drop, ws.keep])
def test_a_rule_without_a_pattern_is_refused(make):
    with pytest.raises(RuleError, match="needs at least one pattern"):
        make()


@pytest.mark.parametrize("rule", [3, [None]])
def test_what_is_no_rule_is_a_type_error(rule):
    with pytest.raises(TypeError, match="a rule is a string, a mapping, a function"):
        parse(rule)


NAMES = st.lists(st.text("ab/.", min_size=1, max_size=5), unique=True, max_size=8)


@given(names=NAMES)
def test_no_rules_change_nothing(names):
    done = apply((), names)
    assert (done.origin, done.dropped, done.withheld) == ({n: n for n in names}, (), frozenset())


@given(names=NAMES, kept=st.sets(st.sampled_from("ab/.")))
def test_every_name_is_kept_or_dropped(names, kept):
    renaming = apply(lambda name: name if name[0] in kept else None, names)
    assert sorted([*renaming.origin.values(), *renaming.dropped]) == sorted(names)


@given(names=NAMES, prefix=st.text("ab", min_size=1, max_size=3))
def test_a_rename_and_its_inverse_cancel_out(names, prefix):
    rules = [lambda n: f"{prefix}/{n}", lambda n: n.removeprefix(f"{prefix}/")]
    assert origin(rules, names) == {n: n for n in names}


@pytest.mark.parametrize("make", [ws.drop, ws.keep])
def test_a_list_of_patterns_is_refused_where_several_are_meant(make):
    with pytest.raises(TypeError, match=r"takes patterns one by one, .*, not \['a/\*', 'b/\*'\]"):
        make(["a/*", "b/*"])


# --- names that only say where a tensor lies, or whose it is ------------------------------------

PLACES = {"params/0": "fc/w/m", "layers/fc": "fc/w"}  # alias -> name
FELLOWS = {*PLACES, *PLACES.values()}


@pytest.mark.parametrize("rule", ["drop params/*", "drop fc/w/m", {"params/0": None}])
def test_a_tensor_dropped_under_one_of_its_names_is_gone(rule):
    done = apply(rule, ["fc/w", "fc/w/m"], aliases=PLACES, fellows=FELLOWS)
    assert done.origin == {"fc/w": "fc/w", "layers/fc": "layers/fc"}
    assert done.dropped == ("fc/w/m",)


def test_a_tensor_kept_under_one_of_its_names_stays():
    done = apply("keep layers/*", ["fc/w", "fc/w/m"], aliases=PLACES, fellows=FELLOWS)
    assert done.origin == {"layers/fc": "layers/fc"}


def test_tied_tensors_are_dropped_one_by_one():
    done = apply("drop embedding", ["embedding"], aliases={"logits": "embedding"})
    assert done.origin == {"logits": "logits"}
