"""The state of optimizers by the names of variables, before and after their first step."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import warmstart as ws
from warmstart.testing.data import through_a_checkpoint


def batch_step(module, optimizer, x):
    """Take one step on *x* in a user's own loop."""

    def closure():
        optimizer.zero_grad()
        loss = module(x).pow(2).mean()
        loss.backward()
        return loss

    optimizer.step(closure)


@pytest.fixture
def mlp():
    """A module without random numbers of its own."""
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def test_slots_are_named_after_their_variable(mlp):
    optimizer = torch.optim.AdamW(mlp.parameters())
    session = ws.session_for(mlp, optimizer=optimizer)
    assert not [name for name, spec in session.specs.items() if spec.role == "slot"]
    batch_step(mlp, optimizer, torch.ones(2, 3))
    slots = {name: spec for name, spec in session.specs.items() if spec.role == "slot"}
    assert len(slots) == 12
    assert str(slots["0.weight/exp_avg"]) == "float32 (4, 3)"
    assert str(slots["0.weight/step"]) == "float32 ()"
    moment = optimizer.state[mlp[0].weight]["exp_avg"]
    assert np.shares_memory(session.read("0.weight/exp_avg"), moment.numpy())
    session.assign([("0.weight/exp_avg", np.ones((4, 3), np.float32))])
    assert moment.eq(1).all()


def carry_over(source, target):
    """Give *target* all that *source* has, as a resume does."""
    missing = source.specs.keys() - target.specs.keys()
    creatable = target.creatable(source.specs)
    assert set(creatable) >= missing
    assert all(creatable[name] == source.specs[name] for name in missing)
    target.assign((name, source.read(name)) for name in source.specs)
    target.load_state(through_a_checkpoint(source.state()))


def test_a_fresh_optimizer_goes_on_as_the_old_one(mlp, make_optimizer):
    x = torch.randn(5, 3)
    optimizer = make_optimizer(mlp.parameters())
    for _ in range(3):
        batch_step(mlp, optimizer, x)
    other = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    fresh = make_optimizer(other.parameters())
    old, new = ws.session_for(mlp, optimizer=optimizer), ws.session_for(other, optimizer=fresh)
    carry_over(old, new)
    for _ in range(3):
        batch_step(mlp, optimizer, x)
        batch_step(other, fresh, x)
    assert list(old.specs) == list(new.specs)
    assert all(old.read(n).tobytes() == new.read(n).tobytes() for n in old.specs)
    devices = [
        [(k, v.device) for k, v in state.items() if isinstance(v, torch.Tensor)]
        for state in fresh.state.values()
    ]
    assert all(str(device) == "cpu" for entries in devices for _, device in entries)


BUILT_IN = [
    name for name in torch.optim.__all__
    if isinstance(getattr(torch.optim, name, None), type) and name not in ("Optimizer", "LBFGS")
]  # fmt: skip


@pytest.mark.parametrize("name", [n for n in BUILT_IN if n not in ("SparseAdam", "Muon")])
def test_every_optimizer_of_torch_tells_its_slots_before_its_first_step(mlp, name):
    kind = getattr(torch.optim, name)
    optimizer = kind(mlp.parameters(), lr=0.01)
    batch_step(mlp, optimizer, torch.randn(5, 3))
    other = copy.deepcopy(mlp)
    before = [p.clone() for p in other.parameters()]
    fresh = kind(other.parameters(), lr=0.01)
    carry_over(ws.session_for(mlp, optimizer=optimizer), ws.session_for(other, optimizer=fresh))
    assert all(torch.equal(a, b) for a, b in zip(before, other.parameters(), strict=True))


def test_sparse_adam_and_muon_tell_theirs_too():
    for kind, layer in ((torch.optim.SparseAdam, nn.Embedding(4, 3, sparse=True)),
                        (torch.optim.Muon, nn.Embedding(4, 3))):  # fmt: skip
        other = copy.deepcopy(layer)
        optimizer, fresh = kind(layer.parameters(), lr=0.1), kind(other.parameters(), lr=0.1)
        batch_step(layer, optimizer, torch.arange(3))
        carry_over(
            ws.session_for(layer, optimizer=optimizer), ws.session_for(other, optimizer=fresh)
        )
        assert fresh.state[other.weight].keys() == optimizer.state[layer.weight].keys()


def test_a_number_beside_the_slots_is_made_with_them():
    layer = nn.Embedding(4, 3, sparse=True)
    optimizer = torch.optim.SparseAdam(layer.parameters())
    session = ws.session_for(layer, optimizer=optimizer)
    session.assign((f"weight/{k}", np.ones((4, 3), np.float32)) for k in ("exp_avg", "exp_avg_sq"))
    assert optimizer.state[layer.weight]["step"] == 1


def test_half_a_state_is_not_creatable(mlp):
    optimizer = torch.optim.Adam(mlp.parameters())
    session = ws.session_for(mlp, optimizer=optimizer)
    exp_avg = ws.TensorSpec("0.weight/exp_avg", "float32", (4, 3), "slot")
    other = ws.TensorSpec("0.weight/momentum_buffer", "float32", (4, 3), "slot")
    assert not session.creatable({spec.name: spec for spec in (exp_avg, other)})
    assert not optimizer.state


def test_slots_of_another_optimizer_are_not_creatable(mlp):
    adam = torch.optim.Adam(mlp.parameters())
    batch_step(mlp, adam, torch.ones(1, 3))
    source = ws.session_for(mlp, optimizer=adam)
    plain = ws.session_for(mlp, optimizer=torch.optim.SGD(mlp.parameters(), lr=0.1))
    assert not plain.creatable(source.specs)


def test_a_slot_of_another_shape_is_what_the_optimizer_would_make(mlp):
    session = ws.session_for(mlp, optimizer=torch.optim.SGD(mlp.parameters(), momentum=0.9))
    small = ws.TensorSpec("0.weight/momentum_buffer", "float64", (1, 1), "slot")
    found = session.creatable({small.name: small})
    assert str(found[small.name]) == "float32 (4, 3)"


def test_slots_of_a_layer_outside_the_optimizer_are_not_creatable(mlp):
    session = ws.session_for(mlp, optimizer=torch.optim.SGD([mlp[0].weight], momentum=0.9))
    names = ["0.bias/momentum_buffer", "nothing/momentum_buffer", "0.weight", "momentum_buffer"]
    assert not session.creatable({n: ws.TensorSpec(n, "float32", (4,), None) for n in names})


def test_the_slot_of_a_tied_weight_belongs_to_its_first_name(mlp):
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    net[1].weight.data = net[0].weight.data
    optimizer = torch.optim.SGD([net[1].weight], lr=0.1, momentum=0.9)
    batch_step(net, optimizer, torch.ones(1, 3))
    session = ws.session_for(net, optimizer=optimizer)
    buffer = optimizer.state[net[1].weight]["momentum_buffer"]
    assert np.array_equal(session.read("0.weight/momentum_buffer"), buffer.numpy())


def test_slots_follow_a_replaced_layer(mlp):
    optimizer = torch.optim.SGD(mlp.parameters(), lr=0.1, momentum=0.9)
    batch_step(mlp, optimizer, torch.ones(1, 3))
    session = ws.session_for(mlp, optimizer=optimizer)
    session.read("2.weight/momentum_buffer")
    mlp[2] = nn.Linear(4, 2)
    with pytest.raises(ws.CheckpointError, match=r"no tensor '2.weight/momentum_buffer'"):
        session.read("2.weight/momentum_buffer")


def test_a_slot_that_no_step_would_make_is_refused(mlp):
    optimizer = torch.optim.Adam(mlp.parameters())
    session = ws.session_for(mlp, optimizer=optimizer)
    with pytest.raises(ws.CheckpointError, match=r"no tensor '0.weight/velocity'"):
        session.assign([("0.weight/velocity", np.zeros((4, 3), np.float32))])
    with pytest.raises(ws.RestoreMismatch, match=r"'0.weight/exp_avg' is float32 \(4, 3\); it can"):
        session.assign([("0.weight/exp_avg", np.float32(0)[None])])


def test_two_parameters_on_one_memory_cannot_both_be_resumed(mlp):
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    net[1].weight.data = net[0].weight.data
    session = ws.session_for(net, optimizer=torch.optim.SGD(net.parameters(), lr=0.1))
    assert "1 of its parameters" in session.unresumable()["optimizer"]
