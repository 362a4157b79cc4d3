"""What a run needs beside variables: generators, options by name, extra state."""

import logging

import pytest
import torch
from torch import nn

import warmstart as ws
from warmstart.testing.data import through_a_checkpoint


@pytest.fixture
def mlp():
    """A module with four parameters."""
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


def restored(state, session):
    """Load *state* into *session* as a checkpoint would give it back."""
    session.load_state(through_a_checkpoint(state))


def test_random_numbers_go_on(mlp):
    session = ws.session_for(mlp)
    state = session.state()
    expected = torch.rand(3)
    torch.rand(5)
    restored(state, session)
    assert torch.equal(torch.rand(3), expected)


class Accelerator:
    """Stands in for torch.cuda on a machine without one."""

    def __init__(self, count):
        self.states = [torch.full((4,), i, dtype=torch.uint8) for i in range(count)]

    def is_available(self):
        return True

    def device_count(self):
        return len(self.states)

    def get_rng_state(self, device):
        return self.states[device]

    def set_rng_state(self, state, device):
        self.states[device] = state


def test_generators_of_accelerators_go_on(mlp, monkeypatch):
    session = ws.session_for(mlp)
    monkeypatch.setattr(torch, "cuda", Accelerator(2))
    state = session.state()
    torch.cuda.states = [torch.zeros(4, dtype=torch.uint8)] * 2
    restored(state, session)
    assert torch.cuda.states[1].tolist() == [1, 1, 1, 1]
    monkeypatch.setattr(torch, "cuda", Accelerator(1))
    with pytest.raises(ws.ResumeError, match="cuda: 2 random states, and 1 devices here"):
        restored(state, session)
    assert list(session.misfits(state)) == ["cuda"]
    session.load_fitting(state, lambda name: name == "cuda")


def test_another_number_of_threads_is_warned_of(mlp, caplog):
    session = ws.session_for(mlp)
    state = session.state()
    restored(state, session)
    assert not caplog.records
    restored({**state, "threads": 64}, session)
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert "computed with 64 threads" in caplog.text


def test_options_belong_to_names_whatever_the_order(mlp):
    first, second = list(mlp[0].parameters()), list(mlp[1].parameters())
    old = torch.optim.AdamW(
        [{"params": first, "lr": 0.5, "betas": (0.8, 0.9)}, {"params": second, "lr": 0.25}]
    )
    other = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    new = torch.optim.AdamW(
        [{"params": [other[1].bias]}, {"params": [other[0].bias, other[0].weight]}], lr=9
    )
    restored(ws.session_for(mlp, optimizer=old).state(), ws.session_for(other, optimizer=new))
    assert [group["lr"] for group in new.param_groups] == [0.25, 0.5]
    assert new.param_groups[1]["betas"] == (0.8, 0.9)


def test_an_option_that_is_a_tensor_stays_the_same_tensor(mlp):
    old = torch.optim.Adam(mlp.parameters(), lr=torch.tensor(0.5), foreach=False)
    new = torch.optim.Adam(mlp.parameters(), lr=torch.tensor(0.1), foreach=False)
    lr = new.param_groups[0]["lr"]
    restored(ws.session_for(mlp, optimizer=old).state(), ws.session_for(mlp, optimizer=new))
    assert new.param_groups[0]["lr"] is lr
    assert lr == 0.5


def test_options_that_are_replaced_are_named_once(mlp, caplog):
    first, second = list(mlp[0].parameters()), list(mlp[1].parameters())
    old = torch.optim.AdamW([{"params": first}, {"params": second, "lr": 0.5}], lr=0.25)
    new = torch.optim.AdamW(
        [{"params": first}, {"params": second}], lr=torch.tensor(0.5), weight_decay=0, foreach=False
    )
    restored(ws.session_for(mlp, optimizer=old).state(), ws.session_for(mlp, optimizer=new))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.message == (
        "the run goes on with the checkpoint's options of the optimizer: "
        "foreach is False here and None in the checkpoint; "
        "lr is 0.5 here and 0.25 in the checkpoint; "
        "weight_decay is 0 here and 0.01 in the checkpoint; "
        "to change one, set it in optimizer.param_groups in a callback's after_step"
    )


SCHEDULERS = {
    "steps": lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1),
    "one cycle": lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, 9, 5),
}


@pytest.mark.parametrize("make", SCHEDULERS.values(), ids=SCHEDULERS)
def test_what_a_scheduler_sets_is_no_replaced_option(mlp, make, caplog):
    old, new = (torch.optim.Adam(mlp.parameters(), lr=lr, eps=lr) for lr in (0.5, 0.25))
    schedulers = [make(old), make(new)]
    old.step()
    schedulers[0].step()
    restored(ws.session_for(mlp, optimizer=old).state(), ws.session_for(mlp, optimizer=new))
    assert "optimizer: eps is 0.25 here and 0.5 in the checkpoint; to change" in caplog.text


def test_equal_options_are_not_spoken_of(mlp, caplog):
    old, new = (torch.optim.Adam(mlp.parameters(), lr=torch.tensor(0.5)) for _ in range(2))
    restored(ws.session_for(mlp, optimizer=old).state(), ws.session_for(mlp, optimizer=new))
    assert caplog.messages == []


def test_named_parameters_are_no_option(mlp):
    optimizer = torch.optim.SGD(mlp.named_parameters(), lr=0.1)
    options = ws.session_for(mlp, optimizer=optimizer).state()["optimizer"]["groups"][0]["options"]
    assert "lr" in options
    assert not {"params", "param_names"} & options.keys()


def refused(session, state):
    """Return the message of the ResumeError that *state* brings."""
    with pytest.raises(ws.ResumeError) as caught:
        restored(state, session)
    return str(caught.value)


def test_all_that_does_not_fit_is_named_and_nothing_is_changed(mlp):
    parts = [{"params": [p], "lr": 0.1 * i} for i, p in enumerate(mlp.parameters(), 1)]
    state = ws.session_for(mlp, optimizer=torch.optim.SGD(parts[:3])).state()
    state |= {"rng": state["rng"][:-1], "extra_state": {"0._extra_state": 1}}
    joined = torch.optim.SGD(
        [{"params": [mlp[0].weight, mlp[0].bias]}, {"params": [mlp[1].bias]}], lr=9
    )
    assert refused(ws.session_for(mlp, optimizer=joined), state).splitlines() == [
        "the run state of the checkpoint does not fit this model",
        "  rng: uint8 (5055,); this PyTorch's generator has (5056,)",
        "  0._extra_state: no module here has it",
        "  param_groups[0]: '0.weight', '0.bias' were in groups with different options; "
        "give each its own group here too",
    ]
    assert [group["lr"] for group in joined.param_groups] == [9, 9]


def test_a_group_that_is_new_keeps_its_options(mlp, caplog):
    weight, *_, bias = mlp.parameters()
    state = ws.session_for(mlp, optimizer=torch.optim.SGD([weight], lr=1)).state()
    groups = [{"params": [bias], "lr": 2}, {"params": [weight], "lr": 3}]
    optimizer = torch.optim.SGD(groups)
    restored(state, ws.session_for(mlp, optimizer=optimizer))
    assert [group["lr"] for group in optimizer.param_groups] == [2, 1]
    assert "does not know keep the options they have here: param_groups[0]: 1.bias" in caplog.text


def test_another_optimizer_or_none_is_refused(mlp):
    sgd = ws.session_for(mlp, optimizer=torch.optim.SGD(mlp.parameters()))
    adam = ws.session_for(mlp, optimizer=torch.optim.Adam(mlp.parameters()))
    plain = ws.session_for(mlp)
    assert "torch.optim.sgd.SGD in the checkpoint, torch.optim.adam.Adam here" in refused(
        adam, sgd.state()
    )
    assert "optimizer: torch.optim.sgd.SGD in the checkpoint, None here" in refused(
        plain, sgd.state()
    )
    assert "optimizer: None in the checkpoint, torch.optim.sgd.SGD here" in refused(
        sgd, plain.state()
    )


def test_groups_that_are_none_are_refused(mlp):
    session = ws.session_for(mlp, optimizer=torch.optim.SGD(mlp.parameters()))
    state = session.state()
    state["optimizer"]["groups"] = [{"params": 3}]
    assert "its groups are not {'params': [...], 'options': {...}}" in refused(session, state)


class Stateful(nn.Linear):
    """Keeps something beside tensors."""

    def __init__(self, extra):
        super().__init__(2, 2)
        self.extra = extra

    def get_extra_state(self):
        return self.extra

    def set_extra_state(self, state):
        self.extra = state


def test_extra_state_is_run_state(mlp):
    old = nn.Sequential(Stateful({"calls": 3, "mean": torch.ones(2)}), Stateful(torch.ones(1)))
    new = nn.Sequential(Stateful(None), Stateful(None))
    session = ws.session_for(old)
    assert not [name for name in session.specs if "extra" in name]
    restored(session.state(), ws.session_for(new))
    assert new[0].extra["calls"] == 3
    assert torch.equal(new[0].extra["mean"], torch.ones(2))
    assert torch.equal(new[1].extra, torch.ones(1))
    assert "1._extra_state: not in the checkpoint" in refused(
        ws.session_for(new), ws.session_for(nn.Sequential(Stateful(1), nn.Linear(2, 2))).state()
    )


def test_what_no_checkpoint_brings_back_is_named(mlp):
    mlp.append(Stateful(object()))
    stranger = nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([*mlp.parameters(), stranger], lr=0.1, momentum=0.9)
    optimizer.param_groups[0]["rule"] = print
    optimizer.state["calls"] = 3
    optimizer.state[mlp[0].weight]["rule"] = print
    optimizer.state[mlp[0].weight][7] = 1
    mlp._register_state_dict_hook(leave_out_a_bias)
    session = ws.session_for(mlp, optimizer=optimizer)
    assert dict(session.unresumable()) == {
        "made": "a hook of the module put it into state_dict",
        "1.bias": "state_dict leaves this parameter out",
        "optimizer": "2 of its parameters are not among the module's variables",
        "0.weight/rule": "it is a builtin_function_or_method, which a checkpoint cannot hold",
        "0.weight/7": "its key 7 is not text",
        "param_groups[0]['rule']": (
            "it is a builtin_function_or_method, which a checkpoint cannot hold"
        ),
        "optimizer.state['calls']": "it belongs to no parameter",
        "2._extra_state": "it is a object, which a checkpoint cannot hold",
    }
    restored(session.state(), session)


def leave_out_a_bias(module, state, prefix, metadata):
    """A hook that drops a parameter and adds a tensor of its own."""
    del state["1.bias"]
    state["made"] = torch.zeros(1)
