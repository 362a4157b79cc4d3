"""Folders of torch.distributed.checkpoint: read as its ranks wrote them, written for it to load."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributed import checkpoint as theirs
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
from torch.distributed.checkpoint.state_dict import set_state_dict

import warmstart as ws
from warmstart.errors import CannotHold, CheckpointNotFound, CorruptCheckpoint, SaveError
from warmstart.formats import dcp
from warmstart.formats.dcp.reading import NOTE
from warmstart.formats.dcp.structure import TREE
from warmstart.formats.torch.writing import DTYPES, STORAGES
from warmstart.source import DictSource, Source, View
from warmstart.testing.formats import FormatContract, files_in, values_of
from warmstart.testing.reading import ReadingContract, same

GOLDEN = Path(__file__).parent.parent / "golden" / "dcp"
HELD = frozenset((*STORAGES, *DTYPES))
BASE = np.arange(6, dtype=np.float32).reshape(2, 3)

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is:UserWarning")


def save(tensors: Any, folder: Path) -> Path:
    source = tensors if isinstance(tensors, Source) else DictSource(tensors)
    dcp.save_source(source, folder / "m.dcp")
    return folder / "m.dcp"


def opened(path: Path, **options: Any) -> Source:
    found = dcp.locate(path)
    assert found is not None
    return dcp.open_source(found, verify=True, **options)


def petabyte(path: Path) -> None:
    """A tensor of 2**50 bytes, of which no chunk says more than four."""
    save({"w": np.zeros(2, np.uint8)}, path.parent).rename(path)
    whole = (path / ".metadata").read_bytes()
    (path / ".metadata").write_bytes(
        whole.replace(b"K\2\x85\x85R", b"\x8a\7\0\0\0\0\0\0\4\x85\x85R")
    )


class TestDcp(FormatContract):
    format = dcp
    dtypes = HELD

    def petabyte(self, path: Path) -> None:
        petabyte(path)


class TestRanks(ReadingContract):
    format = dcp
    checksummed = False  # of the metadata there is no checksum

    def sample(self, folder: Path) -> Path:
        return Path(shutil.copytree(GOLDEN / "pair", folder / "pair"))

    def petabyte(self, path: Path) -> None:
        petabyte(path)


# --- what the ranks wrote -------------------------------------------------------------------------

ROWS = np.arange(15, dtype=np.float32).reshape(5, 3)
SQUARE = np.arange(35, dtype=np.float32).reshape(5, 7)
RANKS = {
    "rows": ROWS,
    "columns": ROWS.astype(values_of("bfloat16").dtype),
    "replicated": ROWS + 1,
    "short": np.array([7, 8]),
    "one": np.array([9], np.float32),
    "plain": np.array([True, False]),
    "scalar": np.array(2.5),
    "empty": np.zeros((0, 3), np.float32),
    "transposed": np.ascontiguousarray(np.arange(6).reshape(2, 3).T),
    "nested.list.1": np.ones(2, np.float32),
    "nested.list.2.deep": np.zeros(1, np.float32),
}


@pytest.mark.parametrize("mmap", [True, False])
def test_tensors_sharded_along_one_axis(mmap: bool) -> None:
    with opened(GOLDEN / "ranks", mmap=mmap) as source:
        assert same(source.read_all(), RANKS)
        assert list(source.unclaimed() or ()) == []


def test_values_that_are_no_tensors() -> None:
    with opened(GOLDEN / "ranks") as source:
        metadata = dict(source.metadata)
    assert metadata.pop(TREE).startswith('{"paths": {"nested.list.0": ["nested", "list", 0], ')
    assert metadata == {
        "nested.list.0": "1",
        "nested.text": '"λ"',
        "epoch": "3",
        "betas": "[0.9, 0.999]",
    }


def test_tensors_sharded_along_two_axes() -> None:
    with opened(GOLDEN / "mesh") as source:
        assert same(source.read_all(), dict.fromkeys(("both", "twice", "half"), SQUARE))


def test_a_sharded_model_and_its_optimizer() -> None:
    with opened(GOLDEN / "fsdp") as source, ws.open(GOLDEN / "fsdp.safetensors") as whole:
        assert same(source.read_all(), whole.read_all())
        slots = sorted(name for name, spec in source.specs.items() if spec.role == "slot")
        assert source.metadata["optim.param_groups.0.momentum"] == "0.9"
    assert slots == [
        f"optim.state.{name}.momentum_buffer"
        for name in ("0.bias", "0.weight", "1.bias", "1.weight")
    ]


SLICES = [
    (slice(None), 3), (2,), (slice(1, 4), slice(2, 6)), (slice(0, 5, 2), slice(None, None, 3)),
    (slice(None, None, -1), slice(None, None, -2)), (-1, -1), (..., 0), (slice(3, 3),),
    (slice(4, 1, -1), 5), ([0, 4], [1, 6]), (None, 1), (slice(4, None), slice(6, None)),
]  # fmt: skip


@pytest.mark.parametrize("index", SLICES, ids=str)
@pytest.mark.parametrize("name", ["both", "twice", "half"])
def test_a_slice_across_chunks(name: str, index: Any) -> None:
    with opened(GOLDEN / "mesh") as source:
        found = source.read_slice(name, index)
    np.testing.assert_array_equal(found, SQUARE[index], strict=True)


def test_an_index_beyond_the_tensor() -> None:
    with (
        opened(GOLDEN / "mesh") as source,
        pytest.raises(IndexError, match="index 5 is out of bou"),
    ):
        source.read_slice("both", 5)


def test_a_slice_reads_the_chunks_that_it_touches(tmp_path: Path) -> None:
    """The data of the others are gone."""
    shutil.copytree(GOLDEN / "mesh", tmp_path / "mesh")
    for rank in (1, 2, 3):
        path = tmp_path / "mesh" / f"__{rank}_0.distcp"
        path.write_bytes(bytes(path.stat().st_size))
    with opened(tmp_path / "mesh") as source:
        np.testing.assert_array_equal(source.read_slice("both", np.s_[:3, :4]), SQUARE[:3, :4])
        with pytest.raises(ws.CheckpointError, match=r"it is no archive as torch\.save wr"):
            source.read_slice("both", np.s_[:3, :5])


def test_the_metadata_of_each_rank_alone() -> None:
    with opened(GOLDEN / "apart" / "__1.metadata") as source:
        np.testing.assert_array_equal(source.read("w"), np.array([1, 2, 3], np.float32))
        assert list(source.unclaimed() or ()) == []
    with pytest.raises(
        CheckpointNotFound, match=r"of 2 ranks and none that joins them; .*__0\.met"
    ):
        dcp.locate(GOLDEN / "apart")


def test_any_file_of_it_stands_for_the_folder() -> None:
    for name in (".metadata", "__0_0.distcp", "__1_0.distcp"):
        assert dcp.locate(GOLDEN / "mesh" / name) == GOLDEN / "mesh"


def test_a_save_that_did_not_come_to_its_end(tmp_path: Path) -> None:
    shutil.copy(GOLDEN / "mesh" / "__0_0.distcp", tmp_path)
    with pytest.raises(
        CheckpointNotFound, match=r"files \.distcp without \.metadata, which is wri"
    ):
        dcp.locate(tmp_path)


def test_data_files_that_are_missing(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "mesh", tmp_path / "mesh")
    for rank in (1, 3):
        (tmp_path / "mesh" / f"__{rank}_0.distcp").unlink()
    with pytest.raises(
        CheckpointNotFound, match=r"2 of 4 data files are missing: __1_0\.distcp, __3"
    ):
        opened(tmp_path / "mesh")


def test_what_nothing_accounts_for(tmp_path: Path) -> None:
    path = save({"w": BASE}, tmp_path)
    with (path / "__0_0.distcp").open("ab") as file:
        file.write(b"more")
    (path / "__9_9.distcp").write_bytes(b"another")
    with opened(path) as source:
        assert [run.partition(":")[0] for run in source.unclaimed() or ()] == [
            "__0_0.distcp",
            "__9_9.distcp",
        ]


# --- PyTorch reads them ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", sorted(HELD))
def test_pytorch_loads_every_dtype(dtype: str, tmp_path: Path) -> None:
    array = values_of(dtype)
    path = save({"x": array, "none": array[:0], "one": array[0, 0, 0]}, tmp_path)
    kind = getattr(torch, dtype)
    state = {"x": torch.empty(2, 3, 4, dtype=kind), "none": torch.empty(0, 3, 4, dtype=kind)}
    state["one"] = torch.empty((), dtype=kind)
    theirs.load(state, checkpoint_id=path)
    assert state["x"].untyped_storage().tolist() == list(array.tobytes())


def as_torch(path: Path, folder: Path) -> Any:
    dcp_to_torch_save(path, folder / "as.pt")
    return torch.load(folder / "as.pt")


def test_tied_tensors_are_found_under_either_name(tmp_path: Path) -> None:
    path = save(DictSource({"w": BASE}, aliases={"tied": "w"}), tmp_path)
    state = {"w": torch.zeros(2, 3), "tied": torch.zeros(2, 3)}
    theirs.load(state, checkpoint_id=path)
    assert state["w"].tolist() == state["tied"].tolist() == BASE.tolist()


def test_a_training_checkpoint_goes_on(tmp_path: Path) -> None:
    """Nested as PyTorch nests it, with its tuples and numbers, and accepted by the optimizer."""
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    model_state, slots = theirs.state_dict.get_state_dict(model, optimizer)
    state = {"model": model_state, "optim": slots, "epoch": 3, "history": [(1, 0.5)]}
    theirs.save(state, checkpoint_id=tmp_path / "theirs")
    with opened(tmp_path / "theirs") as source:
        path = save(source, tmp_path)
        with opened(path) as written:
            assert dict(written.metadata) == dict(source.metadata)
            assert dict(written.specs) == dict(source.specs)
    found, expected = as_torch(path, tmp_path), as_torch(tmp_path / "theirs", tmp_path)
    del found[NOTE]
    assert ordered(found) == ordered(expected)
    set_state_dict(
        model, optimizer, model_state_dict=found["model"], optim_state_dict=found["optim"]
    )


def ordered(value: Any) -> Any:
    """Return *value* with the keys of its dicts sorted, tensors as lists."""
    if isinstance(value, dict):
        return {key: ordered(item) for key, item in sorted(value.items())}
    if isinstance(value, list | tuple):
        return type(value)(map(ordered, value))
    return value.tolist() if isinstance(value, torch.Tensor) else value


def test_a_value_whose_name_a_tensor_has_now(tmp_path: Path) -> None:
    with opened(GOLDEN / "ranks") as source:
        view = View(source, {"epoch": "rows"}, metadata=source.metadata)
        path = save(view, tmp_path)
    with opened(path) as written:
        assert list(written.specs) == ["epoch"]
        assert written.metadata["betas"] == "[0.9, 0.999]"


@pytest.mark.parametrize(
    "text", ["", "{}", "[" * 10_000, '{"paths": {"a": 1}, "values": "{\\"dict\\": []}"}',
             '{"paths": {"a": [1.5]}, "values": "{\\"dict\\": []}"}',
             '{"paths": {}, "values": "[]"}'],
    ids=range(6),
)  # fmt: skip
def test_a_structure_that_is_none(text: str, tmp_path: Path) -> None:
    with pytest.raises(CorruptCheckpoint, match=r"the metadata 'dcp\.tree' are no structure"):
        save(DictSource({"w": BASE}, metadata={TREE: text}), tmp_path)


# --- where it is written --------------------------------------------------------------------------


def test_a_folder_with_something_else_is_kept(tmp_path: Path) -> None:
    path = save({"w": BASE}, tmp_path)
    (path / "notes.txt").write_text("minutes")
    before = files_in(path)
    with pytest.raises(
        SaveError, match=r"1 of the names in that folder .* would be lost: 'notes.txt"
    ):
        save({"w": BASE + 1}, tmp_path)
    assert files_in(path) == before


def test_what_it_cannot_hold(tmp_path: Path) -> None:
    arrays = {NOTE: BASE, "x" * 65_537: BASE, "s": np.array([b"a"], object)}
    with pytest.raises(
        CannotHold, match="A distributed checkpoint cannot hold 3 of these"
    ) as caught:
        save(arrays, tmp_path)
    assert "is the name of this library's own note" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_from_the_front_door(tmp_path: Path) -> None:
    ws.save_vars({"w": BASE}, tmp_path / "run", format="dcp")
    ws.save_vars({"w": BASE + 1}, tmp_path / "run", format="dcp")
    assert ws.load_vars(tmp_path / "run")["w"].tolist() == (BASE + 1).tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.fixture
def aside(tmp_path: Path) -> Path:
    """A checkpoint that a kill left under the name between two renames."""
    path = save({"w": BASE}, tmp_path)
    path.rename(tmp_path / ".m.dcp.1-ab.warmstart-old")
    (tmp_path / ".m.dcp.1-ab.warmstart-tmp").mkdir()
    return path


def test_a_checkpoint_left_aside_is_found(aside: Path) -> None:
    with ws.open(aside) as source:
        assert source.read("w").tolist() == BASE.tolist()
