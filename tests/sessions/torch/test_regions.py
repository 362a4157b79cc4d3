"""Where a variable is frozen in part, that part keeps its bits and the rest trains."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import warmstart as ws

HELD = np.s_[:7]
INDEXES = {
    "rows": np.s_[:7],
    "one row": 3,
    "from the end": np.s_[-3:],
    "columns": np.s_[:, 1],
    "every other": np.s_[::2, 1:3],
    "backwards": np.s_[8:2:-1],
    "some rows": [0, 4, 9],
    "an array": np.array([0, 4, 4], np.uint8),
    "a mask": np.arange(10) % 3 == 0,
    "a mask of all": (np.arange(40) % 3 == 0).reshape(10, 4),
    "both": (np.array([[1], [5]]), np.array([0, 3])),
    "the end": np.s_[..., -1],
}


def rows(net):
    return net.embedding.weight.detach().numpy().copy()


@pytest.mark.parametrize("index", INDEXES.values(), ids=INDEXES)
def test_any_index_of_numpy_may_say_where(net, train, index):
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1, weight_decay=0.1)
    frozen = ws.freeze(net, {"embedding.weight": index})
    assert repr(frozen).endswith("held still: embedding.weight; in part: embedding.weight>")
    before = rows(net)
    train(net, optimizer, 6)
    elsewhere = np.ones((10, 4), bool)
    elsewhere[index] = False
    assert rows(net)[index].tobytes() == before[index].tobytes()
    assert (rows(net) != before)[elsewhere].all()
    frozen.verify()


@pytest.mark.parametrize("steps", [0, 2], ids=["before-momentum", "with-momentum"])
def test_held_under_every_optimizer(net, make_optimizer, train, steps):
    optimizer = make_optimizer(net.parameters())
    session = ws.session_for(net, optimizer=optimizer)
    train(net, optimizer, steps)
    frozen = ws.freeze(session, {"embedding.weight": HELD, "hidden.weight": np.s_[:, :2]})
    before, hidden = rows(net), net.hidden.weight.detach().clone()
    train(net, optimizer, 6, set_to_none=False)
    assert rows(net)[HELD].tobytes() == before[HELD].tobytes()
    assert (rows(net)[7:] != before[7:]).all()
    assert (net.hidden.weight[:, 2:] != hidden[:, 2:]).all()
    frozen.verify()


@pytest.mark.parametrize("steps", [0, 2], ids=["before-momentum", "with-momentum"])
def test_slots_of_the_part_stay_and_training_goes_on_after_a_thaw(
    net, make_optimizer, train, steps
):
    optimizer = make_optimizer(net.parameters())
    session = ws.session_for(net, optimizer=optimizer)
    train(net, optimizer, steps)
    slots = {
        name: session.read(name)[HELD].copy()
        for name, spec in session.specs.items()
        if spec.role == "slot" and spec.shape == (10, 4)
    }
    frozen = ws.freeze(session, {"embedding.weight": HELD})
    train(net, optimizer, 3)
    for name, value in slots.items():
        assert session.read(name)[HELD].tobytes() == value.tobytes()
    before = rows(net)
    frozen.thaw()
    train(net, optimizer, 6)
    assert (rows(net) != before).all()


@pytest.mark.parametrize(
    ("make", "slots"),
    [
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1), ["momentum_buffer"]),
        (lambda p: torch.optim.Adam(p, weight_decay=0.1), ["exp_avg", "exp_avg_sq"]),
        (lambda p: torch.optim.RMSprop(p, weight_decay=0.1), ["square_avg"]),
    ],
    ids=["sgd", "adam", "rmsprop"],
)
def test_slots_that_a_step_makes_begin_at_zero_there(net, train, make, slots):
    optimizer = make(net.parameters())
    ws.freeze(net, {"embedding.weight": HELD})
    train(net, optimizer, 2)
    for slot in slots:
        value = optimizer.state[net.embedding.weight][slot]
        assert not value[HELD].any()
        assert value[7:].any()


@pytest.mark.parametrize("name", ["Rprop", "ASGD", "Adagrad"])
def test_slots_that_begin_otherwise_do_so_there(net, train, name):
    optimizer = getattr(torch.optim, name)(net.parameters())
    frozen = ws.freeze(net, {"embedding.weight": HELD})
    train(net, optimizer, 2)
    frozen.thaw()
    before = rows(net)
    train(net, optimizer, 6)
    assert (rows(net) != before).all()
    assert np.isfinite(rows(net)).all()


def test_sparse_gradients():
    net = nn.Embedding(10, 4, sparse=True)
    optimizer = torch.optim.SparseAdam(net.parameters(), lr=0.1)
    train_rows(net, optimizer)
    frozen = ws.freeze(net, {"weight": HELD})
    before = net.weight.detach().clone()
    train_rows(net, optimizer)
    frozen.verify()
    assert net.weight.grad.is_sparse
    assert (net.weight != before)[7:].all()


def train_rows(net, optimizer):
    for _ in range(3):
        optimizer.zero_grad()
        net(torch.arange(10)).pow(2).sum().backward()
        optimizer.step()


def test_gradients_given_by_hand_and_accumulated_do_nothing(net, train):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    ws.freeze(net, {"hidden.weight": np.s_[0]})
    before = net.hidden.weight.detach().clone()
    net.hidden.weight.grad = torch.ones_like(before)
    optimizer.step()
    for _ in range(3):
        net(torch.arange(8)).sum().backward()
    assert not net.hidden.weight.grad[0].any()
    optimizer.step()
    assert torch.equal(net.hidden.weight[0], before[0])
    assert (net.hidden.weight[1:] != before[1:]).all()


def test_the_norm_of_all_gradients_does_not_count_the_part(net):
    ws.freeze(net, {"hidden.weight": np.s_[:]})
    net(torch.arange(8)).sum().backward()
    assert nn.utils.clip_grad_norm_([net.hidden.weight], 1.0) == 0


def test_rows_are_not_shortened_by_max_norm(net):
    ws.freeze(net, {"embedding.weight": np.s_[:5]})
    with torch.no_grad():
        net.embedding.weight.fill_(9)
    shortened = net.embedding(torch.arange(10))
    assert torch.equal(net.embedding.weight[:5], torch.full((5, 4), 9.0))
    assert (net.embedding.weight[5:] < 1).all()
    assert (shortened < 1).all()


def test_statistics_of_a_layer_frozen_in_part_go_on(net):
    frozen = ws.freeze(net, {"norm.weight": np.s_[:2], "norm.bias": ...})
    assert frozen.names == ("norm.weight", "norm.bias")
    assert frozen.regions == {"norm.weight": np.s_[:2]}


def test_whole_and_in_part_at_once(net, train):
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1, weight_decay=0.1)
    part = ws.freeze(net, {"hidden.weight": np.s_[:2]})
    whole = ws.freeze(net, "hidden.weight")
    before = net.hidden.weight.detach().clone()
    train(net, optimizer)
    assert torch.equal(net.hidden.weight, before)
    whole.thaw()
    train(net, optimizer)
    assert torch.equal(net.hidden.weight[:2], before[:2])
    assert (net.hidden.weight[2:] != before[2:]).all()
    part.thaw()
    train(net, optimizer)
    assert (net.hidden.weight != before).all()


def test_frozen_in_part_what_is_frozen_already(net, train):
    optimizer = torch.optim.LBFGS(net.parameters(), lr=0.1, max_iter=3)
    whole = ws.freeze(net, "hidden.weight")
    part = ws.freeze(net, {"hidden.weight": np.s_[:2]})
    assert not net.hidden.weight.requires_grad
    whole.thaw()
    train(net, optimizer)
    part.verify()


def test_a_new_value_set_on_purpose_is_kept(net, train):
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    frozen = ws.freeze(net, {"hidden.bias": np.s_[:2]})
    ws.DictRestore({"hidden.bias": np.arange(6, dtype=np.float32)}).init(net)
    train(net, optimizer)
    assert net.hidden.bias[:2].tolist() == [0, 1]
    frozen.verify()


def test_a_step_that_fails_leaves_the_part(net, train):
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    frozen = ws.freeze(net, {"hidden.weight": np.s_[:5]})

    def failing():
        with torch.no_grad():
            net.hidden.weight += 1
        raise RuntimeError("the closure failed")

    with pytest.raises(RuntimeError, match="the closure failed"):
        optimizer.step(failing)
    train(net, optimizer)
    frozen.verify()


def test_mixed_precision_with_a_scaler(net):
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1, weight_decay=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**60, growth_interval=2)
    frozen = ws.freeze(net, {"hidden.weight": np.s_[:2], "norm.weight": ...})
    before = net.hidden.weight.detach().clone()
    for _ in range(70):  # the first steps overflow and are left out
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.float16):
            loss = net(torch.arange(8)).sum()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    assert scaler.get_scale() < 2.0**60
    assert (net.hidden.weight[2:] != before[2:]).all()
    frozen.verify()


def test_parameters_on_one_memory(train):
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    net[1].weight = nn.Parameter(net[0].weight.data)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1, weight_decay=0.1)
    frozen = ws.freeze(net, {"0.weight": np.s_[:2]})
    for _ in range(3):
        net(torch.ones(2, 4)).sum().backward()
        optimizer.step()
    frozen.verify()


def test_either_name_of_a_tied_parameter_says_which():
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    net[1].weight = net[0].weight
    freezing = ws.session_for(net).freeze(["1.weight"], regions={"1.weight": np.s_[:2]})
    assert (freezing.names, freezing.regions) == (("0.weight",), {"0.weight": np.s_[:2]})


def test_a_model_with_a_part_can_be_copied_and_pickled():
    net = nn.Embedding(10, 4, max_norm=0.5)
    ws.freeze(net, {"weight": HELD})
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        before = twin.weight.detach().clone()
        train_rows(twin, torch.optim.SGD(twin.parameters(), lr=0.1))
        assert (twin.weight != before).all()  # a copy is trained: nothing was said of it


def test_parts_of_statistics_are_refused(net):
    with pytest.raises(ws.FreezeError, match=r"norm.running_mean: only parameters can be frozen"):
        ws.freeze(net, {"norm.running_mean": np.s_[:2], "hidden.weight": np.s_[:2]})
    assert not net.hidden.weight._post_accumulate_grad_hooks


def test_thawing_leaves_no_hook_behind(net):
    freezing = ws.session_for(net).freeze(["hidden.weight"], regions={"hidden.weight": HELD})
    freezing.thaw()
    assert not net.hidden.weight._post_accumulate_grad_hooks
