"""Layers added, taken out, put in another order, frozen or thawed: slots stay with their variable.

PyTorch itself numbers parameters by their place in the groups, and so mixes slots up or refuses.
"""

import numpy as np
import pytest
import torch
from torch import nn

import warmstart as ws
from warmstart.errors import ResumeError
from warmstart.names import selected

INPUTS = np.random.default_rng(0).standard_normal((32, 2)).astype(np.float32)
SLOTS = ("exp_avg", "exp_avg_sq", "step")


class Stack(nn.Module):
    """Layers of one shape, so that a slot that went astray would fit."""

    def __init__(self, names, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.ModuleDict({name: nn.Linear(2, 2) for name in names})

    def forward(self, x):
        for layer in self.layers.values():
            x = torch.tanh(layer(x))
        return x


def adam(stack, *groups):
    """Return an optimizer with a group for each of *groups* of layers' names, each its own rate."""
    return torch.optim.Adam(
        [
            {"params": [p for name in group for p in stack.layers[name].parameters()], "lr": rate}
            for rate, group in zip((0.01, 0.02, 0.03), groups, strict=False)
        ]
    )


def step(stack, optimizer):
    optimizer.zero_grad()
    stack(torch.from_numpy(INPUTS)).square().sum().backward()
    optimizer.step()


def frozen(stack, *names):
    """Return *stack* with the layers *names* untrained."""
    for name in names:
        stack.layers[name].requires_grad_(False)
    return stack


def names_of(*layers, slots=()):
    """Return the variables of *layers*, or their *slots*."""
    variables = [f"layers.{layer}.{leaf}" for layer in layers for leaf in ("weight", "bias")]
    return {f"{v}/{s}" for v in variables for s in slots} if slots else set(variables)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A checkpoint after three steps, and its values."""
    stack = Stack("abc")
    optimizer = adam(stack, "abc")
    for _ in range(3):
        step(stack, optimizer)
    session = ws.session_for(stack, optimizer=optimizer)
    path = tmp_path_factory.mktemp("base") / "model"
    ws.save_vars(session, path)
    return path, {name: np.array(session.read(name)) for name in session.specs}


#: What was done to the model: its layers, those frozen, its groups; kept, lost and fresh layers.
CHANGES = {
    "reordered": ("cab", "", ["cab"], "abc", "", ""),
    "other groups": ("abc", "", ["b", "ca"], "abc", "", ""),
    "a layer added": ("adbc", "", ["adbc"], "abc", "", "d"),
    "a layer added in its own group": ("abcd", "", ["d", "abc"], "abc", "", "d"),
    "a layer taken out": ("ac", "", ["ac"], "ac", "b", ""),
    "one frozen and left out": ("abc", "a", ["bc"], "bc", "a", ""),
    "one frozen and left in": ("abc", "a", ["abc"], "abc", "", ""),
    "one frozen, one added, reordered": ("dcba", "a", ["db", "c"], "bc", "a", "d"),
}


@pytest.mark.parametrize("stepped", [False, True])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_slots_stay_with_their_variable(change, stepped, base):
    layers, untrained, groups, kept, lost, fresh = change
    path, old = base
    stack = frozen(Stack(layers, seed=1), *untrained)
    optimizer = adam(stack, *groups)
    for _ in range(stepped):
        step(stack, optimizer)
    session = ws.session_for(stack, optimizer=optimizer)
    report = ws.SmartInit(path).init(session)
    assert set(report.slots.kept) == names_of(*kept, slots=SLOTS)
    assert {n for names in report.slots.lost.values() for n in names} == names_of(
        *lost, slots=SLOTS
    )
    assert set(report.slots.fresh) == names_of(*fresh)
    for name in report.slots.kept:
        assert np.array_equal(session.read(name), old[name])


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_training_goes_on_with_them(change, base):
    layers, untrained, groups, kept, _, fresh = change
    stack = frozen(Stack(layers, seed=1), *untrained)
    optimizer = adam(stack, *groups)
    session = ws.session_for(stack, optimizer=optimizer)
    ws.SmartInit(base[0]).init(session)
    step(stack, optimizer)
    trained = set(kept) - set(untrained)
    assert {int(session.read(n)) for n in names_of(*trained, slots=["step"])} == {4}
    assert {int(session.read(n)) for n in names_of(*fresh, slots=["step"])} <= {1}


def test_torch_itself_would_mix_them_up(base):
    """The reason for names: in another order every shape fits, and no slot is in its place."""
    before, after = Stack("abc"), Stack("cab", seed=1)
    optimizer = adam(before, "abc")
    step(before, optimizer)
    other = adam(after, "cab")
    other.load_state_dict(optimizer.state_dict())
    assert torch.equal(
        other.state[after.layers["c"].weight]["exp_avg"],
        optimizer.state[before.layers["a"].weight]["exp_avg"],
    )


def test_slots_of_another_optimizer_are_lost(base):
    stack = Stack("abc")
    optimizer = torch.optim.SGD(stack.parameters(), lr=0.1, momentum=0.9)
    slots = ws.SmartInit(base[0]).init(ws.session_for(stack, optimizer=optimizer)).slots
    assert slots.kept == ()
    assert set(slots.fresh) == names_of(*"abc")
    assert set(slots.lost[str(base[0])]) == names_of(*"abc", slots=SLOTS)


def test_without_an_optimizer_nothing_is_said_of_slots(base):
    assert ws.SmartInit(base[0]).init(Stack("abc")).slots.lost == {}


# Resuming


def launch(folder, stack, optimizer, *, max_epoch, accept=()):
    """Train, or go on with what is in *folder*; return the trainer."""
    ws.logger.set_logger_dir(str(folder), action="k")
    config = ws.AutoResumeTrainConfig(
        model=ws.TorchModel(stack, loss=nn.functional.mse_loss, optimizer=optimizer),
        data=ws.Batches((INPUTS, INPUTS), 8),
        callbacks=[ws.ModelSaver()],
        max_epoch=max_epoch,
        accept=accept,
    )
    return ws.launch_train(config)


@pytest.fixture
def run(tmp_path):
    """A folder in which a run of two epochs was left."""
    stack = Stack("abc")
    launch(tmp_path, stack, adam(stack, "abc"), max_epoch=2)
    return tmp_path


#: What must be accepted for each change to go on, by name.
ACCEPTED = {
    "reordered": [],
    "other groups": [],
    "a layer added": ["layers.d.*"],
    "a layer added in its own group": ["layers.d.*"],
    "a layer taken out": ["layers.b.*"],
    "one frozen and left out": ["layers.a.*/*"],
    "one frozen and left in": [],
    "one frozen, one added, reordered": ["layers.a.*/*", "layers.d.*"],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_resume_keeps_slots_by_name(change, run):
    layers, untrained, groups, kept, _, fresh = CHANGES[change]
    old = ws.load_vars(run)
    stack = frozen(Stack(layers, seed=1), *untrained)
    trainer = launch(run, stack, adam(stack, *groups), max_epoch=2, accept=ACCEPTED[change])
    assert trainer.step == 8
    for name in names_of(*kept) | names_of(*kept, slots=SLOTS):
        assert np.array_equal(trainer.session.read(name), old[name])
    stack = frozen(Stack(layers, seed=1), *untrained)
    trainer = launch(run, stack, adam(stack, *groups), max_epoch=3, accept=ACCEPTED[change])
    trained = set(kept) - set(untrained)
    assert {int(trainer.session.read(n)) for n in names_of(*trained, slots=["step"])} == {12}
    assert {int(trainer.session.read(n)) for n in names_of(*fresh, slots=["step"])} <= {4}


@pytest.mark.parametrize("change", [name for name, accept in ACCEPTED.items() if accept])
def test_what_is_not_accepted_is_refused_by_name(change, run):
    layers, untrained, groups, *_ = CHANGES[change]
    stack = frozen(Stack(layers, seed=1), *untrained)
    with pytest.raises(ResumeError) as caught:
        launch(run, stack, adam(stack, *groups), max_epoch=3)
    named = {line.split()[0] for line in str(caught.value).splitlines() if line.startswith("  ")}
    assert named
    assert set(selected(named, ACCEPTED[change])) == named


def test_thawing_goes_on_with_fresh_slots(tmp_path):
    stack = frozen(Stack("abc"), "a")
    launch(tmp_path, stack, adam(stack, "bc"), max_epoch=2)
    thawed = Stack("abc", seed=1)
    trainer = launch(tmp_path, thawed, adam(thawed, "bc", "a"), max_epoch=3)
    assert {int(trainer.session.read(n)) for n in names_of(*"bc", slots=["step"])} == {12}
    assert {int(trainer.session.read(n)) for n in names_of("a", slots=["step"])} == {4}


def cosine(optimizer):
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)


def factor(optimizer):
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step)


def chained(optimizer):
    schedulers = [
        torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=3),
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step),
    ]
    return torch.optim.lr_scheduler.ChainedScheduler(schedulers)


def one_cycle(optimizer):
    return torch.optim.lr_scheduler.CyclicLR(
        optimizer, [0.01, 0.02], [0.1, 0.3], step_size_up=3, cycle_momentum=False
    )


def rates(folder, scheduler, stack, optimizer, *, max_epoch, accept=()):
    """Train with a scheduler; return the rate of each layer's first parameter."""
    ws.logger.set_logger_dir(str(folder), action="k")
    ws.launch_train(
        ws.AutoResumeTrainConfig(
            model=ws.TorchModel(
                stack,
                loss=nn.functional.mse_loss,
                optimizer=optimizer,
                scheduler=scheduler(optimizer),
            ),
            data=ws.Batches((INPUTS, INPUTS), 8),
            callbacks=[ws.ModelSaver()],
            max_epoch=max_epoch,
            accept=accept,
        )
    )
    group_of = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    return {name: group_of[id(layer.weight)]["lr"] for name, layer in stack.layers.items()}


@pytest.mark.parametrize("scheduler", [cosine, factor, chained, one_cycle])
def test_a_schedule_goes_on_for_each_group_by_name(scheduler, tmp_path):
    stack = Stack("abc")
    whole = rates(tmp_path / "whole", scheduler, stack, adam(stack, "ab", "c"), max_epoch=3)
    assert whole["a"] != whole["c"]
    stack = Stack("abc")
    rates(tmp_path / "run", scheduler, stack, adam(stack, "ab", "c"), max_epoch=2)
    other = Stack("cba", seed=1)
    optimizer = adam(other, "c", "ba")
    for group, rate in zip(optimizer.param_groups, (0.02, 0.01), strict=True):
        group["lr"] = rate
    assert rates(tmp_path / "run", scheduler, other, optimizer, max_epoch=3) == whole


def test_a_schedule_goes_on_beside_a_group_that_is_new(tmp_path):
    stack = Stack("ab")
    whole = rates(tmp_path / "whole", cosine, stack, adam(stack, "a", "b"), max_epoch=3)
    stack = Stack("ab")
    rates(tmp_path / "run", cosine, stack, adam(stack, "a", "b"), max_epoch=2)
    other = Stack("dab", seed=1)
    optimizer = adam(other, "d", "a", "b")
    found = rates(tmp_path / "run", cosine, other, optimizer, max_epoch=3, accept=["layers.d.*"])
    assert {name: found[name] for name in whole} == pytest.approx(whole)
    assert 0 < found["d"] <= 0.01
