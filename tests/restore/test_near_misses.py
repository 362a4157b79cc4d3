"""Suggestions for names that were nearly equal."""

import pytest

from warmstart.names import words
from warmstart.restore.near_misses import Nearest, nearest
from warmstart.spec import TensorSpec


def specs(*names, shape=(2,)):
    return {name: TensorSpec(name, "float32", shape) for name in names}


def of_shapes(**shapes):
    return {name: TensorSpec(name, "float32", shape) for name, shape in shapes.items()}


def found(missing, unused):
    return {name: near.old for name, near in nearest(missing, unused).items()}


@pytest.mark.parametrize(
    ("missing", "unused"),
    [
        ("fc/kernel", "fc.weight"),
        ("enc/layer1/W", "enc.layer1.kernel"),
        ("bn/moving_variance", "bn.running_var"),
        ("fc.weight", "module.fc.weight"),
        ("module.fc.weight", "fc.weight"),
        ("out.weight", "head.weight"),
        ("encoder/kernal", "encodr/kernel"),
    ],
)
def test_the_one_that_was_meant(missing, unused):
    assert found(specs(missing), specs(unused, "other/thing")) == {missing: unused}


@pytest.mark.parametrize(
    ("model", "checkpoint", "steps"),
    [
        ((5, 3), (3, 5), ["transpose 1 0"]),
        ((64, 3, 7, 7), (7, 7, 3, 64), ["transpose 3 2 0 1"]),
        ((7, 7, 3, 64), (64, 3, 7, 7), ["transpose 2 3 1 0"]),
        ((8, 8, 3, 3), (3, 3, 8, 8), ["transpose 3 2 0 1"]),
        ((8, 1, 3, 3), (3, 3, 8, 1), ["transpose 2 3 0 1"]),
        ((10, 8), (1, 1, 8, 10), ["reshape 8 10", "transpose 1 0"]),
        ((1, 4, 6), (4, 6), ["reshape 1 4 6"]),
        ((768, 8), (8, 12, 64), ["reshape 8 768", "transpose 1 0"]),
        ((8, 12, 64), (768, 8), ["transpose 1 0", "reshape 8 12 64"]),
        ((2, 3, 4), (3, 4, 2), ["transpose 2 0 1"]),
    ],
)
def test_a_shape_that_fits_when_turned_around(model, checkpoint, steps):
    near = nearest(of_shapes(**{"enc.0.weight": model}), of_shapes(**{"enc/0/kernel": checkpoint}))
    assert [near["enc.0.weight"].old, *near["enc.0.weight"].steps] == ["enc/0/kernel", *steps]


def test_the_bias_of_heads():
    near = nearest(of_shapes(**{"q/bias": (12, 64)}), of_shapes(**{"q.bias": (768,)}))
    assert near["q/bias"].steps == ("reshape 12 64",)


def test_other_names_and_another_order_at_once():
    missing = of_shapes(**{"encoder.0.weight": (5, 3), "encoder.0.bias": (5,)})
    unused = of_shapes(**{"encoder/layer_0/w": (3, 5), "encoder/layer_0/b": (5,)})
    near = nearest(missing, unused)
    assert (near["encoder.0.weight"].old, near["encoder.0.weight"].steps) == (
        "encoder/layer_0/w",
        ("transpose 1 0",),
    )
    assert near["encoder.0.bias"].certain


def test_a_square_matrix_is_turned_around_where_others_are():
    sides = {"a.weight": (5, 3), "b.weight": (4, 4), "c.weight": (7, 5)}
    missing = of_shapes(**sides)
    unused = of_shapes(**{f"{n[0]}/kernel": shape[::-1] for n, shape in sides.items()})
    near = nearest(missing, unused)
    assert near["b.weight"].steps == ("transpose 1 0",)
    assert [near[name].certain for name in sides] == [True, False, True]


def test_a_square_matrix_is_left_where_others_are_not():
    sides = {"a.weight": (5, 3), "b.weight": (4, 4), "c.weight": (7, 5)}
    near = nearest(of_shapes(**sides), of_shapes(**{f"x.{n}": s for n, s in sides.items()}))
    assert near["b.weight"].steps == ()


def test_two_that_may_be_meant_are_none():
    assert found(specs("fc/w"), specs("a/fc/w", "b/fc/w")) == {}


def test_another_size_is_not_meant():
    assert found(specs("fc/w"), specs("fc.weight", shape=(3,))) == {}
    assert found(specs("fc/w", shape=(3, 4)), specs("fc/w", shape=(2, 6))) == {}


def test_nothing_alike():
    assert found(specs("fc/w"), specs("step")) == {}


def test_a_scale_is_no_mean():
    assert found(specs("bn/gamma"), specs("bn/moving_mean")) == {}


def test_a_counter_is_not_meant_by_its_shape():
    scalars = specs("bn.num_batches_tracked", shape=())
    assert found(scalars, specs("global_step", shape=())) == {}


def test_siblings_tell_the_bias_of_a_norm_from_that_of_a_layer():
    unused = of_shapes(
        **{"c/kernel": (1, 1, 4, 4), "c/bias": (4,), "n/gamma": (4,), "n/beta": (4,)}
    )
    missing = of_shapes(**{"c.weight": (4, 4, 1, 1), "n.weight": (4,), "n.bias": (4,)})
    assert found(missing, unused)["n.bias"] == "n/beta"


def test_scopes_vote_where_no_word_is_the_same():
    missing = of_shapes(
        **{"x.0.weight": (5, 3), "x.0.bias": (9,), "x.1.weight": (7, 3), "x.1.bias": (9,)}
    )
    unused = of_shapes(
        **{"one/kernel": (3, 5), "one/bias": (9,), "two/kernel": (3, 7), "two/bias": (9,)}
    )
    assert found(missing, unused) == dict(zip(missing, unused, strict=True))


def test_layers_counted_from_one_and_from_zero():
    missing = specs(*(f"blocks.{i}.fc.weight" for i in range(12)), shape=(4, 4))
    unused = specs(*(f"enc/layer_{i + 1}/fc/w" for i in range(12)), shape=(4, 4))
    assert found(missing, unused) == dict(zip(missing, unused, strict=True))


def test_fewer_layers_take_those_of_their_numbers():
    missing = specs(*(f"blocks.{i}.fc.weight" for i in range(3)), shape=(4, 4))
    unused = specs(*(f"enc/layer_{i}/fc/w" for i in range(40)), shape=(4, 4))
    assert found(missing, unused) == dict(zip(missing, list(unused)[:3], strict=True))


def test_each_of_many_is_found():
    count = 5000
    missing = specs(*(f"block{i}/attn/kernel" for i in range(count)))
    unused = specs(*(f"model.block{i}.attn.weight" for i in range(count)))
    assert found(missing, unused) == dict(zip(missing, unused, strict=True))


def test_very_many_of_which_no_two_are_alike_are_looked_at_in_bounds(monkeypatch):
    pairs = 0

    def counted(*sides):
        nonlocal pairs
        pairs += 1

    monkeypatch.setattr("warmstart.restore.resemblance.likely_by_shape_and_kind", counted)
    letters = ["".join(c) for c in zip("abcdefghijklm" * 300, "nopqrstuvwxyz" * 300, strict=True)]
    names = [f"{a}{b}/{b}{a}x{a}" for a, b in zip(letters, letters[7:], strict=False)]
    missing = specs(*(f"{name}{'x' * (i % 90)}/w" for i, name in enumerate(names)))
    unused = specs(*(f"{name}{'y' * (i % 90)}/w" for i, name in enumerate(names)))
    nearest(missing, unused)
    assert 0 < pairs <= len(missing) * 40


def test_one_tensor_is_not_suggested_for_many_by_its_last_word():
    assert found(specs("encoder/w", "decoder/w"), specs("head/w")) == {}


def test_no_tensor_is_suggested_twice():
    near = found(specs("a/w", "a/b", "c/w", shape=(3,)), specs("x/w", "x/b", shape=(3,)))
    assert len(set(near.values())) == len(near)


def test_nothing_is_looked_for_before_it_is_asked_for(monkeypatch):
    monkeypatch.setattr("warmstart.restore.near_misses.Side", None)
    near = Nearest(lambda: (specs("fc/kernel"), specs("fc.weight"), ()))
    with pytest.raises(TypeError):
        len(near)


def test_what_is_found_is_a_mapping():
    near = Nearest(lambda: (specs("fc/kernel", "x"), specs("fc.weight"), ()))
    assert (list(near), near["fc/kernel"].old, len(near)) == (["fc/kernel"], "fc.weight", 1)


def test_words_do_not_change_under_hostile_names():
    names = ["", "...", "///", "0", "w\n\x1b[2J", "ü" * 500, "9" * 400]
    assert found(specs(*names), specs(*(name + "!" for name in names))) is not None
    assert words("9" * 400) == ("9" * 400,)
