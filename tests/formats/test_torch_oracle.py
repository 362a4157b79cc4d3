"""PyTorch itself as the judge: what it saves is read as it is, names and bits."""

import argparse
import collections
import dataclasses
import enum
import functools
import json
import pathlib
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import omegaconf
import pytest
import torch

import warmstart as ws
from warmstart import CheckpointNotFound, CorruptCheckpoint
from warmstart.formats import torch as format_
from warmstart.formats.torch import tree

GOLDEN = pathlib.Path(__file__).parents[1] / "golden/torch"

OLD = {"_use_new_zipfile_serialization": False}


def bits(tensor: torch.Tensor) -> bytes:
    """Return the bytes of the values of *tensor*, packed in C order."""
    plain = tensor.detach().resolve_conj().resolve_neg().contiguous()
    flat = plain.reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def same(array: np.ndarray, tensor: torch.Tensor) -> bool:
    return array.shape == tuple(tensor.shape) and array.tobytes() == bits(tensor)


def saved(value: Any, path: pathlib.Path, **options: Any) -> Any:
    torch.save(value, path, **options)
    return ws.open(path)


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
@pytest.mark.parametrize("name", ["dtypes", "stream", "tar"])
@pytest.mark.parametrize("mmap", [True, False])
def test_golden_files_hold_what_pytorch_finds_in_them(name: str, mmap: bool) -> None:
    path = GOLDEN / f"{name}.pt"
    expected = torch.load(path, weights_only=name != "tar")
    with ws.open(path, mmap=mmap) as source:
        found = source.read_all()
    assert list(found) == list(expected)
    for key, tensor in expected.items():
        paired = torch.view_as_real(tensor) if tensor.dtype == torch.complex32 else tensor
        assert same(found[key], paired), key


def test_the_dtypes_are_pytorch_s() -> None:
    with ws.open(GOLDEN / "dtypes.pt") as source:
        dtypes = {name: spec.dtype for name, spec in source.specs.items()}
        assert source.stored == {"complex32": "complex32 (3,)"}
    assert dtypes.pop("complex32") == "float16"
    assert all(name == dtype for name, dtype in dtypes.items())


BASE = torch.arange(24.0).reshape(4, 6)

VIEWS: dict[str, torch.Tensor] = {
    "whole": BASE,
    "transposed": BASE.T,
    "strided": BASE[::2, 1::3],
    "offset": BASE[1:3, 2:],
    "expanded": torch.arange(3.0).expand(5, 3),
    "scalar": BASE[2, 3],
    "empty": torch.zeros(0, 4),
    "empty part": BASE[2:2],
    "conjugated": torch.tensor([1 + 2j, 3 - 4j]).conj(),
    "negated": torch.tensor([1 + 2j, 3 - 4j]).conj().imag,
    "five dimensions": torch.arange(120).reshape(1, 2, 3, 4, 5).permute(4, 2, 0, 1, 3),
    "channels last": torch.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=torch.channels_last),
}


@pytest.mark.parametrize("options", [{}, OLD], ids=["zip", "stream"])
@pytest.mark.parametrize("mmap", [True, False])
def test_any_view_of_a_storage(options: dict[str, Any], mmap: bool, tmp_path: pathlib.Path) -> None:
    torch.save(VIEWS, tmp_path / "m.pt", **options)
    with ws.open(tmp_path / "m.pt", mmap=mmap) as source:
        for name, tensor in VIEWS.items():
            assert same(source.read(name), tensor), name
            if_any = (slice(None, None, -1),) if tensor.ndim else ...
            assert source.read_slice(name, if_any).tolist() == source.read(name)[if_any].tolist()


def test_a_view_that_is_whole_is_not_copied(tmp_path: pathlib.Path) -> None:
    with saved({"w": BASE}, tmp_path / "m.pt") as source:
        array = source.read("w")
        assert not array.flags.writeable
        assert not array.flags.owndata


def test_tied_weights_are_one_tensor(tmp_path: pathlib.Path) -> None:
    weight = torch.nn.Parameter(BASE)
    state = {"encoder": weight, "decoder": weight, "part": BASE[1:]}
    with saved(state, tmp_path / "m.pt") as source:
        assert list(source.specs) == ["encoder", "part"]
        assert source.aliases == {"decoder": "encoder"}
        assert same(source.read("decoder"), BASE)


def test_roles_are_those_of_parameters(tmp_path: pathlib.Path) -> None:
    frozen = torch.nn.Parameter(BASE, requires_grad=False)
    state = {"w": torch.nn.Parameter(BASE + 1), "frozen": frozen, "plain": BASE + 2}
    with saved(state, tmp_path / "m.pt") as source:
        roles = {name: spec.role for name, spec in source.specs.items()}
    assert roles == {"w": "trainable", "frozen": "model", "plain": None}


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_either_byte_order(byteorder: str, tmp_path: pathlib.Path) -> None:
    tensors = {n: torch.arange(3).to(getattr(torch, n)) for n in ("float32", "bfloat16", "uint8")}
    tensors["complex64"] = torch.tensor([1 + 2j])
    torch.save(tensors, tmp_path / "a.pt")
    with (
        zipfile.ZipFile(tmp_path / "a.pt") as old,
        zipfile.ZipFile(tmp_path / "b.pt", "w") as new,
    ):
        for name in old.namelist():
            new.writestr(name, swapped(name, old.read(name), byteorder, list(tensors)))
    with ws.open(tmp_path / "b.pt") as source:
        for name, tensor in torch.load(tmp_path / "b.pt").items():
            assert same(source.read(name), tensor), name


def swapped(name: str, data: bytes, byteorder: str, dtypes: list[str]) -> bytes:
    """Return a member as a machine of *byteorder* would have written it."""
    if name.endswith("byteorder"):
        return byteorder.encode()
    if "/data/" not in name or byteorder == "little":
        return data
    width = {"float32": 4, "bfloat16": 2, "uint8": 1, "complex64": 4}[dtypes[int(name[-1])]]
    return np.frombuffer(data, f"<u{width}").astype(f">u{width}").tobytes()


# --- containers and classes -----------------------------------------------------------------------


def test_a_training_checkpoint() -> None:
    with ws.open(GOLDEN / "checkpoint.pt") as source:
        names, roles = list(source.specs), {n: s.role for n, s in source.specs.items()}
        metadata, aliases = source.metadata, source.aliases
    whole = torch.load(GOLDEN / "checkpoint.pt", weights_only=False)
    assert names[:7] == [f"model/{name}" for name in whole["model"]]
    assert roles["optimizer/state/3/exp_avg"] == "slot"
    assert aliases["model/bn.bias/exp_avg"] == "optimizer/state/3/exp_avg"
    assert metadata["optimizer/param_groups/0/lr"] == json.dumps(
        whole["optimizer"]["param_groups"][0]["lr"]
    )
    assert metadata["scheduler/last_epoch"] == "1"
    assert metadata["epoch"] == "3"
    assert (metadata["args/lr"], metadata["args/best"]) == ("0.1", "0.5")
    assert (metadata["config/data/sizes/1"], metadata["config/data/name"]) == ("2", '"x"')
    assert json.loads(metadata["transform"])["func"] == "torch.nn.functional.relu"
    assert names[-1] == "history"


def test_slots_are_named_by_the_names_that_the_groups_have(tmp_path: pathlib.Path) -> None:
    model = torch.nn.Linear(2, 3)
    optimizer = torch.optim.SGD(reversed(list(model.named_parameters())), momentum=0.9, lr=0.1)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    value = {"state_dict": model.state_dict(), "optimizer_states": [optimizer.state_dict()]}
    with saved(value, tmp_path / "m.ckpt") as source:
        assert source.aliases == {
            "state_dict/bias/momentum_buffer": "optimizer_states/0/state/0/momentum_buffer",
            "state_dict/weight/momentum_buffer": "optimizer_states/0/state/1/momentum_buffer",
        }


def test_slots_that_may_be_of_several_have_no_other_names(tmp_path: pathlib.Path) -> None:
    model = torch.nn.Linear(2, 3)
    optimizer = torch.optim.SGD([model.bias], momentum=0.9, lr=0.1)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    value = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    with saved(value, tmp_path / "m.pt") as source:
        assert source.aliases == {}


class Colour(enum.Enum):
    """An enum, which the reader does not import."""

    RED = 1


@dataclasses.dataclass
class Config:
    """A class that the reader does not import."""

    rate: float
    weight: Any = None


class Slotted:
    """A class with slots."""

    __slots__ = ("weight",)


def slotted(weight: torch.Tensor) -> Slotted:
    found = Slotted()
    found.weight = weight
    return found


HERE = __name__

OBJECTS: dict[str, tuple[Any, dict[str, str]]] = {
    "enum": (Colour.RED, {"x": f'{{"__class__": "{HERE}.Colour", "args": [1]}}'}),
    "dataclass": (
        Config(0.5),
        {"x": f'{{"__class__": "{HERE}.Config", "rate": 0.5, "weight": null}}'},
    ),
    "namespace": (argparse.Namespace(a=1, b=[2]), {"x/a": "1", "x/b/0": "2"}),
    "partial": (
        functools.partial(max, 1, key=len),
        {
            "x": '{"__class__": "functools.partial", "func": "builtins.max", "args": [1], '
            '"keywords": {"key": "builtins.len"}}'
        },
    ),
    "omega list": (omegaconf.OmegaConf.create([1, {"a": None}]), {"x/0": "1", "x/1/a": "null"}),
    "numpy scalar": (np.float64(0.5), {"x": "0.5"}),
    "numpy text": (np.str_("é"), {"x": '"é"'}),
    "defaultdict": (collections.defaultdict(int, a=1), {"x/a": "1"}),
    "path": (pathlib.PurePosixPath("a/b"), {"x": '"a/b"'}),
    "device": (
        torch.device("cuda", 1),
        {"x": '{"__class__": "torch.device", "args": ["cuda", 1]}'},
    ),
    "dtype": (torch.float16, {"x": '"torch.float16"'}),
    "size": (torch.Size([2, 3]), {"x/0": "2", "x/1": "3"}),
    "bytes": (b"ab", {"x": '"ab"'}),
    "set": ({1}, {"x": "[1]"}),
    "nan": (float("nan"), {"x": "NaN"}),
    "empty": ({}, {"x": "{}"}),
    "surrogate": ("\ud800", {"x": '"\\\\ud800"'}),
}


@pytest.mark.parametrize("kind", OBJECTS)
@pytest.mark.parametrize("options", [{}, OLD, {"pickle_protocol": 4}], ids=["zip", "old", "p4"])
def test_objects_are_metadata(kind: str, options: dict[str, Any], tmp_path: pathlib.Path) -> None:
    value, expected = OBJECTS[kind]
    with saved({"w": BASE, "x": value}, tmp_path / "m.pt", **options) as source:
        assert list(source.specs) == ["w"]
        assert {k: v for k, v in source.metadata.items() if k != "torch.tree"} == expected


@pytest.mark.parametrize("make", [lambda w: Config(0.5, w), slotted])
def test_tensors_in_an_object_are_found(
    make: Callable[[torch.Tensor], Any], tmp_path: pathlib.Path
) -> None:
    with saved({"x": make(BASE)}, tmp_path / "m.pt") as source:
        assert same(source.read("x/weight"), BASE)
        assert source.metadata["x/__class__"].startswith(f'"{HERE}.')


def test_a_tensor_by_itself_is_called_after_the_file(tmp_path: pathlib.Path) -> None:
    with saved(BASE, tmp_path / "weights.pt") as source:
        assert list(source.specs) == ["weights"]
        assert same(source.read("weights"), BASE)


@pytest.mark.filterwarnings("ignore:Sparse", "ignore:torch.quantize", "ignore:.*quantiz")
def test_quantised_and_sparse_tensors_are_read_as_their_parts(tmp_path: pathlib.Path) -> None:
    scales, zeros = torch.tensor([0.1, 0.2]), torch.tensor([0, 1])
    q = torch.quantize_per_tensor(torch.ones(2), 0.1, 3, torch.quint8)
    c = torch.quantize_per_channel(torch.ones(2, 3), scales, zeros, 0, torch.qint8)
    sparse = {"coo": torch.eye(3).to_sparse(), "csr": torch.eye(3).to_sparse_csr()}
    with saved({"q": q, "c": c, **sparse}, tmp_path / "m.pt") as source:
        found, metadata = source.read_all(), source.metadata
    assert same(found["q/int_repr"], q.int_repr())
    assert (metadata["q/scale"], metadata["q/zero_point"]) == ("0.1", "3")
    assert same(found["c/int_repr"], c.int_repr())
    assert same(found["c/scales"], c.q_per_channel_scales())
    assert same(found["coo/indices"], sparse["coo"].indices())
    assert same(found["csr/crow_indices"], sparse["csr"].crow_indices())
    assert metadata["csr/__class__"] == '"torch.sparse_csr"'


def test_storages_are_tensors_of_one_dimension(tmp_path: pathlib.Path) -> None:
    with pytest.warns(UserWarning, match="TypedStorage is deprecated"):
        value = {"typed": torch.FloatStorage([1, 2]), "untyped": torch.UntypedStorage(3).fill_(7)}
    with saved(value, tmp_path / "m.pt") as source:
        assert source.read("typed").tolist() == [1, 2]
        assert source.read("untyped").tolist() == [7, 7, 7]


def test_a_file_without_checksums_is_read(tmp_path: pathlib.Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": BASE}, tmp_path / "m.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    with ws.open(tmp_path / "m.pt") as source:
        assert same(source.read("w"), BASE)


# --- modules --------------------------------------------------------------------------------------


class Block(torch.nn.Module):
    """A module with all that one can have."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(2, 3, bias=False)
        self.again = self.fc
        self.frozen = torch.nn.Parameter(torch.ones(2), requires_grad=False)
        self.register_buffer("kept", torch.zeros(1))
        self.register_buffer("hidden", torch.ones(1), persistent=False)
        self.loose = torch.arange(3)
        self.lstm = torch.nn.LSTM(2, 2)


@pytest.mark.parametrize("options", [{}, OLD], ids=["zip", "stream"])
def test_a_module_saved_whole_is_its_state_dict(
    options: dict[str, Any], tmp_path: pathlib.Path
) -> None:
    model = Block()
    with saved({"model": model}, tmp_path / "m.pt", **options) as source:
        for name, tensor in model.state_dict().items():
            assert same(source.read(f"model/{name}"), tensor)
        roles = {name: spec.role for name, spec in source.specs.items()}
        extra = {*source.specs, *source.aliases} - {f"model/{n}" for n in model.state_dict()}
        assert source.aliases == {"model/again.weight": "model/fc.weight"}
        assert source.metadata["model/hidden/persistent"] == "false"
        assert source.metadata["model/fc.in_features"] == "2"
        assert source.metadata["model/__class__"] == f'"{HERE}.Block"'
    assert extra == {"model/hidden", "model/loose"}
    assert (roles["model/fc.weight"], roles["model/frozen"]) == ("trainable", "model")
    assert (roles["model/kept"], roles["model/hidden"]) == ("model", "model")


def test_a_module_of_torchscript_is_its_state_dict() -> None:
    expected = torch.jit.load(GOLDEN / "script.pt").state_dict()  # type: ignore[no-untyped-call]
    with ws.open(GOLDEN / "script.pt") as source:
        assert list(source.specs) == list(expected)
        for name, tensor in expected.items():
            assert same(source.read(name), tensor)
        assert source.specs["fc.weight"].role == "trainable"
        assert source.specs["bn.running_mean"].role == "model"


def test_constants_of_torchscript_are_tensors_of_their_own(tmp_path: pathlib.Path) -> None:
    model = torch.nn.Linear(2, 3).eval()
    frozen = torch.jit.freeze(torch.jit.script(model))  # turns parameters into constants
    torch.jit.save(frozen, tmp_path / "m.pt")  # type: ignore[no-untyped-call]
    with ws.open(tmp_path / "m.pt") as source:
        assert sorted(source.specs) == ["constants/0", "constants/1"]
        assert {array.tobytes() for array in source.read_all().values()} == {
            bits(model.weight),
            bits(model.bias),
        }


# --- shards ---------------------------------------------------------------------------------------


def test_shards_are_one_checkpoint() -> None:
    with ws.open(GOLDEN / "shards") as source, ws.open(GOLDEN / "stream.pt") as whole:
        assert list(source.specs) == list(whole.specs)
        for name, array in whole.read_all().items():
            assert np.array_equal(source.read(name), array)
        assert source.metadata["total_size"] == "1"
        assert source.read_slice("fc.weight", 1).tolist() == [2, 3]
        assert list(source.unclaimed() or ()) == []


@pytest.mark.parametrize(
    ("file", "kind", "message"),
    [
        ("../a.bin", CorruptCheckpoint, "names 1 shards outside its own folder"),
        ("c.bin", CheckpointNotFound, r"1 of 1 shards are missing: 'c\.bin'"),
    ],
)
def test_shards_elsewhere(
    file: str, kind: type[Exception], message: str, tmp_path: pathlib.Path
) -> None:
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": {"w": file}}))
    with pytest.raises(kind, match=message):
        format_.open_source(index, verify=True)


# --- the skeleton ---------------------------------------------------------------------------------


def test_the_skeleton_is_the_structure_that_was_saved() -> None:
    with ws.open(GOLDEN / "checkpoint.pt") as source:
        skeleton = source.metadata["torch.tree"]
        found = tree.rebuilt(skeleton, list(source.specs))
        kept = tree.leaf_names(skeleton)
        assert kept == set(source.metadata) - {"torch.tree"}
    whole = torch.load(GOLDEN / "checkpoint.pt", weights_only=False)
    assert list(found) == list(whole)
    assert found["optimizer"]["param_groups"] == whole["optimizer"]["param_groups"]
    assert found["optimizer"]["state"][0]["step"] == tree.TensorLeaf("optimizer/state/0/step")
    assert found["model"].state == {"_metadata": dict(whole["model"]._metadata)}
    assert found["args"] == {"lr": 0.1, "best": 0.5}


VALUES = [
    {"a": 1, 2: "b", True: None, 0.5: [0.5, float("inf")]},
    [1, (2, [3])],
    {"x": {1, 2}, "y": b"\0\xff", "z": 2 + 1j},
]


@pytest.mark.parametrize("value", VALUES)
def test_plain_values_survive_the_skeleton(value: Any) -> None:
    assert tree.rebuilt(tree.skeleton_of(value), []) == value


def test_a_skeleton_without_some_of_its_tensors(tmp_path: pathlib.Path) -> None:
    value = {"a": {"w": BASE, "v": BASE + 1}, "l": [BASE + 2], "n": 1}
    with saved(value, tmp_path / "m.pt") as source:
        skeleton = source.metadata["torch.tree"]
    assert tree.rebuilt(skeleton, ["a/w", "l/0"]) == {
        "a": {"w": tree.TensorLeaf("a/w")}, "l": [tree.TensorLeaf("l/0")], "n": 1
    }  # fmt: skip
    assert tree.rebuilt(skeleton, ["a/w"]) is None  # the list would lose its only item
    assert tree.rebuilt(skeleton, ["a/w", "a/v", "l/0", "new"]) is None


@pytest.mark.parametrize("text", ["[", '{"odd": 1}', '{"call": ["os", "system"]}', '{"dict": [1]}'])
def test_a_skeleton_that_is_none(text: str) -> None:
    with pytest.raises(CorruptCheckpoint, match="the skeleton of a PyTorch file is not one"):
        tree.rebuilt(text, [])


def test_a_dict_of_tensors_needs_no_skeleton(tmp_path: pathlib.Path) -> None:
    with saved({"w": BASE}, tmp_path / "m.pt") as source:
        assert source.metadata == {}
