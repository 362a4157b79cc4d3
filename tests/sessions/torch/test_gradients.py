"""A module takes every gradient processor."""

import numpy as np
import pytest
import torch
from torch import nn

import warmstart as ws
from warmstart.testing import GradientContract

X, Y = torch.ones(4, 3), torch.zeros(4, 2)


class TestTorchModel(GradientContract):
    def make(self, gradprocs):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
        return model_of(net, gradprocs), (X.numpy(), Y.numpy())


def model_of(net, gradprocs):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    return ws.TorchModel(net, loss=nn.functional.mse_loss, optimizer=optimizer, gradprocs=gradprocs)


def embedded(gradprocs):
    """Return a model with a sparse gradient, in which row 1 is looked up twice."""
    net = nn.Sequential(nn.Embedding(5, 2, sparse=True), nn.Flatten())
    nn.init.ones_(net[0].weight)
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    return ws.TorchModel(net, loss=lambda y, _: y.sum(), optimizer=optimizer, gradprocs=gradprocs)


def moved(model, batch):
    before = model.module[0].weight.detach().clone()
    model.train_step(batch)
    return (before - model.module[0].weight.detach()).tolist()


@pytest.mark.parametrize(
    ("processor", "twice", "once"),
    [
        (ws.ScaleGradient(("0.weight", 0.5)), 1.0, 0.5),
        (ws.GlobalNormClip(10**0.5 / 2), 1.0, 0.5),
        (ws.MapGradient(lambda g: g * 3), 6.0, 3.0),
        (ws.SummaryGradient(), 2.0, 1.0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_sparse_gradients_are_processed(processor, twice, once):
    found = moved(embedded([processor]), (np.array([[1, 1, 3]]), np.zeros(1)))
    expected = [[0, 0], [twice] * 2, [0, 0], [once] * 2, [0, 0]]
    np.testing.assert_allclose(found, expected, 1e-5)


def test_of_a_sparse_gradient_the_values_are_seen():
    summary = ws.SummaryGradient()
    embedded([summary]).train_step((np.array([[1, 1, 3]]), np.zeros(1)))
    assert summary.arrays()["0.weight-grad"].tolist() == [[2, 2], [1, 1]]


def test_clipping_is_that_of_torch():
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    model = model_of(net, [ws.GlobalNormClip(0.01)])
    model.train_step((X, Y))
    found = [p.grad.clone() for p in net.parameters()]
    torch.manual_seed(0)
    other = nn.Linear(3, 2)
    nn.functional.mse_loss(other(X), Y).backward()
    nn.utils.clip_grad_norm_(other.parameters(), 0.01)
    torch.testing.assert_close(found, [p.grad for p in other.parameters()], rtol=1e-4, atol=0)


def test_the_norm_of_half_precision_does_not_overflow():
    net = nn.Linear(2, 1, bias=False).half()
    model = ws.TorchModel(
        net,
        loss=lambda y, _: (y * 400).sum(),
        optimizer=torch.optim.SGD(net.parameters(), lr=1.0),
        gradprocs=[ws.GlobalNormClip(1.0)],
    )
    model.train_step((torch.ones(1, 2).half(), X))
    assert net.weight.grad.dtype == torch.float16
    torch.testing.assert_close(net.weight.grad.float().norm().item(), 1.0, rtol=1e-3, atol=0)


def test_a_function_sees_the_parameter_and_builds_no_graph():
    net = nn.Linear(3, 2)
    seen = []
    decay = ws.MapGradient(lambda g, p: seen.append(p) or g + 0.1 * p, "weight")
    model_of(net, [decay]).train_step((X, Y))
    assert seen[0] is net.weight
    assert not net.weight.grad.requires_grad


def test_processors_apply_to_every_parameter_on_one_memory():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = nn.Parameter(net[0].weight.data)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    summary = ws.SummaryGradient("0.weight")
    model = ws.TorchModel(
        net, loss=nn.functional.mse_loss, optimizer=optimizer,
        gradprocs=[summary, ws.ScaleGradient((r"0\.weight", 0))],
    )  # fmt: skip
    before = net[0].weight.detach().clone()
    model.train_step((X, torch.zeros(4, 3)))
    assert torch.equal(net[0].weight, before)
    assert set(summary.arrays()) == {"0.weight-grad", "1.weight-grad"}


def test_lbfgs_sees_processed_gradients():
    net = nn.Linear(3, 2)
    optimizer = torch.optim.LBFGS(net.parameters(), lr=0.1, max_iter=3)
    model = ws.TorchModel(
        net, loss=nn.functional.mse_loss, optimizer=optimizer,
        gradprocs=[ws.ScaleGradient(("bias", 0))],
    )  # fmt: skip
    bias, weight = net.bias.detach().clone(), net.weight.detach().clone()
    model.train_step((X, Y))
    assert torch.equal(net.bias, bias)
    assert not torch.equal(net.weight, weight)
