"""What is frozen of a moving average keeps its bits when the average is updated."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import warmstart as ws


@pytest.fixture
def net():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


@pytest.fixture(params=["swa", "ema"])
def average(request, net):
    options = {"multi_avg_fn": get_ema_multi_avg_fn(0.9)} if request.param == "ema" else {}
    return AveragedModel(net, use_buffers=True, **options)


def train(net, average, steps=3):
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        net(torch.randn(8, 3)).square().sum().backward()
        optimizer.step()
        average.update_parameters(net)


def moved(average, before):
    now = average.state_dict()
    return {name for name in before if not torch.equal(before[name], now[name])}


def state(average):
    return {name: value.clone() for name, value in average.state_dict().items()}


def test_frozen_parts_of_an_average_stay(net, average):
    train(net, average)
    frozen = ws.freeze(average, ["module.0.*", "module.1.*"])
    before = state(average)
    train(net, average)
    assert moved(average, before) == {"module.2.weight", "module.2.bias", "n_averaged"}
    frozen.verify()
    frozen.thaw()
    train(net, average)
    assert moved(average, before) >= {"module.0.weight", "module.1.weight", "module.1.running_mean"}


def test_rows_of_an_average_stay(net, average):
    frozen = ws.freeze(average, {"module.0.weight": np.s_[:2]})
    before = state(average)["module.0.weight"]
    train(net, average)
    assert (state(average)["module.0.weight"] != before)[2:].all()
    frozen.verify()


def test_the_average_of_what_is_frozen_stays(net, average):
    train(net, average)
    average = AveragedModel(net)
    ws.freeze(net, ["0.*", "1.*"])
    before = state(average)
    train(net, average)
    assert moved(average, before) == {"module.2.weight", "module.2.bias", "n_averaged"}


def test_two_freezings_of_an_average_are_independent(net, average):
    first, second = ws.freeze(average, "module.0.*"), ws.freeze(average, "module.2.*")
    first.thaw()
    before = state(average)
    train(net, average)
    assert {"module.0.weight"} <= moved(average, before)
    second.verify()
    second.thaw()
    assert "update_parameters" not in vars(average)


def test_a_copy_of_a_frozen_average_is_free(net, average):
    frozen = ws.freeze(average, "module.0.*")
    twin = copy.deepcopy(average)
    before = state(twin)
    train(net, twin)
    assert "module.0.weight" in moved(twin, before)
    frozen.verify()


def test_an_update_that_fails_leaves_what_is_held(net, average, monkeypatch):
    frozen = ws.freeze(average, "module.0.*")

    def fail(layer, model):
        with torch.no_grad():
            layer.module[0].weight += 1
        raise RuntimeError("the update failed")

    monkeypatch.setattr(AveragedModel, "update_parameters", fail)
    with pytest.raises(RuntimeError, match="the update failed"):
        average.update_parameters(net)
    frozen.verify()
