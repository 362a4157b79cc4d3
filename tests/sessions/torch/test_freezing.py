"""What is frozen keeps its bits in a user's own loop, under every optimizer."""

import copy
import gc
import pickle
import weakref

import pytest
import torch
from torch import nn

import warmstart as ws

EVERYTHING_BUT_HEAD = [
    "embedding.weight", "hidden.weight", "hidden.bias", "norm.weight", "norm.bias",
    "spectral.bias", "spectral.parametrizations.weight.original",
    "old_spectral.weight_orig", "old_spectral.bias",
]  # fmt: skip
THEIR_STATISTICS = [
    "norm.running_mean", "norm.running_var", "norm.num_batches_tracked",
    "spectral.parametrizations.weight.0._u", "spectral.parametrizations.weight.0._v",
    "old_spectral.weight_u", "old_spectral.weight_v",
]  # fmt: skip


@pytest.fixture(params=[True, False], ids=["to-none", "to-zero"])
def set_to_none(request):
    return request.param


def test_frozen_with_momentum_nothing_moves(net, make_optimizer, train, bits, set_to_none):
    optimizer = make_optimizer(net.parameters())
    session = ws.session_for(net, optimizer=optimizer)
    train(net, optimizer)
    freezing = session.freeze(EVERYTHING_BUT_HEAD)
    assert set(freezing.names) == {*EVERYTHING_BUT_HEAD, *THEIR_STATISTICS}
    before = bits(session)
    train(net, optimizer, set_to_none=set_to_none)
    after = bits(session)
    moved = {name for name in before if before[name] != after[name]}
    assert moved == {"head.weight", "head.bias"}


def test_without_a_freezing_all_of_it_moves(net, train, bits):
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    session = ws.session_for(net)
    before = bits(session)
    train(net, optimizer)
    after = bits(session)
    assert all(before[name] != after[name] for name in before)


def test_slots_stay_and_training_goes_on_after_a_thaw(net, make_optimizer, train, bits):
    optimizer = make_optimizer(net.parameters())
    session = ws.session_for(net, optimizer=optimizer)
    train(net, optimizer)
    slots = [name for name in session.specs if name.startswith("hidden.weight/")]
    freezing = session.freeze(["hidden.weight"])
    before = bits(session, [*slots, "hidden.weight"])
    train(net, optimizer)
    assert bits(session, [*slots, "hidden.weight"]) == before
    freezing.thaw()
    train(net, optimizer)
    assert bits(session, ["hidden.weight"])["hidden.weight"] != before["hidden.weight"]


def test_a_thawed_layer_trains_as_before_the_freezing(net, train, bits):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    session = ws.session_for(net, optimizer=optimizer)
    grads = {name: p.requires_grad for name, p in net.named_parameters()}
    freezing = session.freeze(EVERYTHING_BUT_HEAD)
    train(net, optimizer)
    freezing.thaw()
    assert {name: p.requires_grad for name, p in net.named_parameters()} == grads
    assert all(layer.training for layer in net.modules())
    before = bits(session)
    train(net, optimizer)
    after = bits(session)
    assert all(before[name] != after[name] for name in before)


def test_thawing_leaves_no_hook_behind(net):
    before = hooks_of(net)
    freezing = ws.session_for(net).freeze([*EVERYTHING_BUT_HEAD, "norm.running_mean"])
    assert hooks_of(net) != before
    freezing.thaw()
    freezing.thaw()
    assert hooks_of(net) == before


def hooks_of(module):
    """Return every hook of every layer, and those on optimizers."""
    from torch.optim import optimizer

    layers = [
        (*layer._forward_pre_hooks.values(), *layer._forward_hooks.values())
        for layer in module.modules()
    ]
    pre, post = optimizer._global_optimizer_pre_hooks, optimizer._global_optimizer_post_hooks
    return layers, len(pre), len(post)


def test_gradients_left_over_and_given_by_hand_do_nothing(net, train, bits):
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1, weight_decay=0.1)
    session = ws.session_for(net, optimizer=optimizer)
    train(net, optimizer)
    session.freeze(["hidden.weight"])
    assert net.hidden.weight.grad is None
    before = bits(session, ["hidden.weight"])
    net.hidden.weight.grad = torch.ones_like(net.hidden.weight)
    optimizer.step()
    assert bits(session, ["hidden.weight"]) == before


def test_a_graph_from_before_the_freezing_brings_no_gradient(net, bits):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    session = ws.session_for(net)
    loss = net(torch.arange(8)).sum()
    session.freeze(["hidden.weight"])
    before = bits(session, ["hidden.weight"])
    loss.backward()
    optimizer.step()
    assert bits(session, ["hidden.weight"]) == before


def test_an_optimizer_made_later_is_guarded_too(net, make_optimizer, train, bits):
    session = ws.session_for(net)
    session.freeze(["hidden.weight"])
    before = bits(session, ["hidden.weight"])
    train(net, make_optimizer(net.parameters()))
    assert bits(session, ["hidden.weight"]) == before


def test_a_step_that_fails_halfway_is_put_right_by_the_next(net, bits):
    class Failing(torch.optim.Optimizer):
        def __init__(self, params, failures):
            super().__init__(params, {})
            self.failures = failures

        @torch.no_grad()
        def step(self, closure=None):
            self.param_groups[0]["params"][0].add_(1)
            for failure in self.failures:
                raise failure

    optimizer = Failing([net.hidden.weight], iter([RuntimeError("halfway")]))
    session = ws.session_for(net)
    session.freeze(["hidden.weight"])
    before = bits(session, ["hidden.weight"])
    with pytest.raises(RuntimeError, match="halfway"):
        optimizer.step()
    optimizer.step()
    assert bits(session, ["hidden.weight"]) == before


def test_lbfgs_takes_no_step_along_a_frozen_parameter_within_its_step():
    layer = nn.Linear(3, 1)
    optimizer = torch.optim.LBFGS(layer.parameters(), lr=0.5, max_iter=5)
    x, seen = torch.randn(8, 3), []

    def closure():
        optimizer.zero_grad()
        seen.append(layer.weight.detach().clone())
        loss = (layer(x) - 1).pow(2).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    ws.session_for(layer).freeze(["weight"])
    seen.clear()
    optimizer.step(closure)
    assert len(seen) > 1
    assert all(torch.equal(each, layer.weight) for each in seen)


def test_lbfgs_goes_on_with_a_history_from_after_the_freezing():
    layer = nn.Linear(3, 1)
    optimizer = torch.optim.LBFGS(layer.parameters(), lr=0.1, max_iter=2)
    x, session = torch.randn(8, 3), ws.session_for(layer)

    def closure():
        optimizer.zero_grad()
        loss = (layer(x) - 1).pow(2).mean() + layer.weight.pow(2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    session.freeze(["weight"])
    optimizer.step(closure)
    assert optimizer.state[layer.weight]["n_iter"] == 1
    session.freeze(["weight"])  # as the same program does when it is started again
    optimizer.step(closure)
    assert optimizer.state[layer.weight]["n_iter"] == 2


def test_frozen_norm_layers_run_in_evaluation_mode_whatever_train_says(net):
    ws.session_for(net).freeze(["norm.weight"])
    x = torch.randn(8, 6)
    net.train()
    found = net.norm(x)
    assert torch.equal(found, net.norm.eval()(x))


def test_statistics_go_on_where_asked(net, train, bits):
    session = ws.session_for(net)
    freezing = session.freeze([*EVERYTHING_BUT_HEAD, *THEIR_STATISTICS], train_statistics=True)
    assert list(freezing.names) == [n for n in session.specs if n in EVERYTHING_BUT_HEAD]
    before = bits(session)
    train(net, torch.optim.SGD(net.parameters(), lr=0.1))
    after = bits(session)
    moved = {name for name in before if before[name] != after[name]}
    assert moved == {"head.weight", "head.bias", *THEIR_STATISTICS}


def test_statistics_alone_are_not_both_frozen_and_trained(net):
    with pytest.raises(ws.FreezeError, match=r"norm\.running_mean: statistics, and train_stat"):
        ws.session_for(net).freeze(["norm.running_mean"], train_statistics=True)


def test_a_frozen_bias_does_not_hold_the_statistics_of_a_trained_scale(net):
    freezing = ws.session_for(net).freeze(["norm.bias"])
    assert freezing.names == ("norm.bias",)


def test_a_norm_layer_without_weights_is_held_by_the_name_of_a_statistic(bits):
    net = nn.Sequential(nn.BatchNorm1d(3, affine=False), nn.Linear(3, 1))
    session = ws.session_for(net)
    freezing = session.freeze(["0.running_var"])
    assert freezing.names == ("0.running_mean", "0.running_var", "0.num_batches_tracked")
    before = bits(session, freezing.names)
    net(torch.randn(4, 3))
    assert bits(session, freezing.names) == before


class Counting(nn.Module):
    """Counts its calls in one buffer in place, in another by replacing it."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("sum", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        self.sum = self.sum + x.sum()
        return x * self.calls


def test_any_buffer_is_held_by_its_name(bits):
    net = nn.Sequential(Counting(), nn.Linear(2, 1))
    session = ws.session_for(net)
    first = session.freeze(["0.calls", "0.sum"])
    second = session.freeze(["0.calls"])
    calls, before = net[0].calls, bits(session, ["0.calls", "0.sum"])
    net(torch.ones(3, 2))
    assert bits(session, ["0.calls", "0.sum"]) == before
    assert net[0].calls is calls
    first.thaw()
    net(torch.ones(3, 2))
    assert (net[0].calls, net[0].sum) == (0, 6)
    second.thaw()
    net(torch.ones(3, 2))
    assert net[0].calls == 1


def test_a_forward_that_fails_gives_buffers_and_rows_back(net, bits):
    net.counting = Counting()
    session = ws.session_for(net)
    session.freeze(["counting.calls", "embedding.weight"])
    before = bits(session, ["counting.calls", "embedding.weight"])
    with pytest.raises(AttributeError):
        net.counting("no tensor")
    with pytest.raises(IndexError):
        net.embedding(torch.tensor([10]))
    assert bits(session, ["counting.calls", "embedding.weight"]) == before
    net.embedding(torch.tensor([1, 1, 2]))
    assert bits(session, ["counting.calls", "embedding.weight"]) == before


def test_a_frozen_embedding_returns_what_an_unfrozen_one_does(net):
    x = torch.tensor([[1, 2], [2, 9]])
    frozen = nn.Embedding.from_pretrained(net.embedding.weight.detach().clone(), max_norm=0.5)
    ws.session_for(frozen).freeze(["weight"])
    assert torch.equal(frozen(input=x), net.embedding(x))
    assert not torch.equal(frozen.weight, net.embedding.weight)


def test_either_name_of_a_tied_weight_freezes_it(make_optimizer):
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    freezing = ws.session_for(net).freeze(["1.weight"])
    assert freezing.names == ("0.weight",)
    before = net[0].weight.detach().clone()
    optimizer = make_optimizer(net.parameters())
    optimizer.step(lambda: net(torch.ones(2, 3)).sum())
    assert torch.equal(net[0].weight, before)


def test_two_parameters_on_one_memory_are_frozen_together():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight.data = net[0].weight.data
    ws.session_for(net).freeze(["0.weight"])
    assert not net[0].weight.requires_grad
    assert not net[1].weight.requires_grad


@pytest.mark.parametrize("first", [0, 1])
def test_a_variable_frozen_twice_is_trained_after_the_second_thaw(net, first):
    session, backbone = ws.session_for(net), ws.session_for(net.hidden)
    freezings = [session.freeze(["hidden.weight", "norm.weight"]), backbone.freeze(["weight"])]
    freezings.pop(first).thaw()
    assert not net.hidden.weight.requires_grad
    freezings.pop().thaw()
    assert net.hidden.weight.requires_grad


def test_what_needed_no_gradient_needs_none_after_the_thaw(net):
    net.head.bias.requires_grad = False
    ws.session_for(net).freeze(["head.bias"]).thaw()
    assert not net.head.bias.requires_grad


def test_a_frozen_parameter_has_the_role_model(net):
    session = ws.session_for(net)
    freezing = session.freeze(["head.bias"])
    assert session.specs["head.bias"].role == "model"
    freezing.thaw()
    assert session.specs["head.bias"].role == "trainable"


@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_of_a_frozen_module_is_frozen(twin_of, bits):
    net = nn.Sequential(nn.Embedding(9, 3, max_norm=0.1), nn.BatchNorm1d(3), nn.Linear(3, 1))
    names = ws.session_for(net).freeze(["0.weight", "1.weight", "1.bias"]).names
    twin = twin_of(net).train()
    session = ws.session_for(twin)
    before = bits(session, names)
    optimizer = torch.optim.AdamW(twin.parameters(), lr=0.1)
    twin(torch.arange(9)).sum().backward()
    optimizer.step()
    assert bits(session, names) == before


def test_a_module_that_is_gone_is_forgotten():
    net = nn.Linear(2, 2)
    gone = weakref.ref(net)
    freezing = ws.session_for(net).freeze(["weight"])
    del net
    gc.collect()
    assert gone() is None
    freezing.thaw()


def test_a_slot_cannot_be_frozen(net, train):
    optimizer = torch.optim.Adam(net.parameters())
    session = ws.session_for(net, optimizer=optimizer)
    with pytest.raises(ws.FreezeError, match=r"head.bias/exp_avg: state of the optimizer"):
        session.freeze(["head.bias/exp_avg"])


def test_an_unknown_name_freezes_nothing(net):
    with pytest.raises(ws.errors.NoSuchTensor, match=r"no tensor 'haed.bias'.*'head.bias'"):
        ws.session_for(net).freeze(["head.weight", "haed.bias"])
    assert net.head.weight.requires_grad


def test_the_proof_holds_and_sees_a_change_by_hand(net, train):
    frozen = ws.freeze(net, ["hidden.*", "norm.*", "embedding.*"])
    train(net, torch.optim.AdamW(net.parameters(), lr=0.1))
    frozen.verify()
    with torch.no_grad():
        net.hidden.bias.add_(1)
    with pytest.raises(ws.FreezeError, match=r"hidden\.bias"):
        frozen.verify()


def test_a_lazy_parameter_stays_frozen_when_it_gets_its_shape():
    net = nn.Sequential(nn.LazyLinear(2))
    ws.session_for(net).freeze(["0.weight"])
    net(torch.ones(1, 3))
    assert not net[0].weight.requires_grad
    assert net[0].bias.requires_grad
