"""The session on a module: names, roles, ties, assignment in place."""

import logging

import numpy as np
import pytest
import torch
from torch import nn

import warmstart as ws
from warmstart.errors import CheckpointError, NoSuchTensor


def filled(session, value=1):
    """Return a value of every variable that differs from what a layer begins with."""
    return {n: np.full(s.shape, value, s.numpy_dtype) for n, s in session.specs.items()}


def test_variables_are_those_of_state_dict_with_roles(net):
    net.register_buffer("scratch", torch.zeros(2), persistent=False)
    net.head.bias.requires_grad = False
    specs = ws.session_for(net).specs
    assert list(specs) == list(net.state_dict())
    assert str(specs["hidden.weight"]) == "float32 (6, 4)"
    roles = {name: specs[name].role for name in ("hidden.weight", "head.bias", "norm.running_mean")}
    assert list(roles.values()) == ["trainable", "model", "model"]


def test_every_variable_is_read_and_assigned_in_place(net):
    session = ws.session_for(net)
    held = {name: tensor.data_ptr() for name, tensor in net.state_dict().items()}
    session.assign(filled(session).items())
    assert all(tensor.eq(1).all() for tensor in net.state_dict().values())
    assert {name: t.data_ptr() for name, t in net.state_dict().items()} == held
    assert all((session.read(name) == 1).all() for name in session.specs)
    assert all(p.requires_grad for p in net.parameters())


def test_a_tied_weight_is_one_variable_with_aliases():
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    net[2].weight = net[0].weight
    session = ws.session_for(net)
    assert list(session.specs) == ["0.weight", "0.bias", "2.bias"]
    assert session.aliases == {"2.weight": "0.weight"}
    session.assign([("2.weight", np.eye(3, dtype=np.float32))])
    assert torch.equal(net[0].weight, torch.eye(3))
    assert np.array_equal(session.read("2.weight"), session.read("0.weight"))


def test_a_module_in_two_places_is_saved_once():
    inner = nn.Linear(2, 2)
    session = ws.session_for(nn.ModuleList([inner, inner]))
    assert list(session.specs) == ["0.weight", "0.bias"]
    assert session.aliases == {"1.weight": "0.weight", "1.bias": "0.bias"}


def test_parameters_on_one_memory_are_one_variable():
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    net[1].weight.data = net[0].weight.data
    net[0].weight.requires_grad = False
    session = ws.session_for(net)
    assert session.aliases == {"1.weight": "0.weight"}
    assert session.specs["0.weight"].role == "trainable"


def test_empty_and_overlapping_tensors_are_variables_of_their_own():
    net = nn.Module()
    net.whole = nn.Parameter(torch.arange(4.0))
    net.part = nn.Parameter(net.whole.data[:2])
    net.empty = nn.Parameter(torch.zeros(0))
    net.void = nn.Parameter(torch.zeros(0))
    session = ws.session_for(net)
    assert list(session.specs) == ["whole", "part", "empty", "void"]
    assert not session.aliases


def test_a_layer_replaced_later_is_seen(net):
    session = ws.session_for(net)
    session.read("head.weight")
    net.head = nn.Linear(6, 3)
    assert np.shares_memory(session.read("head.weight"), net.head.weight.detach().numpy())
    assert session.specs["head.weight"].shape == (3, 6)
    del net.head
    with pytest.raises(NoSuchTensor, match=r"no tensor 'head.weight'"):
        session.read("head.weight")


def test_an_unknown_name_is_refused_with_near_ones(net):
    session = ws.session_for(net)
    with pytest.raises(NoSuchTensor, match=r"no tensor 'head.wieght'.*'head.weight'"):
        session.read("head.wieght")
    with pytest.raises(NoSuchTensor, match=r"no tensor 'nothing'"):
        session.assign([("nothing", np.zeros(2))])


def test_a_buffer_that_is_not_saved_is_no_variable(net):
    net.register_buffer("scratch", torch.zeros(2), persistent=False)
    session = ws.session_for(net)
    with pytest.raises(NoSuchTensor, match="no tensor 'scratch'"):
        session.read("scratch")


def test_names_of_wrappers_stay(net):
    session = ws.session_for(nn.DataParallel(net))
    assert "module.head.weight" in session.specs


def test_a_hook_that_renames_keys_is_followed():
    inner = nn.Linear(2, 2)
    outer = nn.Sequential(inner)

    def rename(module, state, prefix, metadata):
        for name in list(state):
            state[name.removeprefix("0.")] = state.pop(name)

    outer._register_state_dict_hook(rename)
    session = ws.session_for(outer)
    session.assign([("bias", np.ones(2, np.float32))])
    assert inner.bias.tolist() == [1, 1]
    assert session.read("bias").tolist() == [1, 1]


def test_lazy_parameters_get_their_shape_by_assignment(caplog):
    net = nn.Sequential(nn.LazyLinear(2))
    session = ws.session_for(net)
    weight = net[0].weight
    assert not session.specs
    assert not session.specs
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert "no shape is known yet of 0.bias, 0.weight" in caplog.text
    with pytest.raises(CheckpointError, match=r"'0.weight' has no shape yet"):
        session.read("0.weight")
    assert session.unresumable()["0.bias"] == "it has no shape before the first batch"
    source = ws.session_for(nn.Sequential(nn.Linear(3, 2)))
    assert session.creatable(source.specs) == source.specs
    session.assign((name, source.read(name)) for name in source.specs)
    assert net[0].weight is weight
    assert net(torch.ones(1, 3)).shape == (1, 2)
    assert np.array_equal(session.read("0.weight"), source.read("0.weight"))


def test_a_module_on_the_meta_device_has_no_values_until_they_are_assigned():
    session = ws.session_for(nn.Linear(2, 2, device="meta"))
    assert session.specs["weight"].shape == (2, 2)
    with pytest.raises(CheckpointError, match="'weight' is on the meta device"):
        session.read("weight")
    session.assign([("weight", np.zeros((2, 2), np.float32))])
    assert session.read("weight").tolist() == [[0, 0], [0, 0]]


def test_only_modules_have_this_session():
    from warmstart.sessions import torch as engine

    assert engine.session_for(object()) is None
    with pytest.raises(TypeError, match="a PyTorch module takes no option depth"):
        engine.session_for(nn.Linear(1, 1), depth=3)
    with pytest.raises(TypeError, match=r"the optimizer is a list; expected a torch.optim"):
        engine.session_for(nn.Linear(1, 1), optimizer=[])


@pytest.mark.parametrize("name", ["run.npz", "run.safetensors", "run"])
def test_a_saved_session_says_roles_and_ties(net, train, tmp_path, name):
    net.tied = nn.Linear(6, 6)
    net.tied.weight = net.old_spectral.weight_orig
    optimizer = torch.optim.AdamW(net.parameters())
    session = ws.session_for(net, optimizer=optimizer)
    train(net, optimizer)
    ws.save_vars(session, tmp_path / name)
    with ws.open(tmp_path / name) as source:
        assert dict(source.specs) == dict(session.specs)
        assert dict(source.aliases) == dict(session.aliases)
        assert all(source.read(n).tobytes() == session.read(n).tobytes() for n in session.specs)


def test_specs_asked_one_by_one_do_not_look_through_the_model(net, train, monkeypatch):
    optimizer = torch.optim.Adam(net.parameters())
    net.tied = nn.Linear(4, 6)
    net.tied.weight = net.hidden.weight
    train(net, optimizer)
    session = ws.session_for(net, optimizer=optimizer)
    names = list(session.specs)
    monkeypatch.setattr(net, "state_dict", None)
    assert {name: session.specs[name].name for name in names} == {name: name for name in names}
    assert "tied.weight" not in session.specs
    assert session.aliases["tied.weight"] == "hidden.weight"
    assert all(session.aliases.get(name, name) == name for name in names)
    assert session.read("tied.weight") is not None


def test_specs_kept_are_those_of_one_moment(net):
    specs = ws.session_for(net).specs
    assert len(specs) == len(net.state_dict())
    net.head = None
    assert "head.weight" in specs
    assert repr(specs).startswith("{'embedding.weight': TensorSpec(")


def test_a_spec_seen_before_follows_the_tensor(net):
    session = ws.session_for(net)
    assert session.specs["head.bias"].dtype == "float32"
    assert session.specs["head.bias"].role == "trainable"
    net.bfloat16()
    net.head.bias.requires_grad = False
    assert str(session.specs["head.bias"]) == "bfloat16 (2,)"
    assert session.specs["head.bias"].role == "model"
    net.head = nn.Linear(6, 3)
    assert session.specs["head.bias"].shape == (3,)
    assert session.aliases == {}


def test_all_that_no_checkpoint_can_hold_is_named_at_once():
    net = nn.Linear(2, 2)
    net.sparse = nn.Parameter(torch.eye(2).to_sparse())
    net.register_buffer("packed", torch.empty(2, dtype=torch.bits8))
    with pytest.raises(ws.UnsupportedCheckpoint) as caught:
        dict(ws.session_for(net).specs)
    assert str(caught.value).splitlines() == [
        "'sparse' is a Parameter of layout torch.sparse_coo; only dense tensors can be read",
        "'packed' is torch.bits8, which no checkpoint holds",
    ]
