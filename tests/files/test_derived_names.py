"""Names that only say where a tensor lies are written nowhere as tensors of their own."""

import numpy as np
import pytest

import warmstart as ws

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")

RULES = [
    "rename body/kernel -> 0.weight", "transpose 0.weight: 1 0", "rename body/bias -> 0.bias",
]  # fmt: skip


@pytest.fixture
def weights(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="body")])
    path = tmp_path / "m.weights.h5"
    model.save_weights(path)
    return path, model.get_layer("body").get_weights()


def test_a_state_dict_has_each_tensor_once(weights, tmp_path):
    path, _ = weights
    ws.convert(path, tmp_path / "m.pt")
    assert sorted(torch.load(tmp_path / "m.pt")) == ["body/bias", "body/kernel"]


@pytest.mark.parametrize("name", ["m", "m.npz", "m.safetensors", "m.msgpack", "dcp/", "orbax/"])
def test_so_it_is_by_way_of_another_format(name, weights, tmp_path):
    path, _ = weights
    format = name.removesuffix("/") if name.endswith("/") else None
    ws.convert(path, tmp_path / name, format=format)
    with ws.open(tmp_path / name) as there:
        assert {*there.derived} == {*there.aliases}
    ws.convert(tmp_path / name, tmp_path / "out.pt")
    assert sorted(torch.load(tmp_path / "out.pt")) == ["body/bias", "body/kernel"]


def test_so_has_one_of_loaded_variables(weights, tmp_path):
    path, _ = weights
    ws.save_vars(ws.load_vars(path), tmp_path / "m.pt")
    assert sorted(torch.load(tmp_path / "m.pt")) == ["body/bias", "body/kernel"]


def test_what_rules_make_is_a_module_s_state(weights, tmp_path):
    path, (kernel, bias) = weights
    done = ws.convert(path, tmp_path / "m.pt", rules=RULES)
    assert done.tensors == 2
    net = torch.nn.Sequential(torch.nn.Linear(4, 3))
    net.load_state_dict(torch.load(tmp_path / "m.pt"))
    np.testing.assert_array_equal(net[0].weight.detach().numpy(), kernel.T)
    np.testing.assert_array_equal(net[0].bias.detach().numpy(), bias)


def test_a_folder_of_pytorch_has_each_tensor_once(weights, tmp_path):
    from torch.distributed.checkpoint import FileSystemReader
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    path, _ = weights
    ws.convert(path, tmp_path / "dcp", format="dcp")
    found = FileSystemReader(tmp_path / "dcp").read_metadata().state_dict_metadata
    kept = [name for name, item in found.items() if isinstance(item, TensorStorageMetadata)]
    assert sorted(kept) == ["body/bias", "body/kernel"]
