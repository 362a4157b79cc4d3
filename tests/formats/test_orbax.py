"""Orbax: the contract, and Orbax as the judge."""

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import pytest

from warmstart import formats
from warmstart.binary import zstd
from warmstart.errors import (
    CannotHold,
    CheckpointNotFound,
    CorruptCheckpoint,
    NoSuchTensor,
    SaveError,
    full_text,
)
from warmstart.formats import orbax as ours
from warmstart.formats.orbax.writing import HELD
from warmstart.source import DictSource
from warmstart.testing import FormatContract
from warmstart.testing.formats import BASE, values_of

GOLDEN = Path(__file__).parent.parent / "golden" / "orbax"


class TestOrbax(FormatContract):
    format = ours
    dtypes = frozenset(HELD)

    def petabyte(self, path: Path) -> None:
        path.mkdir()
        keys = [{"key": "x", "key_type": 2}]
        leaf = {"key_metadata": keys, "value_metadata": {"value_type": "np.ndarray"}}
        (path / "_METADATA").write_text(json.dumps({"tree_metadata": {"x": leaf}}))
        (path / "x").mkdir()
        said = {"shape": [2**48], "chunks": [2**48], "dtype": "<f4", "order": "C"}
        said |= {"compressor": {"id": "zstd"}, "filters": None}
        (path / "x" / ".zarray").write_text(json.dumps(said))

    def test_roles_survive(self, tmp_path: Path) -> None:
        """The contract's own names lie in one another, which a tree cannot have."""
        roles = {"w": "trainable", "mean": "model", "slot/w": "slot", "step": "run"}
        arrays = dict.fromkeys((*roles, "unknown"), BASE)
        with self.open(self.save(DictSource(arrays, roles=roles), tmp_path)) as source:
            found = {name: spec.role for name, spec in source.specs.items()}
        assert found == {**roles, "unknown": None}


def save(tensors: Mapping[str, Any], path: Path, **notes: Mapping[str, str]) -> Path:
    formats.save_source(DictSource(tensors, **notes), path)
    return path


def load(path: Path) -> dict[str, np.ndarray]:
    with formats.open_source(path) as source:
        return source.read_all()


# --- golden folders ---------------------------------------------------------------------------

TENSORS = {
    "params/Dense_0/kernel": np.arange(6, dtype=np.float32).reshape(2, 3) / 4,
    "params/Dense_0/bias": np.array([1, -0.5, 3e38], ml_dtypes.bfloat16),
    "opt_state/0/mu": np.arange(3),
    "opt_state/1/0": np.array(4, np.int32),
    "step": np.array(7),
}
NO_STEP = {name: array for name, array in TENSORS.items() if name != "step"}
V1 = {
    "params/Dense_0/kernel": TENSORS["params/Dense_0/kernel"],
    "params/Dense_0/bias": TENSORS["params/Dense_0/bias"],
    "step/step": np.array(7),
}
EMPTY = {"none": "null", "empty": "{}"}
NAMED = {**EMPTY, "name": '"first"'}
AGGREGATED = {**EMPTY, "step": "7"}

#: folder -> (what `locate` returns, tensors, metadata)
LAYOUTS: dict[str, tuple[str, dict[str, np.ndarray], dict[str, str]]] = {
    "v0128/ocdbt": ("", TENSORS, NAMED),
    "v0128/ocdbt_zarr3": ("", TENSORS, NAMED),
    "v0128/files": ("", TENSORS, NAMED),
    "v0128/files_zarr3": ("", TENSORS, NAMED),
    "v0128/standard": ("", TENSORS, EMPTY),
    "v0128/manager": ("20", TENSORS, {**EMPTY, "meta": '{"a": 1}', "lr": "0.1"}),
    "v0128/manager/9": ("", TENSORS, {**EMPTY, "meta": '{"a": 1}', "lr": "0.1"}),
    "v0128/manager/9/state": ("", TENSORS, EMPTY),
    "v0128/manager/9/state/_METADATA": ("..", TENSORS, EMPTY),
    "v0128/v1": ("", V1, {}),
    "v053/default": ("", TENSORS, EMPTY),
    "v053/aggregated": ("", NO_STEP, AGGREGATED),
    "v053/manager": ("20", TENSORS, EMPTY),
    "v053/flax": ("checkpoint_100", NO_STEP, AGGREGATED),
    "v027/default": ("", TENSORS, EMPTY),
    "v027/aggregated": ("", NO_STEP, AGGREGATED),
    "v027/manager": ("20", TENSORS, EMPTY),
    "v027/flax": ("checkpoint_100", NO_STEP, AGGREGATED),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_golden_folders(layout: str) -> None:
    below, tensors, metadata = LAYOUTS[layout]
    found = formats.locate(GOLDEN / layout)
    assert found == ("orbax", (GOLDEN / layout / below).resolve())
    with formats.open_source(GOLDEN / layout) as source:
        assert dict(source.metadata) == metadata
        at_once = source.read_all()
        assert sorted(at_once) == sorted(source.specs) == sorted(tensors)
        for name, expected in tensors.items():
            spec = source.specs[name]
            assert (spec.dtype, spec.shape) == (expected.dtype.name, expected.shape)
            np.testing.assert_array_equal(at_once[name], expected, strict=True)
            np.testing.assert_array_equal(source.read(name), expected, strict=True)
            np.testing.assert_array_equal(source.read_slice(name, ...), expected, strict=True)


@pytest.mark.parametrize("layout", ["v0128/ocdbt", "v0128/files_zarr3", "v027/aggregated"])
def test_parts_of_golden_arrays(layout: str) -> None:
    expected = TENSORS["params/Dense_0/kernel"]
    with formats.open_source(GOLDEN / layout) as source:
        for index in (1, (slice(None, None, -1), 2), (..., slice(1, 3)), (None, 0), ([1, 0],)):
            found = source.read_slice("params/Dense_0/kernel", index)
            np.testing.assert_array_equal(found, expected[index], strict=True)


def test_roles_that_the_layout_says() -> None:
    with formats.open_source(GOLDEN / "v0128" / "standard") as source:
        roles = {name: spec.role for name, spec in source.specs.items()}
    slots = dict.fromkeys(("opt_state/0/mu", "opt_state/1/0"), "slot")
    params = dict.fromkeys(("params/Dense_0/kernel", "params/Dense_0/bias"))
    assert roles == {**slots, **params, "step": "run"}


# --- what Orbax restores ----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", sorted(HELD))
def test_orbax_restores_every_dtype(dtype: str, tmp_path: Path) -> None:
    arrays = {"a/x": values_of(dtype), "a/scalar": values_of(dtype)[0, 0, 0]}
    save({**arrays, "none": values_of(dtype)[:0]}, tmp_path / "m.orbax")
    found = ocp.PyTreeCheckpointer().restore(tmp_path / "m.orbax")
    for name, expected in {"x": arrays["a/x"], "scalar": arrays["a/scalar"]}.items():
        assert found["a"][name].dtype == expected.dtype
        assert found["a"][name].tobytes() == expected.tobytes()
    assert found["none"].shape == (0, 3, 4)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Return a golden folder, read and written again."""
    with formats.open_source(GOLDEN / "v0128" / "standard") as source:
        formats.save_source(source, tmp_path / "m.orbax")
    return tmp_path / "m.orbax"


def test_orbax_restores_into_the_tree_it_was_saved_from(copied: Path) -> None:
    tree = {
        "params": {
            "Dense_0": {"kernel": np.zeros((2, 3), np.float32), "bias": np.zeros(3, "bfloat16")}
        },
        "opt_state": [{"mu": np.zeros(3, int)}, (np.zeros((), np.int32),)],
        "step": 0, "none": None, "empty": {},
    }  # fmt: skip
    with ocp.StandardCheckpointer() as checkpointer:
        found = checkpointer.restore(copied, tree)
    assert jax.tree.structure(found) == jax.tree.structure(tree)
    assert found["opt_state"][1][0] == 4
    np.testing.assert_array_equal(found["opt_state"][0]["mu"], np.arange(3))
    np.testing.assert_array_equal(
        found["params"]["Dense_0"]["kernel"], TENSORS["params/Dense_0/kernel"]
    )


def test_orbax_restores_it_as_the_step_of_a_manager(copied: Path, tmp_path: Path) -> None:
    (tmp_path / "run" / "5").mkdir(parents=True)
    shutil.move(copied, tmp_path / "run" / "5" / "default")
    with ocp.CheckpointManager(tmp_path / "run") as manager:
        assert manager.latest_step() == 5
        found = manager.restore(5, args=ocp.args.StandardRestore())
    assert int(found["step"]) == 7
    assert list(load(tmp_path / "run")) == sorted(TENSORS)


def test_orbax_shows_its_metadata(tmp_path: Path) -> None:
    save({"w": BASE}, tmp_path / "m.orbax", metadata={"lr": "0.1", "tags": '["a"]', "text": "x"})
    with ocp.PyTreeCheckpointer() as checkpointer:
        shown = checkpointer.metadata(tmp_path / "m.orbax")
    assert shown.item_metadata.tree["w"].shape == (2, 3, 4)
    custom = json.loads((tmp_path / "m.orbax" / "_METADATA").read_text())["custom_metadata"]
    assert {key: custom[key] for key in ("lr", "tags")} == {"lr": 0.1, "tags": ["a"]}
    assert json.loads(custom["warmstart"])["metadata"] == {"text": "x"}


def test_what_orbax_cuts_in_chunks_is_put_together(tmp_path: Path) -> None:
    array = np.arange(60.0).reshape(5, 12)
    options = ocp.SaveArgs(chunk_byte_size=100)
    for name, choice in {"files": {"use_ocdbt": False}, "ocdbt": {}}.items():
        with ocp.PyTreeCheckpointer(**choice) as checkpointer:
            checkpointer.save(tmp_path / name, {"w": array}, save_args={"w": options})
        np.testing.assert_array_equal(load(tmp_path / name)["w"], array)
        with formats.open_source(tmp_path / name) as source:
            np.testing.assert_array_equal(source.read_slice("w", (1, slice(3, 9))), array[1, 3:9])


# --- cheap ------------------------------------------------------------------------------------

LISTING = """
import sys
from warmstart import formats
source = formats.open_source(sys.argv[1])
print(len(source.specs), *(m in sys.modules for m in ("numpy", "tensorstore", "jax")))
"""


@pytest.mark.parametrize("layout", ["v0128/files", "v0128/files_zarr3", "v027/aggregated", "own"])
def test_listing_needs_no_package(layout: str, tmp_path: Path) -> None:
    save(TENSORS, tmp_path / "own.orbax")
    path = {"own": tmp_path / "own.orbax"}.get(layout, GOLDEN / layout)
    command = [sys.executable, "-c", LISTING, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split()[1:] == ["False"] * 3


def test_tensors_are_read_in_the_order_asked_for(tmp_path: Path) -> None:
    sizes = {"large": 100_000, "small": 3, "larger": 200_000, "last": 5}
    tree = {name: np.full(size, size, np.float32) for name, size in sizes.items()}
    ocp.PyTreeCheckpointer().save(tmp_path / "tree", tree)
    with formats.open_source(tmp_path / "tree") as source:
        names = ["larger", "small", "large", "large", "last"]
        for name, array in zip(names, source.read_each(names), strict=True):
            np.testing.assert_array_equal(array, tree[name])
        some = source.read_each(iter(["large", "larger", "no such"]))
        assert [next(some).size, next(some).size] == [100_000, 200_000]
        with pytest.raises(NoSuchTensor, match="no such"):
            next(some)


def test_own_arrays_are_views_of_the_file(tmp_path: Path) -> None:
    arrays = load(save({"a": np.ones(3, np.int8), "b": BASE}, tmp_path / "m.orbax"))
    assert not arrays["b"].flags.owndata
    assert not arrays["b"].flags.writeable
    assert arrays["b"].ctypes.data % 64 == 0


# --- finding ----------------------------------------------------------------------------------


def test_a_step_that_was_not_finished_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(GOLDEN / "v0128" / "manager", tmp_path / "run")
    (tmp_path / "run" / "20" / "state").rename(
        tmp_path / "run" / "20" / "state.orbax-checkpoint-tmp-17"
    )
    shutil.copytree(tmp_path / "run" / "9", tmp_path / "run" / "30.orbax-checkpoint-tmp")
    with caplog.at_level(logging.WARNING, "warmstart"):
        assert formats.locate(tmp_path / "run") == ("orbax", tmp_path / "run" / "9")
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "30.orbax-checkpoint-tmp is passed over: " in said[0]
    assert "was still writing state.orbax-checkpoint-tmp-17" in said[1]


def test_a_step_whose_tree_is_lost_is_passed_over_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(GOLDEN / "v0128" / "manager", tmp_path / "run")
    (tmp_path / "run" / "20" / "state" / "_METADATA").unlink()
    with caplog.at_level(logging.WARNING, "warmstart"):
        assert formats.locate(tmp_path / "run") == ("orbax", tmp_path / "run" / "9")
    (said,) = [record.getMessage() for record in caplog.records]
    assert "20 is passed over: " in said
    with pytest.raises(CorruptCheckpoint, match="arrays in state, but state/_METADATA, which says"):
        formats.locate(tmp_path / "run" / "20")


@pytest.mark.parametrize("name", ["m.orbax-checkpoint-tmp", "m.orbax-checkpoint-tmp-1700"])
def test_a_folder_that_was_not_finished(name: str, tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "v0128" / "ocdbt", tmp_path / name)
    with pytest.raises(CheckpointNotFound, match=f"was not finished: .* {name}; open an earlier"):
        formats.locate(tmp_path / name)


@pytest.mark.parametrize("names", [[], ["1", "20"], ["_CHECKPOINT_METADATA/"], ["a/b"]])
def test_folders_that_are_not_orbax(names: list[str], tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).mkdir(parents=True)
    assert ours.locate(tmp_path) is None


def test_the_file_of_tensorflow_that_has_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model-1"\n')
    assert ours.locate(tmp_path) is None
    assert ours.locate(tmp_path / "checkpoint") is None


# --- writing ----------------------------------------------------------------------------------


def test_everything_it_cannot_hold_is_named(tmp_path: Path) -> None:
    tensors = {
        "a": np.ones(1), "a/b/c": np.ones(1), "a/b": np.ones(1), "text": np.array([b"a"]),
        "x.y": np.ones(1), "x/y": np.ones(1), "deep": np.ones([1] * 33), "\ud800": np.ones(1),
        "/".join("d" * 101): np.ones(1), "l" * 40_000: np.ones(1), "fine": np.ones(1),
    }  # fmt: skip
    with pytest.raises(CannotHold) as caught:
        save(tensors, tmp_path / "m.orbax")
    said = full_text(caught.value)
    assert "orbax cannot hold 9 of these:" in said
    for line in (
        "is also a container of others; rename it, or drop it or those under it",
        "string (1,): no such dtype in tensorstore",
        "is stored as 'x.y', and so is another", ": more than 32 dimensions",
        "is not Unicode text", "lies more than 100 levels deep", "name of more than 32767 bytes",
    ):  # fmt: skip
        assert line in said
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_things_in_it_stays(tmp_path: Path) -> None:
    save({"w": BASE}, tmp_path / "m.orbax")
    (tmp_path / "m.orbax" / "notes.txt").write_text("mine")
    with pytest.raises(SaveError, match=r"1 of the names in that folder .*: 'notes.txt'"):
        save({"w": BASE}, tmp_path / "m.orbax")
    assert (tmp_path / "m.orbax" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("layout", ["ocdbt", "files", "files_zarr3"])
def test_what_orbax_wrote_is_replaced(layout: str, tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "v0128" / layout, tmp_path / "m.orbax")
    save({"w": BASE}, tmp_path / "m.orbax")
    assert list(load(tmp_path / "m.orbax")) == ["w"]


@pytest.mark.parametrize("kind", ["files", "files_zarr3", "ocdbt", "ocdbt_zarr3"])
def test_zstd_without_tensorstore(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorstore", None)
    assert set(load(GOLDEN / "v0128" / kind)) == set(TENSORS)


@pytest.mark.parametrize("kind", ["files", "files_zarr3", "ocdbt", "ocdbt_zarr3"])
def test_zstd_without_zstandard(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zstd, "library", lambda: None)
    assert set(load(GOLDEN / "v0128" / kind)) == set(TENSORS)


def test_without_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorstore", None)
    monkeypatch.setattr(zstd, "library", lambda: None)
    with formats.open_source(GOLDEN / "v0128" / "files") as source:
        assert sorted(source.specs) == sorted(TENSORS)
        with pytest.raises(formats.MissingDependency, match="a compressed Orbax checkpoint needs"):
            source.read("step")
    with pytest.raises(formats.MissingDependency, match=r"pip install 'warmstart\[orbax\]'"):
        formats.open_source(GOLDEN / "v0128" / "ocdbt")
