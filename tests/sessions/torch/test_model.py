"""The training step of a module."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

import warmstart as ws
from warmstart.testing.data import through_a_checkpoint

X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
Y = np.arange(8) % 2


@pytest.fixture
def mlp():
    """A module without random numbers of its own."""
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def model_of(module, **options):
    """Return a model that classifies with SGD, unless *options* say otherwise."""
    options.setdefault("optimizer", torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9))
    return ws.TorchModel(module, loss=nn.functional.cross_entropy, **options)


def test_a_step_is_what_one_would_write_oneself(mlp):
    model = model_of(mlp)
    model.prepare()
    losses = [model.train_step((X, Y))["loss"] for _ in range(3)]
    own = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    torch.manual_seed(0)
    for layer in (own[0], own[2]):
        layer.reset_parameters()
    optimizer = torch.optim.SGD(own.parameters(), lr=0.1, momentum=0.9)
    expected = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(own(torch.tensor(X)), torch.tensor(Y))
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
    assert losses == expected
    assert all(torch.equal(a, b) for a, b in zip(mlp.parameters(), own.parameters(), strict=True))


def test_its_session_has_the_slots(mlp):
    model = model_of(mlp)
    model.train_step((X, Y))
    assert ws.session_for(model) is model.session
    assert model.session.specs["0.weight/momentum_buffer"].role == "slot"


def test_several_inputs_and_a_step_of_ones_own(mlp):
    bilinear = nn.Bilinear(3, 3, 2)
    assert model_of(bilinear).train_step([X, X, Y]).keys() == {"loss"}

    def step(module, batch):
        output = module(batch["image"])
        return {"loss": output.pow(2).mean(), "largest": output.max(), "n": len(output)}

    model = ws.TorchModel(mlp, step=step, optimizer=torch.optim.SGD(mlp.parameters(), lr=0.1))
    metrics = model.train_step({"image": X})
    assert metrics["n"] == 8
    assert all(type(value) is float for value in metrics.values())


def test_lbfgs_gets_its_closure(mlp):
    model = model_of(mlp, optimizer=torch.optim.LBFGS(mlp.parameters(), lr=0.1))
    losses = [model.train_step((X, Y))["loss"] for _ in range(3)]
    assert losses[2] < losses[0]


def test_the_module_is_put_in_training_mode(mlp):
    mlp.eval()
    model_of(mlp).train_step((X, Y))
    assert mlp.training


def test_a_layer_in_evaluation_mode_is_left_there(mlp):
    mlp[1].eval()
    model_of(mlp).train_step((X, Y))
    assert not mlp[1].training


def moved(model, steps=1):
    """Return the parameters that *steps* of training move."""
    before = {name: p.detach().clone() for name, p in model.module.named_parameters()}
    for _ in range(steps):
        model.train_step((X, Y))
    return {n for n, p in model.module.named_parameters() if not torch.equal(p, before[n])}


def test_gradients_are_scaled_by_name(mlp):
    plain = gradients(model_of(copy.deepcopy(mlp)))
    scaled = gradients(model_of(mlp, gradprocs=[ws.ScaleGradient((r"0\..*", 0.5))]))
    assert torch.allclose(scaled["0.weight"], plain["0.weight"] / 2)
    assert torch.equal(scaled["2.weight"], plain["2.weight"])


def gradients(model):
    """Return the gradients of a step."""
    model.train_step((X, Y))
    return {name: p.grad for name, p in model.module.named_parameters()}


def test_a_factor_of_zero_removes_the_gradient(mlp):
    optimizer = torch.optim.AdamW(mlp.parameters(), lr=0.1, weight_decay=0.1)
    model_of(mlp, optimizer=optimizer).train_step((X, Y))
    model = model_of(mlp, optimizer=optimizer, gradprocs=[ws.ScaleGradient((r"0\..*", 0))])
    assert moved(model, steps=2) == {"2.weight", "2.bias"}
    assert mlp[0].weight.grad is None


def test_a_rule_for_no_gradient_is_refused_before_training(mlp):
    model = model_of(mlp, gradprocs=[ws.ScaleGradient((r"conv.*", 0.5))])
    with pytest.raises(ws.RuleError, match=r"conv"):
        model.prepare()


def test_a_frozen_variable_stays(mlp):
    model = model_of(mlp)
    model.train_step((X, Y))
    frozen = ws.freeze(model, "0.*")
    assert moved(model) == {"2.weight", "2.bias"}
    frozen.verify()


SCHEDULERS = {
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, 10),
    "lambda": lambda o: lr_scheduler.LambdaLR(o, lambda step: 0.9**step),
    "milestones": lambda o: lr_scheduler.MultiStepLR(o, [2, 4, 4], 0.1),
    "one-cycle": lambda o: lr_scheduler.OneCycleLR(o, 0.5, total_steps=20),
    "sequence": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.ConstantLR(o), lr_scheduler.ExponentialLR(o, 0.9)], [3]
    ),
    "chained": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.LinearLR(o), lr_scheduler.StepLR(o, 2)]
    ),
    "cyclic": lambda o: lr_scheduler.CyclicLR(o, 0.1, 0.5, 3),
    "restarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3),
    "swa": lambda o: torch.optim.swa_utils.SWALR(o, 0.05),
}


def scheduled(make):
    """Return a new model with a scheduler, always the same."""
    torch.manual_seed(0)
    module = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    return model_of(module, optimizer=optimizer, scheduler=make(optimizer))


@pytest.mark.parametrize("make", SCHEDULERS.values(), ids=SCHEDULERS)
def test_schedules_go_on(make):
    model, other = scheduled(make), scheduled(make)
    for _ in range(3):
        model.train_step((X, Y))
    other.session.assign((name, model.session.read(name)) for name in model.session.specs)
    other.session.load_state(through_a_checkpoint(model.session.state()))
    other.load_state(through_a_checkpoint(model.state()))
    for _ in range(3):
        assert model.train_step((X, Y)) == other.train_step((X, Y))
        assert model.optimizer.param_groups[0]["lr"] == other.optimizer.param_groups[0]["lr"]
    assert model.state() == other.state()


def test_a_scheduler_may_count_epochs(mlp):
    optimizer = torch.optim.SGD(mlp.parameters(), lr=1.0)
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.5)
    model = model_of(mlp, optimizer=optimizer, scheduler=scheduler, scheduler_every="epoch")
    model.train_step((X, Y))
    assert optimizer.param_groups[0]["lr"] == 1
    model.after_epoch()
    assert optimizer.param_groups[0]["lr"] == 0.5
    each_step = scheduled(SCHEDULERS["cosine"])
    each_step.after_epoch()
    assert each_step.optimizer.param_groups[0]["lr"] == 0.1


def test_another_scheduler_is_refused(mlp):
    cosine, plain = scheduled(SCHEDULERS["cosine"]), model_of(mlp)
    with pytest.raises(ws.ResumeError, match=r"scheduler CosineAnnealingLR; here it is None"):
        plain.load_state(cosine.state())
    with pytest.raises(ws.ResumeError, match=r"scheduler None; here it is CosineAnnealingLR"):
        cosine.load_state({})
    assert plain.state() == {}


def test_a_scheduler_with_an_unknown_state_is_named(mlp):
    model = scheduled(SCHEDULERS["cosine"])
    model.scheduler.extra = object()
    with pytest.raises(ws.CannotHold, match="the scheduler's extra is a object"):
        model.state()


def test_wrong_calls_are_refused(mlp):
    optimizer = torch.optim.SGD(mlp.parameters())
    with pytest.raises(TypeError, match=r"give one of loss=.* and step="):
        ws.TorchModel(mlp, optimizer=optimizer)
    with pytest.raises(ValueError, match="scheduler_every is 'month'; expected"):
        model_of(mlp, scheduler_every="month")
    with pytest.raises(
        TypeError, match=r"the scheduler is the class torch.*; expected one of torch"
    ):
        model_of(mlp, optimizer=optimizer, scheduler=lr_scheduler.StepLR)
    with pytest.raises(TypeError, match="ReduceLROnPlateau needs a metric"):
        model_of(mlp, optimizer=optimizer, scheduler=lr_scheduler.ReduceLROnPlateau(optimizer))
    with pytest.raises(TypeError, match=r"a batch is a Tensor; with loss= it is \(input, ..., ta"):
        model_of(mlp).train_step(X)
    silent = ws.TorchModel(mlp, step=lambda module, batch: {"cost": 1}, optimizer=optimizer)
    with pytest.raises(ValueError, match="step= returned cost; expected 'loss'"):
        silent.train_step((X, Y))


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (lambda out: out.sum(), TypeError, r"step= returned a torch\.Tensor; expected a dict with"),
        (lambda out: None, TypeError, "step= returned None; expected a dict with 'loss'"),
        (
            lambda out: {"loss": 3.0},
            TypeError,
            r"the loss is 3\.0; expected a tensor of one number",
        ),
        (lambda out: {"loss": out}, ValueError, r"the loss is a tensor of shape \(\d+, \d+\); ex"),
        (
            lambda out: {"loss": out.sum(), "v": out},
            ValueError,
            r"'v' is a tensor of shape \(\d+, ",
        ),
    ],
)
def test_what_a_step_returns_is_checked(returned, error, message, mlp):
    optimizer = torch.optim.SGD(mlp.parameters())
    model = ws.TorchModel(mlp, step=lambda m, batch: returned(m(batch[0])), optimizer=optimizer)
    with pytest.raises(error, match=message):
        model.train_step((X, Y))


def test_with_all_frozen_there_is_nothing_to_train(mlp):
    model = model_of(mlp)
    ws.freeze(model, "*")
    with pytest.raises(ws.FreezeError, match="every trainable variable is frozen, so there is"):
        model.train_step((X, Y))


def test_an_optimizer_of_another_module_is_refused(mlp):
    other = torch.optim.SGD(copy.deepcopy(mlp).parameters(), lr=0.1)
    with pytest.raises(ValueError, match="the optimizer has none of the module's parameters; make"):
        model_of(mlp, optimizer=other)
