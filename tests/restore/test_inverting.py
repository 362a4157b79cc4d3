"""Rules taken back: from how they are written, and from the names and shapes there were."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import warmstart as ws
from warmstart.errors import RuleError
from warmstart.files.inverse import applied, joined
from warmstart.files.views import ruled
from warmstart.restore.rule_kinds import Prefix
from warmstart.source import DictSource

ARRAYS = {
    "enc.0.q.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "enc.0.k.weight": np.arange(12, dtype=np.float32).reshape(4, 3) + 50,
    "enc.1.q.weight": np.arange(6, dtype=np.float32).reshape(2, 3) + 100,
    "enc.1.k.weight": np.arange(12, dtype=np.float32).reshape(4, 3) + 200,
    "head.bias": np.arange(4, dtype=np.float32),
    "enc.0.q.weight/m": np.arange(6, dtype=np.float32).reshape(2, 3) + 300,
    "enc.0.q.weight/step": np.float32(3),
}
SOURCE = DictSource(ARRAYS, roles={name: "slot" for name in ARRAYS if "/" in name})


def contents(source):
    """Return all that a source says, bit for bit."""
    return {n: (spec, source.read(n).tobytes()) for n, spec in sorted(source.specs.items())}


#: Rules that say themselves what takes them back.
PLAIN = [
    "rename enc.* -> encoder.*", "rename enc.?.* -> */?x",  "scope enc.*. -> encoder/block*/",
    "scope . -> /", "transpose *.q.weight: 1 0", "transpose *.k.weight",
    "pad head.bias: axis 0 1:2 with 7", "pad head.bias: 2:0", "flip *.weight: 0",
    "split *.k.weight -> *.a, *.b: axis 0", "unstack *.q.weight -> *.part#.w: axis 1",
    {"head.bias": "b", "enc.0.q.weight": "q"}, {"head.bias": ["a", "b"]},
]  # fmt: skip

#: Rules that can be taken back by who knows what there was before.
KNOWING = [
    ws.rename(r"enc\.(\d+)\.(.*)", r"layer\1/\2"), str.upper, "reshape *.q.weight: 6",
    "cast *: float64", "keep *", "concatenate enc.1.q.weight, enc.1.k.weight -> enc.1.qk: axis 0",
    "split enc.1.k.weight -> a, b: axis 0 sizes 1 3", "slice head.bias: 0:4",
    "concatenate head.*, head.* -> double.*",
]  # fmt: skip


@pytest.mark.parametrize("rule", PLAIN, ids=str)
def test_a_rule_that_says_what_takes_it_back(rule):
    there = ruled(SOURCE, rule)
    assert contents(there) != contents(SOURCE)
    assert contents(ruled(there, ws.inverted(rule))) == contents(SOURCE)


@pytest.mark.parametrize("rule", [*PLAIN, *KNOWING[:-1]], ids=str)
@pytest.mark.parametrize("original", [SOURCE, SOURCE.specs], ids=["source", "specs"])
def test_a_rule_taken_back_by_what_there_was(rule, original):
    assert contents(ruled(ruled(SOURCE, rule), ws.inverted(rule, original))) == contents(SOURCE)


#: Of all of them those that lose nothing, whatever stands before them.
LOSSLESS = [rule for rule in [*PLAIN, *KNOWING] if rule != "slice head.bias: 0:4"]


@given(rules=st.lists(st.sampled_from(LOSSLESS), max_size=4))
def test_rules_that_can_be_taken_back_give_back_all(rules):
    try:
        there = ruled(SOURCE, rules)
        back = ws.inverted(rules, SOURCE)
    except ws.RestoreError:
        return  # one before it took its names, or made longer what it cuts off
    assert contents(ruled(there, back)) == contents(SOURCE)


#: Rules that leave nothing of what they drop.
DROPPING = ["drop head.*", "drop *.q.*", "keep *.weight", {"enc.0.k.weight": None},
            "drop enc.0.q.weight/m", "drop *"]  # fmt: skip


@given(rules=st.lists(st.sampled_from([*LOSSLESS, *DROPPING]), max_size=5))
def test_what_was_dropped_comes_from_the_original(rules):
    try:
        there = ruled(SOURCE, rules)
        with applied([*rules, str], inverse=True, original=SOURCE) as (back, dropped):
            assert contents(joined(ruled(there, back), dropped)) == contents(SOURCE)
    except ws.RestoreError:
        return


@pytest.mark.parametrize("rule", [*DROPPING, ["rename head.* -> x.*", "drop x.*"]], ids=str)
def test_each_of_these_can_be_taken_back(rule):
    there = ruled(SOURCE, rule)
    with applied(rule, inverse=True, original=SOURCE) as (back, dropped):
        assert contents(joined(ruled(there, back), dropped)) == contents(SOURCE)


def test_a_part_of_what_is_left_is_not_taken_from_the_original():
    rules = ["split enc.0.k.weight -> a, b: axis 0", "drop b", "drop head.*"]
    with (
        pytest.raises(RuleError, match=r"cannot be taken back:\n  drop b loses 'b'$"),
        applied(rules, inverse=True, original=SOURCE),
    ):
        pass


def test_a_tensor_that_is_there_all_the_same():
    with applied("drop head.*", inverse=True, original=SOURCE) as (back, dropped):
        view = ruled(DictSource({"head.bias": np.ones(4), "enc.0.q.weight": np.ones(1)}), back)
        with pytest.raises(ws.NameConflict, match=r"taken back:\n  head\.bias$"):
            joined(view, dropped)


@pytest.mark.parametrize(
    ("rules", "options", "message"),
    [
        ((), {"inverse": True}, "inverse=True takes rules back, and there are none"),
        ("drop a", {"original": SOURCE}, "original= is for taking rules back, with inverse=True"),
    ],
)
def test_arguments_that_mean_nothing_alone(rules, options, message):
    with pytest.raises(ValueError, match=message), applied(rules, **options):
        pass


@given(rules=st.lists(st.sampled_from([*PLAIN, *KNOWING, "drop *.k.*", "slice head.*: :2"])))
def test_every_tensor_is_in_what_is_made_or_left_out(rules):
    try:
        there = ruled(SOURCE, rules)
    except ws.RestoreError:
        return
    assert there.tensors <= SOURCE.specs.keys()
    assert {there.specs[name].name for name in there.specs} == set(there.specs)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("drop head.*", r"drop head.\*: what it leaves out is lost"),
        ("keep enc.*", r"keep enc.\*: what it leaves out is lost"),
        ({"head.bias": None}, "the mapping drops 'head.bias'"),
        (ws.rename("enc(.*)", r"x\1"), "the old name cannot be told from the new one"),
        ("rename enc.*.* -> *", "the old name cannot be told from the new one"),
        ("scope enc -> dec", "the old name cannot be told from the new one"),
        (str.upper, "the function str.upper: only it knows what it does"),
        ("cast *: float64", r"cast \*: float64: what it was before is not known, or lost"),
        ("reshape head.*: 2 2", "what it was before is not known"),
        ("slice head.*: 0:2", "what it was before is not known, or lost"),
        ("concatenate *.q.weight, *.k.weight -> *.qk", "the sizes of its inputs are not known"),
        ("fit head.*: pad", "what a model's shape asks for is no property of the checkpoint"),
    ],
)
def test_what_is_not_said_cannot_be_taken_back(rule, message):
    with pytest.raises(RuleError, match=message):
        ws.inverted(rule)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("drop *.q.*", r"drop \*.q.\* loses 'enc.0.q.weight', 'enc.1.q.weight', .* and 1 more"),
        ("slice head.*: 0:2", "slice head.*: axis 0 0:2 loses 'head.bias'"),
        ("cast head.*: float16", "cast head.*: float16 loses 'head.bias'"),
        (lambda name: name if "enc" in name else None, "the function .* loses 'head.bias'"),
        ("fit head.*: pad", r"fit head.\*: pad is about variables of a model"),
        ("reshape head.bias: 5", "reshape head.bias: 5: reshape 5 cannot hold 'head.bias'"),
    ],
)
def test_what_is_lost_is_named(rule, message):
    with pytest.raises(RuleError, match=message):
        ws.inverted(rule, SOURCE)


def test_all_that_cannot_be_taken_back_is_said_at_once():
    with pytest.raises(RuleError) as caught:
        ws.inverted(["drop a", "transpose b", "reshape c: 1", str.lower])
    assert str(caught.value).splitlines() == [
        "these rules cannot be taken back:",
        "  drop a: what it leaves out is lost",
        "  reshape c: 1: what it was before is not known, or lost",
        "  the function str.lower: only it knows what it does",
        "More can be with a checkpoint from before them: original=, or --original.",
    ]


def test_what_is_dropped_is_named_by_rule_with_what_can_be_done():
    with pytest.raises(RuleError) as caught:
        ws.inverted(["rename head.* -> out.*", "drop out.*", "drop *.k.*"], SOURCE)
    assert str(caught.value).splitlines() == [
        "these rules cannot be taken back:",
        "  drop out.* loses 'head.bias'",
        "  drop *.k.* loses 'enc.0.k.weight', 'enc.1.k.weight'",
        "ws.convert(..., inverse=True, original=...) takes these from the original.",
    ]


def test_rules_say_what_they_are():
    back = ws.inverted(["rename enc.* -> encoder.*", "transpose *.q.weight"])
    assert repr(back) == "(<Transform: transpose *.q.weight>, <Rename: rename encoder.* -> enc.*>)"
    assert repr(ws.inverted("cast *: float64", SOURCE)) == (
        "(<Undo: the inverse of cast *: float64>,)"
    )
    assert repr(Prefix("tower", "/")) == "<Prefix: rename * -> tower/*>"


def test_what_is_not_of_the_rules_stays():
    back = ws.inverted({"head.bias": "b"}, SOURCE)
    assert ruled(DictSource({"b": np.ones(2), "more": np.ones(3)}), back).specs.keys() == {
        "head.bias", "more",
    }  # fmt: skip


def test_a_part_that_is_not_there_is_named():
    rules = "split enc.1.k.weight -> a, b: axis 0 sizes 1 3"
    with pytest.raises(RuleError, match=f"the inverse of {rules}: there is no 'b'"):
        ruled(DictSource({"a": np.ones((1, 3))}), ws.inverted(rules, SOURCE))
    with pytest.raises(RuleError, match=f"match nothing:\n  the inverse of {rules}"):
        ruled(DictSource({"c": np.ones((1, 3))}), ws.inverted(rules, SOURCE))
