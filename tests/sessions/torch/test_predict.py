"""Inference equals the module's own in evaluation mode, and leaves no trace."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

import warmstart as ws


def predictor(module, inputs=None, outputs=None):
    """Return the predictor of *module*."""
    return ws.session_for(module).predictor(inputs, outputs)


def test_it_equals_the_module_in_evaluation_mode():
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    x = torch.randn(5, 3)
    before = {name: t.clone() for name, t in module.state_dict().items()}
    (found,) = predictor(module)(x.numpy())
    assert all(torch.equal(t, before[name]) for name, t in module.state_dict().items())
    assert module.training
    assert all(layer.training for layer in module)
    assert np.array_equal(found, module.eval()(x).detach().numpy())


def test_every_layer_goes_back_to_its_own_mode():
    module = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout()))
    module[1].eval()
    modes = [layer.training for layer in module.modules()]
    with pytest.raises(TypeError):
        predictor(module)("no array")
    assert [layer.training for layer in module.modules()] == modes
    module.eval()
    predictor(module)(np.ones(2, np.float32))
    assert not any(layer.training for layer in module.modules())


class Merging(nn.Module):
    """Does something of its own when its mode changes, as adapters do that merge weights."""

    def __init__(self):
        super().__init__()
        self.factor = 1

    def train(self, mode=True):
        self.factor = 1 if mode else 10
        return super().train(mode)

    def forward(self, x):
        return x * self.factor


def test_a_module_with_a_train_method_of_its_own_is_asked():
    module = Merging()
    (found,) = predictor(module)(np.ones(2, np.float32))
    assert found.tolist() == [10, 10]
    assert module.factor == 1


class Pair(NamedTuple):
    total: torch.Tensor
    parts: list


class Outputs(nn.Module):
    """Returns the kind of output that it was made for."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, a, b):
        outputs = {"total": a + b, "parts": [a, (b, 3)]}
        return self.kind(outputs)


INPUTS = (np.float32([1]), np.float32([2]))


@pytest.mark.parametrize("kind", [dict, lambda o: Pair(**o), lambda o: tuple(o.values())])
def test_nested_outputs_are_a_flat_list(kind):
    found = predictor(Outputs(kind))(*INPUTS)
    assert [array.tolist() for array in found] == [[3], [1], [2], 3]


@pytest.mark.parametrize("kind", [dict, lambda o: Pair(**o)])
def test_inputs_and_outputs_by_name(kind):
    predict = predictor(Outputs(kind), ["b", "a"], ["parts"])
    assert [array.tolist() for array in predict(*INPUTS)] == [[2], [1], 3]


def test_what_cannot_be_named_is_refused():
    with pytest.raises(TypeError, match="the inputs are a, b; 1 given"):
        predictor(Outputs(dict), ["a", "b"])(INPUTS[0])
    with pytest.raises(ValueError, match="returns no mean, std; it returns total, parts"):
        predictor(Outputs(dict), None, ["mean", "total", "std"])(*INPUTS)
    with pytest.raises(ValueError, match=r"total were asked for by name.*returns a tuple"):
        predictor(Outputs(lambda o: tuple(o.values())), None, ["total"])(*INPUTS)


def test_an_output_is_an_array_of_its_own():
    module = nn.Linear(2, 2)
    module.forward = lambda x: module.weight
    (found,) = predictor(module)(np.zeros(2))
    nn.init.zeros_(module.weight)
    assert found.any()
