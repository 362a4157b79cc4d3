"""Rules that change tensors: what comes of names, shapes, values and slots, and what is refused."""

import numpy as np
import pytest

import warmstart as ws
from warmstart.errors import NoSuchTensor, RuleError
from warmstart.files.views import ruled
from warmstart.source import DictSource

W = np.arange(6, dtype=np.float32).reshape(2, 3)


def done(rules, **arrays):
    """Return what rules make of arrays, by name."""
    view = ruled(DictSource(arrays), rules)
    assert {name: (spec.dtype, spec.shape) for name, spec in view.specs.items()} == {
        name: (str(view.read(name).dtype), view.read(name).shape) for name in view.specs
    }
    return {name: view.read(name) for name in view.specs}


@pytest.mark.parametrize(
    ("text", "rule", "expected"),
    [
        ("transpose w: 1 0", ws.transpose("w", 1, 0), W.T),
        ("transpose w", ws.transpose("w"), W.T),
        ("transpose w: -1, -2", ws.transpose("w", -1, -2), W.T),
        ("reshape w: 3 -1", ws.reshape("w", 3, -1), W.reshape(3, 2)),
        ("cast w: float64", ws.cast("w", "float64"), W.astype(float)),
        ("slice w: axis 1 1:3", ws.slice_axis("w", 1, 3, axis=1), W[:, 1:]),
        ("slice w: :-1", ws.slice_axis("w", None, -1), W[:1]),
        ("pad w: axis 0 1:2 with 7", ws.pad("w", 1, 2, fill=7),
         np.pad(W, ((1, 2), (0, 0)), constant_values=7)),
        ("pad w: axis -1 :1", ws.pad("w", 0, 1, axis=-1), np.pad(W, ((0, 0), (0, 1)))),
        ("flip w: 0 1", ws.flip("w", 0, 1), W[::-1, ::-1]),
    ],
)  # fmt: skip
def test_a_step_in_text_and_in_python(text, rule, expected):
    for form in (text, rule, [text]):
        found = done(form, w=W)["w"]
        assert (found.dtype, found.tolist()) == (expected.dtype, expected.tolist())
        assert found.flags.c_contiguous


def test_what_is_read_in_slices_is_changed_too():
    view = ruled(DictSource({"w": W, "v": W}), "transpose w")
    assert view.read_slice("w", (slice(1), 1)).tolist() == [3]
    assert view.read_slice("v", 1).tolist() == [3, 4, 5]
    with pytest.raises(NoSuchTensor, match="there is no tensor 'x'"):
        view.read("x")


def test_rules_compose_in_their_order():
    found = done(["rename a.* -> b.*", "transpose b.w", "slice b.*: axis 0 0:1"], **{"a.w": W})
    assert found["b.w"].tolist() == W.T[:1].tolist()


def test_a_regex_is_a_pattern_too():
    rules = ["transpose re:.*[wv]", ws.transpose("w"), "cast re:w|v: float16"]
    found = done(rules, w=W, v=W, b=W)
    assert {name: array.shape for name, array in found.items()} == {
        "w": (2, 3), "v": (3, 2), "b": (2, 3)
    }  # fmt: skip
    assert found["v"].dtype == np.float16


def test_wildcards_cast_what_is_of_the_same_kind_and_a_name_whatever_it_is():
    arrays = {"w": W, "step": np.int64(3), "mask": np.array([True])}
    kinds = {name: str(array.dtype) for name, array in done("cast *: bfloat16", **arrays).items()}
    assert kinds == {"w": "bfloat16", "step": "int64", "mask": "bool"}
    assert done("cast step: float32", **arrays)["step"].dtype == np.float32
    assert done("cast *: int32", **arrays)["step"].dtype == np.int32


def test_several_become_one_where_their_wildcards_agree():
    arrays = {
        f"{i}.{k}": np.full((2, 1), 10 * i + n) for i in range(2) for n, k in enumerate("qkv")
    }
    rules = "concatenate *.q, *.k, *.v -> layers.*.qkv: axis 1"
    assert {name: array.tolist() for name, array in done(rules, **arrays).items()} == {
        "layers.0.qkv": [[0, 1, 2], [0, 1, 2]],
        "layers.1.qkv": [[10, 11, 12], [10, 11, 12]],
    }
    same = done(ws.concatenate(["*.q", "*.k", "*.v"], "layers.*.qkv", axis=1), **arrays)
    assert same.keys() == {"layers.0.qkv", "layers.1.qkv"}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("split *.w -> *.a, *.b: axis 1 sizes 1 2", {"x.a": W[:, :1], "x.b": W[:, 1:]}),
        (ws.split("*.w", ["*.a", "*.b"]), {"x.a": W[:1], "x.b": W[1:]}),
        ("unstack *.w -> *.#.w: axis 1", {f"x.{i}.w": W[:, i] for i in range(3)}),
        (ws.unstack("*.w", "*.#.w"), {"x.0.w": W[0], "x.1.w": W[1]}),
    ],
)
def test_one_becomes_several(rule, expected):
    found = done(rule, **{"x.w": W})
    assert {name: array.tolist() for name, array in found.items()} == {
        name: array.tolist() for name, array in expected.items()
    }


def test_a_stack_is_in_the_order_of_numbers():
    arrays = {f"layers.{i}.w": np.full(2, i) for i in (10, *range(10))}
    for rule in ("stack layers.#.* -> scan.*: axis 1", ws.stack("layers.#.*", "scan.*", axis=1)):
        assert done(rule, **arrays)["scan.w"].tolist() == [[*range(11)]] * 2


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("scope enc.layers.* -> encoder/block*", {"encoder/block0/attn/w", "enc.norm.w"}),
        ("scope enc. -> .", {"layers.0.attn.w", "norm.w"}),
        ("scope enc -> bert", {"bert.layers.0.attn.w", "bert.norm.w"}),
        ("scope . -> model/", {"model/enc/layers/0/attn/w", "model/enc/norm/w"}),
        (ws.scope("enc.norm", "norm/"), {"enc.layers.0.attn.w", "norm/w"}),
    ],
)
def test_a_scope_moves_with_all_below(rule, expected):
    assert done(rule, **{"enc.layers.0.attn.w": W, "enc.norm.w": W}).keys() == expected


def test_a_scope_ends_at_a_separator():
    assert done("scope enc -> dec", **{"enc.w": W, "encoder.w": W}).keys() == {"dec.w", "encoder.w"}


# --- slots --------------------------------------------------------------------------------------

STATE = {
    "q": W, "q/m": W + 10, "q/step": np.float32(3), "q/row": np.ones(2, np.float32),
    "k": W, "k/m": W + 20, "k/step": np.float32(4), "k/row": np.ones(2, np.float32),
}  # fmt: skip
SLOTS = dict.fromkeys((name for name in STATE if "/" in name), "slot")


def slots_after(rules):
    view = ruled(DictSource(STATE, roles=SLOTS), rules)
    assert all(view.specs[name].role == "slot" for name in view.specs if "/" in name)
    return {name: view.read(name).shape for name in view.specs if "/" in name}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("transpose *", {"q/m": (3, 2), "q/step": (), "k/m": (3, 2), "k/step": ()}),
        ("transpose q",
         {"q/m": (3, 2), "q/step": (), "k/m": (2, 3), "k/step": (), "k/row": (2,)}),
        ("cast q: float16", {name: STATE[name].shape for name in SLOTS}),
        ("concatenate q, k -> qk", {"qk/m": (4, 3), "qk/step": ()}),
        ("split q -> a, b", {"a/m": (1, 3), "a/step": (), "b/m": (1, 3), "b/step": (),
                             "k/m": (2, 3), "k/step": (), "k/row": (2,)}),
        ("unstack q -> q#", {"q0/m": (3,), "q0/step": (), "q1/m": (3,), "q1/step": (),
                             "k/m": (2, 3), "k/step": (), "k/row": (2,)}),
        ("scope . -> /", {name: STATE[name].shape for name in SLOTS}),
    ],
)  # fmt: skip
def test_slots_follow_where_they_have_the_shape_of_their_variable(rule, expected):
    assert slots_after(rule) == expected


def test_a_slot_may_be_changed_by_its_own_name():
    assert slots_after(["drop */row", "transpose q/m"])["q/m"] == (3, 2)


def test_of_merged_counts_the_first_one_is_kept():
    view = ruled(DictSource(STATE, roles=SLOTS), "concatenate k, q -> kq")
    assert view.read("kq/step") == 4


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("reshape w: 4 2", r"reshape w: 4 2: reshape 4 2 cannot hold 'w', which is \(2, 3\)"),
        ("transpose w: 1 1", r"transpose 1 1 does not name each of 2 axes once; 'w' is \(2, 3\)"),
        ("transpose *: 0 2 1", r"transpose \*: 0 2 1: .* needs 3 axes; 'w' is \(2, 3\)"),
        ("slice w: axis 2 0:1", r"slice w: axis 2 0:1: 'w' is \(2, 3\) and has no such axis"),
        ("slice w: axis 0 0:9", "goes beyond 'w'"),
        ("slice w: axis 0 -9:", "goes beyond 'w'"),
        ("flip w: 2", r"flip w: 2: 'w' is \(2, 3\) and has no such axis"),
        ("flip w: 0 -2", "names an axis of 'w' twice"),
        ("pad i: 0:1 with 0.5", r"cannot be done to 'i', which is int8 \(2,\)"),
        ("pad i: 0:1 with nan", r"cannot be done to 'i', which is int8 \(2,\)"),
        ("pad i: 0:1 with 300", r"cannot be done to 'i', which is int8 \(2,\)"),
        ("pad s: 0:1", r"cannot be done to 's', which is string \(1,\)"),
        ("pad w: 0:1 with 1e39", r"cannot be done to 'w', which is float32 \(2, 3\)"),
        ("cast c: float32", r"cast float32 cannot be done to 'c', which is complex64 \(1,\)"),
        ("stack n.#.w -> n", "'n.1.w' and 'n.01.w' have the same number"),
        ("split w -> a, b: axis 1", r"'w' is \(2, 3\); its axis 1 has no 2 equal parts"),
        ("split w -> a, b: axis 1 sizes 1 1", r"its axis 1 has no parts of \(1, 1\)"),
        ("split w -> a, b: axis 4", r"'w' is \(2, 3\) and has no such axis"),
        ("unstack e -> e.#", r"'e' is \(0, 2\) and has no parts"),
        ("unstack w -> w.#: axis 4", "has no such axis"),
        ("concatenate w, b -> x", r"tensors that are alike but for that axis; found 'w' float32"),
        ("concatenate w, x -> y", "'w' is there, and nothing for 'x'"),
        ("stack l.# -> l", "expected numbers from 0 on without a gap; found 0, 2"),
        ("stack [wb]# -> l", "match nothing"),
        ("stack m.# -> m", r"needs tensors that are alike; found 'm.0' float32 \(2, 3\), 'm.1'"),
        ("stack l0.# -> l: axis 3", r"stack axis 3: 'l0.0' is \(2, 3\)"),
    ],
)
def test_what_cannot_be_done_names_the_rule_the_tensor_and_the_shape(rule, message):
    arrays = {
        "w": W, "b": W[0], "e": np.ones((0, 2)), "l.0": W, "l.2": W, "m.0": W, "m.1": W[0],
        "l0.0": W, "i": np.zeros(2, np.int8), "s": np.array([b"a"], object),
        "c": np.ones(1, np.complex64), "n.0.w": W, "n.1.w": W, "n.01.w": W,
    }  # fmt: skip
    with pytest.raises(RuleError, match=message):
        done(rule, **arrays)


@pytest.mark.parametrize(
    ("before", "value", "after"),
    [
        ("float32", 1e6, "float16"), ("int64", 300, "uint8"), ("int64", -1, "uint64"),
        ("uint64", 2**63, "int64"), ("float32", np.nan, "int32"), ("float32", 128.5, "int8"),
    ],
)  # fmt: skip
def test_a_cast_to_what_lacks_a_value_is_refused(before, value, after):
    with pytest.raises(RuleError, match=f"there are values beyond {after}") as caught:
        done(f"cast w: {after}", w=np.array([1, value], before))
    assert caught.value.__notes__ == ["while making 'w'"]


def test_infinity_stays_infinite_and_fractions_are_cut_off():
    assert done("cast w: float16", w=np.array([np.inf, 1e-9]))["w"].tolist() == [np.inf, 0]
    assert done("cast w: int8", w=np.array([127.9, -128.0]))["w"].tolist() == [127, -128]


def test_small_types_become_each_other():
    found = done(["cast w: int4", "cast w: int2"], w=np.array([1, -2], np.int8))["w"]
    assert (str(found.dtype), found.astype(int).tolist()) == ("int2", [1, -2])


def test_all_that_cannot_be_done_is_said_at_once():
    rules = ["transpose a*: 2 1 0", "reshape b: 5", "drop c", "rename a0 -> z"]
    arrays = {f"a{i}": W for i in range(40)} | {"b": W, "c": W}
    with pytest.raises(RuleError) as caught:
        done(rules, **arrays)
    lines = str(caught.value).splitlines()
    assert lines[0] == "these rules cannot be done:"
    assert (len(lines), lines[-1]) == (32, "  ... and 11 more")


def test_what_is_dropped_need_not_fit():
    assert done(["transpose *: 1 0", "drop b"], w=W, b=W[0]).keys() == {"w"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("transpose w: a", "the rule 'transpose w: a' cannot be read; expected 'transpose PATTERN"),
        ("transpose w 1 0", "expected 'transpose PATTERN: 1 0'; perhaps 'transpose w: 1 0'$"),
        ("transpose w:1 0", "expected 'transpose PATTERN: 1 0'; perhaps 'transpose w: 1 0'$"),
        ("reshape w", "expected 'reshape PATTERN: 3 4 -1'$"),
        ("reshape w:6", "expected 'reshape PATTERN: 3 4 -1'; perhaps 'reshape w: 6'$"),
        ("slice w: 0 1", "expected 'slice PATTERN: axis 0 10:20'; perhaps 'slice w: 0:1'$"),
        ("stack a.# -> b axis 0", "perhaps 'stack a.# -> b: axis 0'$"),
        ("vocab w a.txt -> b.txt", "perhaps 'vocab w: a.txt -> b.txt'$"),
        ("carry w as dense torch -> keras", "perhaps 'carry w as dense: torch -> keras'$"),
        ("reshape w: -1 -1", "reshape takes sizes, of which one may be -1; not -1 -1"),
        ("cast w: int3", r"a dtype of numbers, not 'int3' \(near it: int32\); known: bool, int8"),
        ("cast w: string", "cast takes a dtype of numbers, not 'string'"),
        ("slice w: axis 0", "expected 'slice PATTERN: axis 0 10:20'"),
        ("pad w: 0:1 with x", "pad fills with a number, not 'x'"),
        ("pad w: -1:0", "pad adds places and takes none away; found -1:0"),
        ("flip w", "expected 'flip PATTERN: 0 1'"),
        ("concatenate a -> b", "needs two patterns or more, with equally many wildcards"),
        ("concatenate a*, b -> c", "needs two patterns or more, with equally many wildcards"),
        ("concatenate re:a, re:b -> c", "'re:a' is a regex; this rule takes globs"),
        ("concatenate a, b -> *", "has 1 wildcards in the new name and only 0 in the old one"),
        ("split a -> b", "needs two names or more, and if sizes are given as many of them"),
        ("split a -> b, c: axis 0 sizes 1", "needs two names or more"),
        ("stack a -> b", "needs one #, which counts from 0"),
        ("unstack a -> b", "needs one #, which counts from 0"),
        ("scope a.* -> b.*.*", "has 2 wildcards in the new name and only 1 in the old one"),
        ("fit w: grow", "'fit w: grow': expected one of error, skip, pad, slice, interpolate"),
        ("fit w: pad cubic", "only interpolate takes cubic and grid"),
        ("fit w", "expected 'fit PATTERN: error, skip"),
        ("fit w: pad", "these rules are about variables of a model; for a file .*\n  fit w: pad"),
    ],
)
def test_what_cannot_be_read_says_what_is_expected(text, message):
    with pytest.raises(RuleError, match=message):
        done(text, w=W)


def test_flip_needs_an_axis():
    with pytest.raises(RuleError, match="flip needs at least one axis"):
        ws.flip("w")
