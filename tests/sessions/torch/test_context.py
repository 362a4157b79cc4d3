"""What is built inside `freeze_variables`, and what only looks as if it were."""

import copy
import pickle
import threading

import pytest
import torch
from torch import nn

import warmstart as ws


class Tied(nn.Module):
    """Uses the weight of a child in its own forward, as language models do."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 3)

    def forward(self, x):
        return nn.functional.linear(self.embedding(x), self.embedding.weight)


class Attention(nn.MultiheadAttention):
    """Attention of a sequence to itself."""

    def forward(self, x):
        return super().forward(x, x, x)[0]


BUILDERS = {
    "linear": (lambda: nn.Linear(4, 2), lambda: torch.randn(3, 4)),
    "nested": (lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)),
               lambda: torch.randn(3, 4)),
    "lstm": (lambda: nn.LSTM(4, 2, num_layers=2), lambda: torch.randn(3, 4)),
    "attention": (lambda: Attention(4, 2), lambda: torch.randn(3, 4)),
    "encoder": (lambda: nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0),
                lambda: torch.randn(3, 4)),
    "tied": (Tied, lambda: torch.arange(5)),
    "parametrized": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 2)),
                     lambda: torch.randn(3, 4)),
    "norm": (lambda: nn.BatchNorm1d(4), lambda: torch.randn(3, 4)),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(3), nn.LazyLinear(2)), lambda: torch.randn(3, 4)),
}  # fmt: skip


@pytest.fixture(params=BUILDERS)
def build(request):
    """A function that builds a module, and one that makes an input for it."""
    return BUILDERS[request.param]


def first(output):
    """Return the output, of several the first."""
    return output[0] if isinstance(output, tuple) else output


def test_stop_gradient_cuts_the_gradient_through_the_module_only(build):
    make, make_input = build
    plain = make()
    with ws.freeze_variables(stop_gradient=True):
        module = make()
    x = make_input()
    assert not first(module(x)).requires_grad
    assert first(plain(x)).requires_grad
    module.load_state_dict(plain.state_dict())
    assert torch.equal(first(module(x)), first(plain(x)))
    assert all(p.requires_grad for p in module.parameters())
    penalty = sum(p.pow(2).sum() for p in module.parameters())
    penalty.backward()
    assert all(p.grad is not None for p in module.parameters())


def test_the_gradient_of_the_input_passes():
    with ws.freeze_variables():
        module = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 2))
    x = torch.randn(3, 4, requires_grad=True)
    module(x).sum().backward()
    assert x.grad.abs().sum() > 0
    assert module[0].weight.grad is None


def test_skip_collection_makes_untrained_variables(build):
    make, make_input = build
    with ws.freeze_variables(stop_gradient=False, skip_collection=True):
        module = make()
    module(make_input())
    assert not any(p.requires_grad for p in module.parameters())
    roles = {spec.role for spec in ws.session_for(module).specs.values()}
    assert roles == {"model"}


def test_skip_collection_keeps_every_bit(make_optimizer, net, train, bits):
    with ws.freeze_variables(skip_collection=True):
        net.hidden = nn.Linear(4, 6)
    session = ws.session_for(net)
    before = bits(session, ["hidden.weight", "hidden.bias"])
    train(net, make_optimizer(p for p in net.parameters() if p.requires_grad))
    assert bits(session, ["hidden.weight", "hidden.bias"]) == before


def test_a_decaying_optimizer_moves_what_only_has_its_gradient_stopped():
    with ws.freeze_variables(stop_gradient=True):
        layer = nn.Linear(3, 1)
    before = layer.weight.detach().clone()
    (layer(torch.ones(2, 3)).sum() + layer.weight.pow(2).sum()).backward()
    torch.optim.SGD(layer.parameters(), lr=0.1).step()
    assert torch.allclose(layer.weight, before * 0.8)


def test_what_was_there_before_is_still_trained():
    outer = nn.Linear(3, 3)
    with ws.freeze_variables(stop_gradient=True, skip_collection=True):
        inner = nn.Linear(3, 3)
        inner.weight = outer.weight
        outer.extra = nn.Linear(3, 3)
        outer.weight = outer.weight
    assert outer.weight.requires_grad
    assert not inner.bias.requires_grad
    assert outer(torch.ones(1, 3)).requires_grad


def test_an_existing_parameter_brings_no_gradient_through_a_module_built_inside():
    outer = nn.Linear(3, 3, bias=False)
    with ws.freeze_variables():
        inner = nn.Linear(3, 3, bias=False)
        inner.weight = outer.weight
    assert not inner(torch.ones(1, 3)).requires_grad
    assert outer(torch.ones(1, 3)).requires_grad


def test_what_is_built_after_is_trained():
    with ws.freeze_variables(skip_collection=True):
        pass
    layer = nn.Linear(2, 2)
    assert layer.weight.requires_grad
    assert layer(torch.ones(1, 2)).requires_grad


def test_an_error_inside_ends_the_context():
    with pytest.raises(RuntimeError, match="inside"), ws.freeze_variables(skip_collection=True):
        raise RuntimeError("inside")
    assert nn.Linear(2, 2).weight.requires_grad


def test_modules_of_other_threads_are_trained():
    built = []
    with ws.freeze_variables(skip_collection=True):
        thread = threading.Thread(target=lambda: built.append(nn.Sequential(nn.Linear(2, 2))))
        thread.start()
        thread.join()
    assert built[0][0].weight.requires_grad
    assert built[0](torch.ones(1, 2)).requires_grad


def test_a_forward_that_fails_gives_the_parameters_back():
    with ws.freeze_variables():
        module = nn.Sequential(nn.Linear(3, 2), nn.Linear(3, 2))
    before = list(module.parameters())
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        module(torch.ones(1, 3))
    assert all(a is b for a, b in zip(module.parameters(), before, strict=True))


def test_parameters_are_themselves_again_after_each_call(build):
    make, make_input = build
    with ws.freeze_variables():
        module = make()
    before = list(module.parameters())
    module(make_input())
    assert all(a is b for a, b in zip(module.parameters(), before, strict=True))


class Recursive(nn.Module):
    """Calls itself in its forward."""

    def __init__(self):
        super().__init__()
        self.cell = nn.Linear(2, 2)

    def forward(self, x, depth=2):
        return self.cell(self(x, depth - 1) if depth else x)


def test_a_module_may_run_inside_itself():
    with ws.freeze_variables():
        module = Recursive()
    weight = module.cell.weight
    assert not module(torch.ones(1, 2)).requires_grad
    assert module.cell.weight is weight


@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_has_its_gradient_stopped_too(twin_of):
    with ws.freeze_variables():
        module = nn.Sequential(nn.Linear(2, 2))
    twin = twin_of(module)
    assert not twin(torch.ones(1, 2)).requires_grad
    assert twin[0].weight.requires_grad


def test_second_derivatives_do_not_reach_the_parameters():
    with ws.freeze_variables():
        module = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1))
    x = torch.ones(1, 2, requires_grad=True)
    (slope,) = torch.autograd.grad(module(x).sum(), x, create_graph=True)
    slope.pow(2).sum().backward()
    assert all(p.grad is None for p in module.parameters())
