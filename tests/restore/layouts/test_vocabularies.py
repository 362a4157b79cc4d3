"""Vocabularies of a model whose layers lie otherwise in the checkpoint."""

import numpy as np
import pytest

import warmstart as ws
from warmstart.errors import RuleError
from warmstart.layer import Layer
from warmstart.spec import TensorSpec
from warmstart.testing.memory import MemorySession

OLD = ["a", "b", "c", "d"]
NEW = ["c", "a", "x", "d", "y"]
PLACES = [2, 0, -1, 3, -1]
BEFORE = {"head/kernel": "head.weight", "head/bias": "head.bias", "emb/embeddings": "emb.weight"}


class Keras(MemorySession):
    """An embedding and the dense layer over its words, as Keras has them: (in, out)."""

    convention = "keras"

    def __init__(self, words, *, slots=False):
        shapes = {"emb/embeddings": (words, 4), "head/kernel": (4, words), "head/bias": (words,)}
        specs = [TensorSpec(name, "float32", shape, "trainable") for name, shape in shapes.items()]
        specs += [TensorSpec(f"{s.name}/m", "float32", s.shape, "slot") for s in specs if slots]
        super().__init__(specs)

    def layers(self):
        kernels = {"kernel": "head/kernel", "bias": "head/bias"}
        return [
            Layer("dense", "head", kernels),
            Layer("embedding", "emb", {"embeddings": "emb/embeddings"}),
        ]


KERNEL = {"head/kernel": ws.VocabInfo(NEW, 4, 0, OLD, axis=1)}
KERNEL_BEFORE = {"head/kernel": "head.weight"}


def numbered(*shape):
    return np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)


@pytest.fixture
def torch_file(tmp_path):
    arrays = {"emb.weight": numbered(4, 4), "head.weight": numbered(4, 4), "head.bias": numbered(4)}
    arrays |= {f"{name}/m": 10 * array for name, array in arrays.items()}
    ws.save_vars(arrays, tmp_path / "torch.npz")
    return tmp_path / "torch.npz"


def infos(words, **options):
    info = {axis: ws.VocabInfo(NEW[:words], words, 0, OLD, axis=axis, **options) for axis in (0, 1)}
    return {"emb/embeddings": info[0], "head/kernel": info[1], "head/bias": info[0]}


def by_hand(old, words, axis):
    moved = np.moveaxis(old, axis, 0)
    rows = [moved[i] if i >= 0 else np.zeros_like(moved[0]) for i in PLACES[:words]]
    return np.moveaxis(np.stack(rows), 0, axis)


@pytest.mark.parametrize("words", [3, 4, 5])
def test_rows_follow_along_the_axes_of_the_model(words, torch_file):
    """With 4 words all is square, and shapes do not tell what was turned."""
    session = Keras(words)
    report = ws.WarmStartSettings(torch_file, ".*", infos(words), BEFORE).init(session)
    assert np.array_equal(session.read("emb/embeddings"), by_hand(numbered(4, 4), words, 0))
    assert np.array_equal(session.read("head/kernel"), by_hand(numbered(4, 4).T, words, 1))
    assert np.array_equal(session.read("head/bias"), by_hand(numbered(4), words, 0))
    assert report.transformed["head/kernel"].startswith("transpose 1 0, vocabulary a list of 4")


def test_so_it_is_in_a_chain(torch_file):
    session = Keras(4)
    ws.SmartInit([ws.WarmStartSettings(torch_file, ".*", infos(4), BEFORE)]).init(session)
    assert np.array_equal(session.read("head/kernel"), by_hand(numbered(4, 4).T, 4, 1))


def test_slots_of_what_is_turned_begin_anew(torch_file):
    session = Keras(5, slots=True)
    settings = ws.WarmStartSettings(torch_file, ".*", infos(5), BEFORE, slots=True)
    settings.init(session)
    assert np.array_equal(session.read("head/bias/m"), by_hand(10 * numbered(4), 5, 0))
    assert "head/kernel/m" not in session.order


def test_an_old_vocabulary_beyond_what_was_trained(torch_file):
    long = {"head/kernel": ws.VocabInfo(["e", "a"], 2, 0, [*OLD, "e"], axis=1)}
    session = Keras(2)
    with pytest.raises(RuleError, match=r"place 4 along axis 1 is asked for .* longer than what"):
        ws.WarmStartSettings(torch_file, ["head/kernel"], long, KERNEL_BEFORE).init(session)
    assert session.order == []


def test_a_rule_that_takes_the_models_name_away(torch_file):
    settings = ws.WarmStartSettings(torch_file, ["head/kernel"], KERNEL, KERNEL_BEFORE)
    chain = ws.ChainInit([settings], rules="rename head/kernel -> head/weight")
    message = "head/weight of .*: the model's variable that follows its vocabulary is not found"
    with pytest.raises(RuleError, match=message):
        chain.init(Keras(4))
