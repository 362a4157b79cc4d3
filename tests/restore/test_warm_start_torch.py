"""WarmStartSettings and vocabularies on PyTorch modules."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import warmstart as ws
from warmstart.errors import RuleError

OLD = ["b", "a", "c", "e"]
NEW = ["a", "x", "c", "y", "b"]


def model(n_words, *, tied=False):
    """Return a small model with an embedding, a layer and an output over the words."""
    torch.manual_seed(n_words)
    module = nn.ModuleDict(
        {"emb": nn.Embedding(n_words, 3), "fc": nn.Linear(3, 3), "out": nn.Linear(3, n_words)}
    )
    if tied:
        module["out"].weight = module["emb"].weight
    return module


def trained(module, optimizer=torch.optim.Adam, steps=2):
    """Return the optimizer of *module* after some steps."""
    made = optimizer(module.parameters(), lr=0.1)
    for _ in range(steps):
        made.zero_grad()
        words = torch.arange(module["emb"].num_embeddings)
        module["out"](torch.tanh(module["fc"](module["emb"](words)))).square().sum().backward()
        made.step()
    return made


@pytest.fixture
def base(tmp_path):
    """A checkpoint of a trained model with its optimizer, and its values."""
    module = model(len(OLD))
    session = ws.session_for(module, optimizer=trained(module))
    ws.save_vars(session, tmp_path / "base")
    return tmp_path / "base", {name: np.array(session.read(name)) for name in session.specs}


def vocabularies(**fields):
    """Return a vocabulary for every variable that has a place for each word."""
    info = ws.VocabInfo(NEW, 5, 0, OLD, **fields)
    return dict.fromkeys(("emb.weight", "out.weight", "out.bias"), info)


def follows(found, old, new=0):
    """Return whether the rows of *found* are those of *old* by the words, and *new* in new ones."""
    return np.array_equal(found[[0, 2, 4]], old[[1, 2, 0]]) and (found[[1, 3]] == new).all()


@pytest.mark.parametrize("steps", [0, 1])
def test_rows_and_slots_follow_the_words(steps, base):
    path, old = base
    module = model(len(NEW))
    session = ws.session_for(module, optimizer=trained(module, steps=steps))
    report = ws.WarmStartSettings(path, ".*", vocabularies(), slots=True).init(session)
    for name in vocabularies():
        for slot in ("", "/exp_avg", "/exp_avg_sq"):
            assert follows(session.read(name + slot), old[name + slot])
        assert session.read(f"{name}/step") == 2
    assert np.array_equal(session.read("fc.weight/exp_avg"), old["fc.weight/exp_avg"])
    assert set(report.loaded) == set(session.specs)


def test_training_goes_on_with_the_slots(base):
    module = model(len(NEW))
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    session = ws.session_for(module, optimizer=optimizer)
    ws.WarmStartSettings(base[0], ".*", vocabularies(), slots=True).init(session)
    module["out"](module["emb"](torch.arange(5))).square().sum().backward()
    optimizer.step()
    assert session.read("emb.weight/step") == 3
    assert np.isfinite(session.read("emb.weight")).all()


def test_slots_are_left_alone_unless_asked_for(base):
    module = model(len(NEW))
    session = ws.session_for(module, optimizer=torch.optim.Adam(module.parameters()))
    report = ws.WarmStartSettings(base[0], ".*", vocabularies()).init(session)
    assert set(report.loaded) == {"fc.weight", "fc.bias", *vocabularies()}
    assert [name for name in session.specs if "/" in name] == []


def test_a_list_of_regexes_means_slots_too(base):
    path, old = base
    module = model(len(NEW))
    session = ws.session_for(module, optimizer=torch.optim.Adam(module.parameters()))
    info = {"emb.weight": vocabularies()["emb.weight"]}
    report = ws.WarmStartSettings(path, [r"emb\.weight"], info).init(session)
    assert set(report.loaded) == {
        f"emb.weight{s}" for s in ("", "/exp_avg", "/exp_avg_sq", "/step")
    }
    assert follows(session.read("emb.weight/exp_avg"), old["emb.weight/exp_avg"])


@pytest.mark.parametrize(
    ("optimizer", "slot"),
    [(torch.optim.SGD, None), (torch.optim.Adagrad, "sum"), (torch.optim.Adafactor, "row_var")],
)
def test_other_optimizers(optimizer, slot, tmp_path):
    before = model(len(OLD))
    ws.save_vars(ws.session_for(before, optimizer=trained(before, optimizer)), tmp_path / "base")
    old = ws.load_vars(tmp_path / "base")
    module = model(len(NEW))
    session = ws.session_for(module, optimizer=optimizer(module.parameters(), lr=0.1))
    ws.WarmStartSettings(tmp_path / "base", ".*", vocabularies(), slots=True).init(session)
    names = ["emb.weight"] + ([f"emb.weight/{slot}"] if slot else [])
    for name in names:
        assert follows(session.read(name), old[name])


def test_the_models_own_rows(base):
    path, old = base
    module = model(len(NEW))
    own = module["emb"].weight.detach().numpy().copy()
    ws.WarmStartSettings(path, ".*", vocabularies(backup_initializer="model")).init(module)
    found = module["emb"].weight.detach().numpy()
    assert np.array_equal(found[[0, 2, 4]], old["emb.weight"][[1, 2, 0]])
    assert np.array_equal(found[[1, 3]], own[[1, 3]])


@pytest.mark.parametrize(
    "nines",
    [
        lambda shape, dtype: np.full(shape, 9, dtype),
        lambda shape, dtype: torch.full(shape, 9, dtype=torch.bfloat16),
        lambda shape, dtype: torch.full(shape, 9.0, requires_grad=True),
        partial(torch.nn.init.constant_, val=9),
    ],
    ids=["numpy", "bfloat16", "with a gradient", "torch.nn.init"],
)
def test_a_function_makes_new_rows(nines, base):
    module = model(len(NEW))
    nine = vocabularies(backup_initializer=nines)
    ws.WarmStartSettings(base[0], ".*", nine).init(module)
    assert follows(module["emb"].weight.detach().numpy(), base[1]["emb.weight"], new=9)


def test_initializers_of_torch_keep_to_its_seed(base):
    def rows():
        torch.manual_seed(5)
        module = model(len(NEW))
        normal = {"emb.weight": ws.VocabInfo(NEW, 5, 0, OLD, -1, torch.nn.init.normal_)}
        ws.WarmStartSettings(base[0], ".*", normal | outputs).init(module)
        return module["emb"].weight.detach().numpy()[[1, 3]]

    outputs = {name: info for name, info in vocabularies().items() if name != "emb.weight"}
    assert np.array_equal(rows(), rows())
    assert rows().std() > 0


def test_bfloat16(base):
    module = model(len(NEW)).bfloat16()
    nine = vocabularies(backup_initializer=lambda shape, dtype: np.full(shape, 9, dtype))
    report = ws.WarmStartSettings(base[0], ".*", nine).init(module)
    found = module["emb"].weight.detach().float().numpy()
    old = torch.from_numpy(base[1]["emb.weight"]).bfloat16().float().numpy()
    assert follows(found, old, new=9)
    assert report.cast["emb.weight"] == "float32 -> bfloat16"


@pytest.mark.parametrize("name", ["emb.weight", "out.weight"])
def test_either_name_of_a_tied_variable_has_the_vocabulary(name, tmp_path):
    before = model(len(OLD), tied=True)
    ws.save_vars(ws.session_for(before), tmp_path / "base")
    old = before["emb"].weight.detach().numpy()
    module = model(len(NEW), tied=True)
    info = ws.VocabInfo(NEW, 5, 0, OLD)
    ws.WarmStartSettings(tmp_path / "base", ".*", {name: info, "out.bias": info}).init(module)
    assert module["out"].weight is module["emb"].weight
    assert follows(module["emb"].weight.detach().numpy(), old)


def test_by_parameters(base):
    path, old = base
    module = model(len(OLD))
    optimizer = torch.optim.Adam(module.parameters())
    chosen = list(module["fc"].parameters())
    session = ws.session_for(module, optimizer=optimizer)
    report = ws.WarmStartSettings(path, chosen).init(session)
    assert report.loaded == ("fc.weight", "fc.bias")
    assert np.array_equal(session.read("fc.bias"), old["fc.bias"])


def test_a_parameter_of_another_model(base):
    with pytest.raises(RuleError, match=r"by:\n  a Parameter torch.Size\(\[3, 3\]\)"):
        ws.WarmStartSettings(base[0], list(model(2)["fc"].parameters())).init(model(4))


def test_a_checkpoint_may_have_either_name_of_a_tied_variable(tmp_path):
    ws.save_vars({"out.weight": np.full((4, 3), 7, np.float32)}, tmp_path / "base")
    module = model(4, tied=True)
    report = ws.WarmStartSettings(tmp_path / "base", [module["emb"].weight]).init(module)
    assert report.loaded == ("emb.weight",)
    assert (module["out"].weight == 7).all()


@pytest.mark.parametrize(
    ("optimizer", "slot", "first"),
    [
        (partial(torch.optim.Adagrad, initial_accumulator_value=0.25), "sum", 0.25),
        (torch.optim.Rprop, "step_size", np.float32(0.1)),  # the learning rate
        (torch.optim.Adamax, "exp_inf", 0),
        (partial(torch.optim.SGD, momentum=0.9), "momentum_buffer", 0),
    ],
)
@pytest.mark.parametrize("steps", [0, 1])
def test_new_rows_of_a_slot_are_what_the_optimizer_begins_with(
    optimizer, slot, first, steps, tmp_path
):
    source = model(len(OLD))
    old = ws.session_for(source, optimizer=trained(source, optimizer))
    ws.save_vars(old, tmp_path / "base")
    session = ws.session_for(module := model(len(NEW)), optimizer=trained(module, optimizer, steps))
    ws.WarmStartSettings(tmp_path / "base", ".*", vocabularies(), slots=True).init(session)
    for name in vocabularies():
        assert follows(session.read(f"{name}/{slot}"), old.read(f"{name}/{slot}"), first)
