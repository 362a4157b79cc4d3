"""The rules about layouts: which layers a pattern means, and what becomes of them."""

import numpy as np
import pytest

import warmstart as ws
from warmstart.errors import RuleError
from warmstart.files.views import ruled
from warmstart.restore.grammar import parse
from warmstart.source import DictSource
from warmstart.spec import TensorSpec
from warmstart.testing.memory import MemorySession


def numbered(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def shapes(arrays, rules):
    view = ruled(DictSource(arrays, roles={n: "slot" for n in arrays if "Adam" in n}), rules)
    return {name: spec.shape for name, spec in view.specs.items()}


def test_a_pattern_means_paths_and_each_kind_finds_its_own_rank():
    arrays = {
        "a/conv/kernel": numbered(3, 3, 2, 4),
        "a/fc/kernel": numbered(4, 5),
        "a/fc/bias": numbered(5),
        "a/norm/gamma": numbered(4),
        "b/fc/kernel": numbered(4, 5),
    }
    rules = [f"carry a/* as {kind}: keras -> torch" for kind in ("dense", "conv", "layer_norm")]
    assert shapes(arrays, rules) == {
        "a/conv/weight": (4, 2, 3, 3),
        "a/fc/weight": (5, 4),
        "a/fc/bias": (5,),
        "a/norm/weight": (4,),
        "b/fc/kernel": (4, 5),
    }


def test_what_is_carried_is_not_carried_again():
    arrays = {"attn.in_proj_weight": numbered(24, 8), "fc.weight": numbered(10, 8)}
    rules = [
        "carry attn as multi_head_attention: torch -> keras heads 2",
        "carry * as dense: torch -> keras",
    ]
    found = shapes(arrays, [*rules, "carry * as dense: keras -> flax"])
    assert found == {
        **{f"attn.{part}.kernel": (8, 2, 4) for part in ("query", "key", "value")},
        "fc.kernel": (8, 10),
    }


def test_a_layer_at_the_top_has_an_empty_path():
    assert shapes({"weight": numbered(4, 3)}, "carry * as dense: torch -> keras") == {
        "kernel": (3, 4)
    }


def test_batch_norm_alone_is_not_layer_norm():
    leaves = ("gamma", "beta", "moving_mean", "moving_variance")
    arrays = {f"n/{leaf}": numbered(2) for leaf in leaves} | {"m/gamma": numbered(2)}
    assert shapes(arrays, "carry * as batch_norm: keras -> flax").keys() == {
        "n/scale", "n/bias", "n/mean", "n/var", "m/gamma",
    }  # fmt: skip


def test_slots_follow_what_becomes_one_variable_and_are_left_out_elsewhere():
    arrays = {
        "fc/kernel": numbered(4, 5),
        "fc/kernel/Adam": numbered(4, 5),
        "fc/kernel/AdamStep": np.float32(3),
        "rnn/kernel": numbered(2, 12),
        "rnn/kernel/Adam": numbered(2, 12),
        "rnn/bias": numbered(12),
        "rnn/bias/Adam": numbered(12),
    }
    rules = ["carry fc as dense: keras -> torch", "carry rnn as lstm: keras -> torch"]
    assert shapes(arrays, rules) == {
        "fc/weight": (5, 4),
        "fc/weight/Adam": (5, 4),
        "fc/weight/AdamStep": (),
        "rnn/weight_ih_l0": (12, 2),
        "rnn/weight_ih_l0/Adam": (12, 2),
        "rnn/bias_ih_l0": (12,),
        "rnn/bias_hh_l0": (12,),
    }


@pytest.mark.parametrize(
    "rule",
    [
        "carry fc as dense: torch -> keras",
        "carry fc as conv_transpose: torch -> flax",
        "carry fc as depthwise_conv: torch -> keras multiplier 3",
        "carry fc as multi_head_attention: torch -> keras heads 2",
    ],
)
def test_the_way_back_gives_what_there_was(rule):
    arrays = {
        "dense": {"fc.weight": numbered(4, 3), "fc.bias": numbered(4)},
        "conv_transpose": {"fc.weight": numbered(4, 3, 2, 5)},
        "depthwise_conv": {"fc.weight": numbered(6, 1, 2, 5)},
        "multi_head_attention": {
            "fc.in_proj_weight": numbered(12, 4),
            "fc.in_proj_bias": numbered(12),
            "fc.out_proj.weight": numbered(4, 4),
        },
    }[rule.split()[3].rstrip(":")]
    (line,) = parse(rule)[0].back()
    view = ruled(ruled(DictSource(arrays), rule), line)
    assert view.specs.keys() == arrays.keys()
    assert all(np.array_equal(view.read(name), arrays[name]) for name in arrays)


def test_a_rule_says_itself():
    text = "carry *.attn as multi_head_attention: torch -> keras heads 8"
    (rule,) = parse(text)
    assert str(rule) == text
    assert rule.written() == [text]
    assert rule == ws.carry("*.attn", "multi_head_attention", "torch", "keras", heads=8)


def test_a_graph_without_layers_is_filled_by_rules():
    session = MemorySession([TensorSpec("fc/kernel", "float32", (3, 4), "trainable")])
    report = ws.DictRestore(
        {"fc.weight": numbered(4, 3)},
        rules=["carry fc as dense: torch -> keras", "scope fc. -> fc/"],
    ).init(session)
    assert report.transformed == {"fc/kernel": "transpose 1 0"}


def test_a_layout_may_be_said_by_a_rule():
    import torch

    init = ws.DictRestore(
        {"w": numbered(3, 4)}, rules=["layout keras", {"w": "weight"}, "cast weight: float64"]
    )
    report = init.init(torch.nn.Linear(3, 4, bias=False))
    assert report.transformed == {"weight": "cast float64, transpose 1 0"}


FAULTS = [
    (
        "carry fc as dens: torch -> keras",
        "no kind is called 'dens' \\(near it: dense\\); known: dense, conv",
    ),
    (
        "carry fc as dense: torch -> tf",
        "no layout is called 'tf' \\(near it: keras\\); known: torch, keras, flax",
    ),
    ("carry fc as dense: torch -> torch", "both sides are the same"),
    ("carry fc as dense: torch -> keras heads 2", "does not take heads; known: none"),
    ("carry fc as dense", r"expected 'carry PATTERN as KIND: torch -> keras \[OPTION N\]'"),
    (
        "layout tf",
        "layout tf: no layout is called 'tf' \\(near it: keras\\); known: torch, keras, flax",
    ),
    ("layout TensorFlow", "no layout is called 'TensorFlow' \\(near it: keras\\); known"),
    ("carry nothing as dense: keras -> torch", "match nothing.*\n  carry nothing as dense"),
    (
        "carry attn as multi_head_attention: torch -> keras",
        "attn: how many heads there are no shape tells: write heads N",
    ),
    (
        "carry attn as multi_head_attention: torch -> keras heads 3",
        "attn: 4 outputs cannot be those of 3 heads",
    ),
    ("carry dw as depthwise_conv: keras -> torch", "dw: its multiplier is 2: write multiplier 2"),
    (
        "carry own as depthwise_conv: torch -> keras multiplier 4",
        "own: 6 outputs are no multiple of multiplier 4",
    ),
]


@pytest.mark.parametrize(("rule", "words"), FAULTS, ids=[rule for rule, _ in FAULTS])
def test_what_is_wrong_with_a_rule_is_said(rule, words):
    arrays = {
        "fc.weight": numbered(4, 3),
        "attn.in_proj_weight": numbered(12, 4),
        "dw.kernel": numbered(3, 3, 4, 2),
        "own.weight": numbered(6, 1, 3),
    }
    with pytest.raises(RuleError, match=f"(?s){words}"):
        shapes(arrays, rule)


def test_what_cannot_be_taken_back_says_why():
    with pytest.raises(RuleError, match="of two biases only the sum may be left"):
        parse("carry * as lstm: torch -> keras")[0].back()
    with pytest.raises(RuleError, match="whose layout the other side has is not known"):
        parse("layout torch")[0].back()
