"""Restoring into PyTorch modules: each way, with its values, report and warnings."""

import logging

import numpy as np
import pytest
import torch
from torch import nn

import warmstart as ws
from warmstart.errors import NameConflict, RestoreMismatch, RuleError


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 4))


def arrays_of(module):
    return {name: value.detach().numpy().copy() for name, value in module.state_dict().items()}


def trained(steps=3):
    """Return a network after a few steps of AdamW, and its optimizer."""
    module = network()
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        module(torch.randn(8, 3)).square().sum().backward()
        optimizer.step()
    return module, optimizer


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.fixture
def checkpoint(tmp_path):
    module, optimizer = trained()
    ws.save_vars(ws.session_for(module, optimizer=optimizer), tmp_path / "base.npz")
    return tmp_path / "base.npz"


@pytest.fixture
def warnings(caplog):
    caplog.set_level(logging.WARNING, "warmstart")
    return lambda: caplog.messages


def test_a_checkpoint_fills_the_module(checkpoint, warnings):
    module = network()
    report = ws.SmartInit(checkpoint).init(module)
    assert same(module.state_dict().values(), trained()[0].state_dict().values())
    assert set(report.loaded) == set(module.state_dict())
    assert warnings() == []


def test_slots_are_created_and_training_goes_on_alike(checkpoint):
    module = network()
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
    ws.SmartInit(checkpoint).init(ws.session_for(module, optimizer=optimizer))
    other, other_optimizer = trained()
    for net, opt in ((module, optimizer), (other, other_optimizer)):
        torch.manual_seed(1)
        opt.zero_grad()
        net(torch.randn(8, 3)).square().sum().backward()
        opt.step()
    assert same(module.state_dict().values(), other.state_dict().values())


def test_none_changes_nothing(warnings):
    module = network()
    report = ws.SmartInit(None).init(module)
    assert same(module.state_dict().values(), network().state_dict().values())
    assert (report.loaded, warnings()) == ((), [])


def test_names_with_an_output_number():
    module = nn.Linear(2, 1)
    arrays = {"weight:0": np.ones((1, 2), np.float32), "bias:0": np.zeros(1, np.float32)}
    assert ws.DictRestore(arrays).init(module).loaded == ("weight", "bias")
    assert module.weight.tolist() == [[1, 1]]


def test_prefix_and_ignore(checkpoint):
    tower = nn.ModuleDict({"tower": network(), "head": nn.Linear(2, 2)})
    report = ws.SaverRestore(checkpoint, prefix="tower", ignore=["2.weight", "2.bias"]).init(tower)
    base = trained()[0]
    assert torch.equal(tower["tower"][0].weight, base[0].weight)
    assert set(report.missing) == {"head.weight", "head.bias"}
    assert {"2.weight", "2.bias"} <= set(report.dropped)


def test_a_chain(checkpoint):
    module = network()
    ones = {"2.bias": np.ones(4, np.float32)}
    report = ws.SmartInit([checkpoint, ones]).init(module)
    assert module[2].bias.tolist() == [1, 1, 1, 1]
    assert torch.equal(module[0].weight, trained()[0][0].weight)
    assert report.overridden == {"2.bias": (str(checkpoint),)}


def test_a_mismatch_assigns_nothing(checkpoint):
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 5))
    before = arrays_of(module)
    with pytest.raises(RestoreMismatch, match=r"2\.weight +model float32 \(5, 2\)"):
        ws.SmartInit(checkpoint).init(module)
    np.testing.assert_equal(arrays_of(module), before)


def test_an_ignored_mismatch_keeps_the_value(checkpoint, warnings):
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 5))
    optimizer = torch.optim.AdamW(module.parameters())
    before = module[2].weight.clone()
    session = ws.session_for(module, optimizer=optimizer)
    report = ws.SmartInit(checkpoint, ignore_mismatch=True).init(session)
    assert torch.equal(module[2].weight, before)
    assert set(report.mismatched) == {"2.weight", "2.bias"}
    assert module[2].weight not in optimizer.state
    assert module[0].weight in optimizer.state
    assert len(warnings()) == 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_floats_are_cast(dtype, checkpoint):
    module = network().to(dtype)
    report = ws.SmartInit(checkpoint).init(module)
    assert torch.equal(module[0].weight, trained()[0][0].weight.to(dtype))
    assert report.cast["0.weight"].startswith("float32 -> ")


def test_integers_do_not_become_floats():
    with pytest.raises(RestoreMismatch, match="Integers are only widened"):
        ws.DictRestore({"bias": np.zeros(1, int)}).init(nn.Linear(2, 1))


def test_rules(checkpoint, warnings):
    module = nn.ModuleDict({"enc": nn.Linear(3, 2)})
    rules = ["keep 0.*", ws.rename(r"0\.(.*)", r"enc.\1")]
    report = ws.SmartInit(checkpoint, rules=rules).init(module)
    assert torch.equal(module["enc"].weight, trained()[0][0].weight)
    assert report.renamed == {"enc.weight": "0.weight", "enc.bias": "0.bias"}
    assert warnings() == []


def test_a_rule_without_a_match_assigns_nothing(checkpoint):
    module = network()
    with pytest.raises(RuleError, match="drop fc"):
        ws.SmartInit(checkpoint, rules="drop fc.*").init(module)
    assert same(module.state_dict().values(), network().state_dict().values())


def test_both_one_sided_lists_are_warned_about(warnings):
    ws.DictRestore({"weight": np.ones((1, 2)), "extra": np.ones(1)}).init(nn.Linear(2, 1))
    assert [text.splitlines()[1] for text in warnings()] == ["  bias", "  extra"]


def test_load_edit_restore(checkpoint):
    module = network()
    variables = ws.load_vars(checkpoint)
    variables["0.weight"] *= 2
    ws.DictRestore(variables).init(module)
    assert torch.equal(module[0].weight, trained()[0][0].weight * 2)


def test_tied_weights_take_either_name():
    module = nn.ModuleDict({"emb": nn.Embedding(3, 2), "out": nn.Linear(2, 3, bias=False)})
    module["out"].weight = module["emb"].weight
    ones = np.ones((3, 2), np.float32)
    for arrays in ({"emb.weight": ones}, {"out.weight": ones * 2}, {"emb.weight": ones * 3}):
        ws.DictRestore(arrays).init(module)
        (array,) = arrays.values()
        assert module["emb"].weight.tolist() == array.tolist()
    ws.DictRestore(arrays_of(module)).init(module)
    with pytest.raises(NameConflict, match="differ"):
        ws.DictRestore({"emb.weight": ones, "out.weight": ones * 2}).init(module)


def test_warm_start(checkpoint):
    module = network()
    settings = ws.WarmStartSettings(
        checkpoint, ["0.weight", "1.running_mean", "2.bias"], None, {"2.bias": "2.bias"}
    )
    report = settings.init(module)
    base = trained()[0]
    assert set(report.loaded) == {"0.weight", "1.running_mean", "2.bias"}
    assert torch.equal(module[1].running_mean, base[1].running_mean)
    assert torch.equal(module[0].bias, network()[0].bias)


def test_warm_start_by_regex_takes_trainable_ones_only(checkpoint):
    report = ws.WarmStartSettings(checkpoint).init(network())
    assert set(report.loaded) == {name for name, _ in network().named_parameters()}
