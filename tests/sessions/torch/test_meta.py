"""Modules on the meta device: memory comes once, with the values."""

import copy
import weakref

import numpy as np
import pytest
import torch
from torch import nn

import warmstart as ws


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
        self.head = nn.Linear(3, 2)


def on_meta(make=Net):
    with torch.device("meta"):
        return make()


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


def arrays_of(module):
    return {name: value.numpy().copy() for name, value in module.state_dict().items()}


def test_a_plan_allocates_nothing(net):
    module = on_meta()
    plan = ws.DictRestore(arrays_of(net)).plan(module)
    assert len(plan.matches) == len(net.state_dict())
    assert all(tensor.is_meta for tensor in module.state_dict(keep_vars=True).values())


def test_each_variable_gets_its_values_and_stays_the_object_it_is(net):
    module = on_meta()
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
    before = [id(p) for p in module.parameters()]
    report = ws.DictRestore(arrays_of(net)).init(ws.session_for(module, optimizer=optimizer))
    assert report.initialized == ()
    assert [id(p) for p in module.parameters()] == before
    assert all(torch.equal(a, b) for a, b in zip(
        module.state_dict().values(), net.state_dict().values(), strict=True
    ))  # fmt: skip
    assert all(p.requires_grad and isinstance(p, nn.Parameter) for p in module.parameters())
    expected = torch.optim.AdamW(net.parameters(), lr=0.1)
    for model, steps in ((module, optimizer), (net, expected)):
        loss = model.head(model.body(torch.arange(20.0).reshape(5, 4))).square().sum()
        loss.backward()
        steps.step()
    assert torch.equal(module.head.weight, net.head.weight)


def test_slots_are_restored_beside_their_variables(net):
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    net.head(net.body(torch.rand(5, 4))).sum().backward()
    optimizer.step()
    session = ws.session_for(net, optimizer=optimizer)
    saved = dict(sorted(session.read_all().items(), reverse=True))  # slots come first
    module = on_meta()
    other = torch.optim.AdamW(module.parameters(), lr=0.1)
    ws.DictRestore(saved).init(ws.session_for(module, optimizer=other))
    slot = other.state[module.head.weight]["exp_avg"]
    assert torch.equal(slot, optimizer.state[net.head.weight]["exp_avg"])


def test_what_is_not_loaded_is_initialised_by_its_layer(net):
    arrays = arrays_of(net)
    kept = {name: array for name, array in arrays.items() if not name.startswith("head.")}
    del kept["body.1.running_var"]
    module = on_meta()
    torch.manual_seed(3)
    report = ws.DictRestore(kept).init(module)
    assert set(report.initialized) == {"head.weight", "head.bias", "body.1.running_var"}
    assert module.body[1].running_var.tolist() == [1, 1, 1]
    assert np.array_equal(module.body[1].weight.detach(), arrays["body.1.weight"])
    assert np.array_equal(module.body[1].running_mean, arrays["body.1.running_mean"])
    assert 0 < module.head.weight.abs().max() <= 3**-0.5


def test_a_layer_that_is_loaded_in_part_keeps_that_part(net):
    arrays = arrays_of(net)
    arrays["head.weight"][:] = 7
    del arrays["head.bias"]
    module = on_meta()
    assert ws.DictRestore(arrays).init(module).initialized == ("head.bias",)
    assert torch.equal(module.head.weight, torch.full((2, 3), 7.0))
    assert torch.isfinite(module.head.bias).all()


def test_nothing_loaded_is_all_initialised():
    module = on_meta()
    torch.manual_seed(0)
    assert len(ws.SmartInit(None).init(module).initialized) == len(module.state_dict())
    assert not any(tensor.is_meta for tensor in module.state_dict().values())


def test_attention_draws_its_values_under_another_name():
    module = on_meta(lambda: nn.MultiheadAttention(4, 2))
    ws.SmartInit(None).init(module)
    assert 0 < module.in_proj_weight.abs().max() < 1
    assert module.in_proj_bias.tolist() == [0] * 12


def test_tied_parameters_stay_tied(net):
    def tied():
        module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
        module[1].weight = module[0].weight
        return module

    module = on_meta(tied)
    ws.DictRestore({"0.weight": np.eye(3), "0.bias": np.ones(3), "1.bias": np.ones(3)}).init(module)
    assert module[0].weight is module[1].weight
    assert torch.equal(module[1].weight, torch.eye(3))


def test_what_was_frozen_stays_so():
    module = on_meta()
    module.head.weight.requires_grad_(False)
    module.head.weight.note = "mine"
    ws.SmartInit(None).init(module)
    assert not module.head.weight.requires_grad
    assert module.head.weight.note == "mine"


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))
        self.linear = nn.Linear(2, 2)
        self.register_buffer("table", torch.arange(3), persistent=False)


def test_what_nothing_initialises_is_refused_before_anything_is_allocated():
    module = on_meta(Odd)
    arrays = {"linear.weight": np.eye(2), "linear.bias": np.ones(2)}
    with pytest.raises(ws.RestoreError) as error:
        ws.DictRestore(arrays).init(module)
    assert str(error.value).splitlines() == [
        "the module is on the meta device, and these would have no values:",
        "  scale: not loaded, and its layer has no reset_parameters",
        "  table: a buffer that no state_dict has, made by its layer",
        "Load them, build their layers outside of torch.device('meta'), or give the module memory "
        "and values first: module.to_empty(device='cpu').",
    ]
    assert module.linear.weight.is_meta


def test_buffers_without_a_name_may_be_built_elsewhere():
    module = on_meta(Odd)
    module.table = torch.arange(3)
    ws.DictRestore({"scale": np.zeros(2)}).init(module)
    assert module.scale.tolist() == [0, 0]


def test_the_default_device_is_where_memory_comes_from(monkeypatch):
    module = on_meta()
    with torch.device("meta"):  # still inside of the block where the module was built
        ws.SmartInit(None).init(module)
    assert {p.device.type for p in module.parameters()} == {"cpu"}


def test_what_something_holds_weakly_cannot_be_given_memory():
    module = on_meta()
    held = weakref.ref(module.head.weight)
    with pytest.raises(
        ws.RestoreError, match=r"\(2, 3\) on the meta device cannot be given memory"
    ):
        ws.SmartInit(None).init(module)
    assert held() is module.head.weight


def test_a_module_with_memory_is_left_alone(net):
    before = copy.deepcopy(net.state_dict())
    assert ws.SmartInit(None).init(net).initialized == ()
    assert all(torch.equal(a, b) for a, b in zip(
        before.values(), net.state_dict().values(), strict=True
    ))  # fmt: skip
