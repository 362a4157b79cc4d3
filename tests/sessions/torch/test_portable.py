"""What optimizers and schedulers keep, through a run state and back."""

from collections import Counter, OrderedDict, deque

import numpy as np
import pytest
import torch

import warmstart as ws
from warmstart.sessions.torch.portable import pack, part, unpack
from warmstart.testing.data import through_a_checkpoint

VALUES = {
    "numbers": {"a": 1, "b": 0.1, "c": True, "d": None, "e": "text", "f": float("inf")},
    "nested": {"a": [1, (2, [3])], "b": {"c": ()}},
    "other keys": {30: 1, "x": {(1, 2): 3}, None: 4},
    "reserved keys": {"$dict": 1, "#array": 2},
    "counter": Counter({30: 2, 80: 1}),
    "deque": deque([1, 2], 3),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_values_come_back_with_their_types(value):
    found = unpack(through_a_checkpoint({"value": pack(value, "it")})["value"])
    assert (found, type(found)) == (value, type(value))


def test_a_deque_keeps_its_length():
    assert unpack(pack(deque([1, 2], 3), "it")).maxlen == 3


def test_tensors_come_back_as_tensors_bit_for_bit():
    value = [torch.tensor([1.5, -0.0]), {"x": torch.ones(2, dtype=torch.bfloat16)}]
    found = unpack(through_a_checkpoint({"value": pack(value, "it")})["value"])
    assert found[1]["x"].dtype is torch.bfloat16
    assert torch.equal(found[0].view(torch.int32), value[0].view(torch.int32))


def test_an_array_packed_is_a_copy():
    tensor = torch.zeros(2)
    packed = pack(tensor, "it")
    tensor.add_(1)
    assert packed.tolist() == [0, 0]


def test_numbers_of_numpy_and_ordered_dicts_become_plain():
    assert pack({"lr": np.float32(0.5), "o": OrderedDict(a=1)}, "it") == {"lr": 0.5, "o": {"a": 1}}


def test_anything_else_is_refused_by_its_place():
    with pytest.raises(ws.CannotHold, match=r"options\['f'\]\[1\] is a function, which"):
        pack({"f": [1, lambda: 0]}, "options")


def test_a_part_of_another_kind_is_refused():
    with pytest.raises(ws.ResumeError, match=r"state of x has a int for 'a'; expected a list"):
        part({"a": 3}, "a", list, "x")
    with pytest.raises(ws.ResumeError, match=r"state of x has a NoneType for 'a'; expected a dict"):
        part({}, "a", dict, "x")
