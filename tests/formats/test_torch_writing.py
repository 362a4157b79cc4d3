"""Files written for PyTorch: what every format owes, and what PyTorch itself makes of them."""

import io
import pickletools
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils import serialization

import warmstart as ws
from warmstart.errors import CannotHold, UnknownFormat
from warmstart.formats import torch as torch_files
from warmstart.formats.torch.archive import TorchArchive, end_records
from warmstart.formats.torch.reading import TREE
from warmstart.formats.torch.writing import DTYPES, STORAGES
from warmstart.source import DictSource, Source, View
from warmstart.spec import numpy_dtype
from warmstart.testing.formats import FormatContract, values_of

HELD = frozenset((*STORAGES, *DTYPES))
BASE = np.arange(6, dtype=np.float32).reshape(2, 3)


def save(tensors: Any, folder: Path) -> Path:
    source = tensors if isinstance(tensors, Source) else DictSource(tensors)
    torch_files.save_source(source, folder / "m.pt")
    return folder / "m.pt"


def load(path: Path, **options: Any) -> Any:
    return torch.load(path, weights_only=True, **options)


class TestTorch(FormatContract):
    format = torch_files
    checksummed = True
    dtypes = HELD

    def open(self, path: Path, *, verify: bool = True, **options: Any) -> Source:
        """Without its first bytes a file is of no known kind."""
        if torch_files.locate(path) is None:
            raise UnknownFormat(f"{path} begins as no file of PyTorch's")
        return torch_files.open_source(path, verify=verify, **options)

    def petabyte(self, path: Path) -> None:
        """A pickle whose tensor has 2**50 bytes, of a storage that is not there."""
        save({"w": np.zeros((4, 4), np.float32)}, path.parent).rename(path)
        whole = path.read_bytes()
        path.write_bytes(whole.replace(b"K\x10t", b"\x8a\7\0\0\0\0\0\0\4t"))


# --- PyTorch reads them ---------------------------------------------------------------------------


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("dtype", sorted(HELD))
def test_pytorch_loads_every_dtype(dtype: str, mmap: bool, tmp_path: Path) -> None:
    array = values_of(dtype)
    found = load(save({"x": array, "none": array[:0], "one": array[0, 0, 0]}, tmp_path), mmap=mmap)
    assert {name: str(t.dtype) for name, t in found.items()} == dict.fromkeys(
        ("none", "one", "x"), f"torch.{dtype}"
    )
    assert [tuple(found[name].shape) for name in ("none", "one", "x")] == [(0, 3, 4), (), (2, 3, 4)]
    assert found["x"].untyped_storage().tolist() == list(array.tobytes())


def test_pytorch_finds_every_storage_by_reckoning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It checks each offset that it reckons from the sizes against the archive."""
    monkeypatch.setenv("TORCH_SERIALIZATION_DEBUG", "1")
    arrays = {f"w{n}": np.arange(n, dtype=np.float32) for n in range(40)}
    with serialization.config.patch("load.calculate_storage_offsets", True):
        found = load(save(arrays, tmp_path), mmap=True)
    assert {name: t.tolist() for name, t in found.items()} == {
        name: array.tolist() for name, array in arrays.items()
    }


def as_pytorch_saves(state: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    """A state dict sorted by name, with all that makes a difference to the pickle."""
    return {
        "b": torch.tensor(1.5),
        "c": torch.ones(2, dtype=torch.complex128),
        "e": torch.zeros(0, 3),
        "f8": torch.ones(5).to(torch.float8_e4m3fn),
        "w": torch.arange(6.0).reshape(2, 3),
        "x": torch.arange(300).to(torch.uint16),
    }


def written_like(state: dict[str, torch.Tensor], folder: Path) -> bytes:
    """Return what this library writes for what it reads of *state*."""
    (folder / "theirs.pt").write_bytes(as_pytorch_saves(state))
    with torch_files.open_source(folder / "theirs.pt", verify=True) as source:
        return save(source, folder).read_bytes()


def test_the_pickle_is_pytorchs(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    theirs, ours = members(as_pytorch_saves(state)), members(written_like(state, tmp_path))
    pickles = [pickletools.optimize(found.pop("archive/data.pkl")) for found in (theirs, ours)]
    assert pickles[0] == pickles[1]
    assert len(theirs.pop("archive/.data/serialization_id")) == 40
    assert len(ours.pop("archive/.data/serialization_id")) == 40
    assert ours == theirs


def test_the_archive_is_pytorchs(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    """Byte for byte, with their pickle and their identity in it."""
    theirs = as_pytorch_saves(state)
    content = members(theirs)
    stream = RecordedStream()
    archive = TorchArchive(stream, content["archive/data.pkl"])  # type: ignore[arg-type]
    for n in range(len(state)):
        archive.add_storage(content[f"archive/data/{n}"])
    for name in ("version", ".data/serialization_id"):
        archive._add(name, content[f"archive/{name}"])
    entries = b"".join(archive._directory)
    stream.write(entries)
    stream.write(end_records(len(content), len(entries), stream.position - len(entries)))
    assert stream.data == theirs


class RecordedStream:
    """Just the part of a stream that an archive is written to."""

    def __init__(self) -> None:
        self.data = b""

    @property
    def position(self) -> int:
        return len(self.data)

    def write(self, data: Any) -> None:
        self.data += bytes(data)

    def write_beside(self, data: Any, reckon: Any) -> int:
        self.write(data)
        return int(reckon(data))


def test_the_note_is_ignored_by_pytorch(tmp_path: Path) -> None:
    path = save(DictSource({"w": BASE}, roles={"w": "model"}, metadata={"run": "{}"}), tmp_path)
    assert b'"roles": {"model": ["w"]}' in members(path.read_bytes())["archive/.data/warmstart"]
    assert list(load(path)) == list(load(path, mmap=True)) == ["w"]


def test_nothing_to_note_is_not_noted(tmp_path: Path) -> None:
    assert "archive/.data/warmstart" not in members(save({"w": BASE}, tmp_path).read_bytes())


def test_tied_tensors_share_their_storage(tmp_path: Path) -> None:
    path = save(DictSource({"w": BASE, "x": BASE}, aliases={"a": "w"}), tmp_path)
    found = load(path)
    assert found["a"].data_ptr() == found["w"].data_ptr() != found["x"].data_ptr()
    assert [name for name in members(path.read_bytes()) if "/data/" in name] == [
        "archive/data/0",
        "archive/data/1",
    ]


def test_hooks_of_one_tensor_do_not_run_for_another(tmp_path: Path) -> None:
    found = load(save({"v": BASE, "w": BASE}, tmp_path))
    called: list[str] = []
    for name, tensor in found.items():
        tensor.requires_grad_()
        tensor.register_hook(lambda _, name=name: called.append(name))
    (found["v"].sum() + found["w"].sum()).backward()
    assert sorted(called) == ["v", "w"]


def test_the_file_does_not_depend_on_its_name(tmp_path: Path) -> None:
    for name in ("a.pt", "b.pth"):
        torch_files.save_source(DictSource({"w": BASE}), tmp_path / name)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pth").read_bytes()


# --- what it cannot hold --------------------------------------------------------------------------


def test_names_that_no_key_can_have(tmp_path: Path) -> None:
    arrays = {"half \ud800": BASE, "x" * 65_537: BASE, "x" * 65_536: BASE}
    with pytest.raises(CannotHold, match="PyTorch cannot hold 2 of these") as caught:
        save(arrays, tmp_path)
    assert "is not Unicode text" in str(caught.value)
    assert "has 65537 characters, of 65536 at most" in str(caught.value)


def test_dtypes_that_it_has_not(tmp_path: Path) -> None:
    arrays = {"s": np.array([b"a"], object), "i": np.zeros(2, numpy_dtype("int4"))}
    with pytest.raises(CannotHold, match=r"'s'  string \(1,\): no such dtype in PyTorch") as caught:
        save(arrays, tmp_path)
    assert "'i'  int4 (2,): no such dtype in PyTorch" in str(caught.value)


# --- whole training checkpoints -------------------------------------------------------------------


class Run:
    """A training script's objects."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 10)
        self.epoch = 0

    def train(self) -> "Run":
        for _ in range(3):
            self.optimizer.zero_grad()
            self.model(torch.arange(12.0).reshape(4, 3)).square().sum().backward()
            self.optimizer.step()
            self.scheduler.step()
            self.epoch += 1
        return self

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "epoch": self.epoch,
            "history": [(1, 0.5), (2, 0.25)],
            "best": float("inf"),
            "dtype": torch.bfloat16,
        }

    def load(self, state: dict[str, Any]) -> "Run":
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.epoch = state["epoch"]
        return self


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "run.pt"
    torch.save(Run().train().state(), path)
    return path


def texts(value: Any) -> str:
    return str(value)


def test_a_training_checkpoint_goes_on_as_the_original_does(trained: Path, tmp_path: Path) -> None:
    with ws.open(trained) as source:
        path = save(source, tmp_path)
    original, again = torch.load(trained), load(path)
    assert texts(again) == texts(original)
    assert type(again["model"]) is type(original["model"])
    assert again["model"]._metadata == original["model"]._metadata
    assert texts(Run().load(again).train().state()) == texts(Run().load(original).train().state())


def test_a_file_written_again_is_the_same(trained: Path, tmp_path: Path) -> None:
    with ws.open(trained) as source:
        first = save(source, tmp_path).rename(tmp_path / "first.pt")
    with ws.open(first) as source:
        assert save(source, tmp_path).read_bytes() == first.read_bytes()


def test_names_and_metadata_are_those_of_the_original(trained: Path, tmp_path: Path) -> None:
    with ws.open(trained) as source, ws.open(save(source, tmp_path)) as written:
        assert dict(written.specs) == dict(source.specs)
        assert dict(written.metadata) == dict(source.metadata)
        assert dict(written.aliases) == dict(source.aliases)


def test_a_repaired_training_checkpoint_still_loads(trained: Path, tmp_path: Path) -> None:
    """As when a wrapper had put its prefix on the model, and something was saved by mistake."""
    state = torch.load(trained)
    state["model"] = {f"module.{name}": value for name, value in state["model"].items()}
    state["model"]["module.mistake"] = torch.zeros(3)
    torch.save(state, tmp_path / "wrapped.pt")
    rules = ["drop model/module.mistake", "rename model/module.* -> model/*"]
    ws.convert(tmp_path / "wrapped.pt", tmp_path / "repaired.pt", rules=rules)
    repaired = load(tmp_path / "repaired.pt")
    assert texts(Run().load(repaired).state()) == texts(Run().load(torch.load(trained)).state())


def view(path: Path, origin: dict[str, str]) -> View:
    source = ws.open(path)
    return View(source, origin, metadata=source.metadata)


def test_a_tensor_that_is_dropped_leaves_the_rest(trained: Path, tmp_path: Path) -> None:
    with ws.open(trained) as source:
        kept = [name for name in source.specs if name != "model/2.bias"]
    found = load(save(view(trained, {name: name for name in kept}), tmp_path))
    expected = torch.load(trained)
    del expected["model"]["2.bias"]
    assert texts(found) == texts(expected)


def test_a_new_name_comes_into_the_deepest_dict(trained: Path, tmp_path: Path) -> None:
    origin = {
        "model/new": "model/2.bias",
        "optimizer/state/0/new": "model/2.bias",
        "top/x": "model/2.bias",
    }
    found = load(save(view(trained, origin), tmp_path))
    assert list(found["model"]) == ["new"]
    assert list(found["optimizer"]["state"][0]) == ["new"]
    assert "top/x" in found


def test_a_name_whose_place_is_taken_makes_a_flat_file(trained: Path, tmp_path: Path) -> None:
    path = save(view(trained, {"epoch": "model/2.bias"}), tmp_path)
    assert list(load(path)) == ["epoch"]
    with ws.open(path) as source:
        assert source.metadata["history/0/0"] == "1"
        assert TREE not in source.metadata


def test_a_list_that_lost_a_tensor_makes_a_flat_file(tmp_path: Path) -> None:
    torch.save({"list": [torch.zeros(1), torch.ones(1)]}, tmp_path / "list.pt")
    path = save(view(tmp_path / "list.pt", {"list/1": "list/1"}), tmp_path)
    assert list(load(path)) == ["list/1"]


def test_a_list_at_the_top(tmp_path: Path) -> None:
    torch.save([torch.zeros(1), torch.ones(1)], tmp_path / "list.pt")
    names = {"0": "0", "1": "1"}
    assert (
        texts(load(save(view(tmp_path / "list.pt", names), tmp_path)))
        == "[tensor([0.]), tensor([1.])]"
    )
    flat = load(save(view(tmp_path / "list.pt", {**names, "new": "0"}), tmp_path))
    assert list(flat) == ["0", "1", "new"]


def test_parameters_stay_parameters(tmp_path: Path) -> None:
    frozen = nn.Parameter(torch.ones(2), requires_grad=False)
    torch.save(
        {"w": nn.Parameter(torch.ones(2)), "f": frozen, "t": torch.ones(1)}, tmp_path / "p.pt"
    )
    with ws.open(tmp_path / "p.pt") as source:
        found = load(save(source, tmp_path))
    assert {n: (type(t), t.requires_grad) for n, t in found.items()} == {
        "w": (nn.Parameter, True),
        "f": (nn.Parameter, False),
        "t": (torch.Tensor, False),
    }


def test_tied_tensors_in_a_tree(tmp_path: Path) -> None:
    shared = torch.ones(2)
    torch.save({"m": {"a": shared, "b": shared}, "n": 1}, tmp_path / "tied.pt")
    with ws.open(tmp_path / "tied.pt") as source:
        found = load(save(source, tmp_path))
    assert found["m"]["a"].data_ptr() == found["m"]["b"].data_ptr()


def test_the_structure_survives_another_format(trained: Path, tmp_path: Path) -> None:
    ws.convert(trained, tmp_path / "run.npz")
    ws.convert(tmp_path / "run.npz", tmp_path / "back.pt")
    assert texts(load(tmp_path / "back.pt")) == texts(torch.load(trained))
