"""Suggestions for names that were nearly equal."""

import pytest

from warmstart.restore.near_misses import nearest
from warmstart.spec import TensorSpec


def specs(*names, shape=(2,)):
    return {name: TensorSpec(name, "float32", shape) for name in names}


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
    assert nearest(specs(missing), specs(unused, "other/thing")) == {missing: unused}


def test_two_that_may_be_meant_are_none():
    assert nearest(specs("fc/w"), specs("a/fc/w", "b/fc/w")) == {}


def test_another_shape_is_not_meant():
    assert nearest(specs("fc/w"), specs("fc.weight", shape=(3,))) == {}


def test_nothing_alike():
    assert nearest(specs("fc/w"), specs("step")) == {}


def test_each_of_many_is_found():
    count = 5000
    missing = specs(*(f"block{i}/attn/kernel" for i in range(count)))
    unused = specs(*(f"model.block{i}.attn.weight" for i in range(count)))
    assert nearest(missing, unused) == dict(zip(missing, unused, strict=True))


def test_one_tensor_is_not_suggested_for_many_by_its_last_word():
    assert nearest(specs("encoder/w", "decoder/w"), specs("head/w")) == {}
