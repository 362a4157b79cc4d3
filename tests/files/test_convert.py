"""One checkpoint written as another."""

from pathlib import Path

import numpy as np
import pytest

from warmstart import open as open_checkpoint
from warmstart.errors import CannotHold, CheckpointError, RuleError, SaveError
from warmstart.files.convert import convert
from warmstart.files.diff import diff
from warmstart.files.variables import load_vars, save_vars
from warmstart.source import DictSource


@pytest.mark.parametrize("name", ["copy", "copy.npz", "copy.safetensors"])
def test_all_is_kept(name: str, trained: Path, tmp_path: Path) -> None:
    done = convert(trained, tmp_path / name)
    assert (done.tensors, done.nbytes, done.left_out) == (5, 84, ())
    assert diff(trained, tmp_path / name, all=True).same
    with open_checkpoint(trained) as source, open_checkpoint(tmp_path / name) as copy:
        assert dict(copy.specs) == dict(source.specs)
        assert copy.aliases == source.aliases


def test_rules_rename_and_drop(trained: Path, tmp_path: Path) -> None:
    rules = ["drop bn/*", "rename fc/* -> dense/*"]
    done = convert(trained, tmp_path / "copy.npz", rules=rules)
    assert done.left_out == ("bn/mean",)
    with open_checkpoint(tmp_path / "copy.npz") as copy:
        names = {"dense/kernel", "dense/kernel/Adam", "global_step", "_RUN/random"}
        assert set(copy.specs) == names
        assert copy.aliases == {"out/kernel": "dense/kernel"}


def test_a_tensor_outlives_its_own_name(trained: Path, tmp_path: Path) -> None:
    convert(trained, tmp_path / "copy.npz", rules="keep out/*")
    assert [*load_vars(tmp_path / "copy.npz")] == ["out/kernel"]


def test_what_is_dropped_by_one_of_its_names_is_there_by_another_and_said(tmp_path: Path) -> None:
    source = DictSource({"w": np.ones(2), "v": np.ones(2)}, aliases={"model/w": "w"})
    done = convert(source, tmp_path / "copy.npz", rules="drop w")
    assert done.under_others == ("w",)
    assert str(done).endswith("(npz): 2 tensors, 1 by another of their names")
    both = convert(source, tmp_path / "copy.npz", rules=["drop w", "drop model/w"])
    assert (both.left_out, both.under_others) == (("w",), ())


def test_roles(trained: Path, tmp_path: Path) -> None:
    done = convert(trained, tmp_path / "copy", roles=["trainable", "model"])
    assert str(done) == f"wrote {tmp_path}/copy (tf-bundle): 2 tensors, 3 left out"
    with open_checkpoint(tmp_path / "copy") as copy:
        assert set(copy.specs) == {"fc/kernel", "bn/mean"}
        assert copy.metadata == {"note": "kept"}


def test_a_role_that_does_not_exist(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="no role is called slots; the roles: trainable, model"):
        convert(trained, tmp_path / "copy", roles="slots")


def test_a_role_that_nothing_has(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="the role slot; roles there: none recorded; dump leaves"):
        convert({"w": np.zeros(3)}, tmp_path / "copy", roles="slot")


@pytest.mark.parametrize("name", ["trained", "trained.index", "trained.data-00000-of-00001"])
def test_the_source_is_not_replaced(name: str, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(SaveError, match="is the checkpoint to read from; save under another name"):
        convert(trained, tmp_path / name, rules="drop bn/*", format="tf-bundle")


def test_nothing_half_done(tmp_path: Path) -> None:
    save_vars({"w": np.zeros(3)}, tmp_path / "old.safetensors")
    strings = {"w": np.ones(3), "s": np.array([b"a"], object)}
    with pytest.raises(CannotHold, match="'s'"):
        convert(strings, tmp_path / "old.safetensors")
    assert load_vars(tmp_path / "old.safetensors")["w"].tolist() == [0, 0, 0]


def test_one_tensor_is_read_at_a_time_and_told(trained: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    convert(trained, tmp_path / "copy", progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (84, 84)
    assert told == sorted(told)


@pytest.mark.parametrize(("end", "kept"), [(b"", True), (b"\0", False)])
def test_a_graph_of_objects_that_npz_cannot_hold_is_left_out(
    end: bytes, kept: bool, tmp_path: Path
) -> None:
    graph = "_CHECKPOINTABLE_OBJECT_GRAPH"
    done = convert({"w": np.ones(3), graph: np.array(b"graph" + end, object)}, tmp_path / "m.npz")
    assert (graph in load_vars(tmp_path / "m.npz")) is kept
    assert (graph in done.left_out) is not kept


@pytest.mark.parametrize("name", ["m", "m.npz", "m.pt", "m.dcp", "m.orbax"])
def test_the_source_is_not_replaced_under_another_spelling(name: str, tmp_path: Path) -> None:
    # With rules that drop, what they drop would be lost.
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    save_vars({"a": np.ones(2), "b": np.zeros(3)}, tmp_path / "real" / name)
    for spelling in (tmp_path / "link" / name, tmp_path / "real" / ".." / "real" / name):
        with pytest.raises(SaveError, match="is the checkpoint to read from"):
            convert(tmp_path / "real" / name, spelling, rules="drop b")
    assert [*load_vars(tmp_path / "real" / name)] == ["a", "b"]


def test_a_link_to_the_source_is_not_written_through(tmp_path: Path) -> None:
    save_vars({"a": np.ones(2), "b": np.zeros(3)}, tmp_path / "m.npz")
    (tmp_path / "link.npz").symlink_to("m.npz")
    with pytest.raises(SaveError, match="is the checkpoint to read from"):
        convert(tmp_path / "m.npz", tmp_path / "link.npz", rules="drop b")
    assert [*load_vars(tmp_path / "m.npz")] == ["a", "b"]


@pytest.mark.parametrize("name", ["m.dcp", "m.orbax"])
def test_a_folder_is_replaced_by_a_checkpoint_of_its_format(name: str, tmp_path: Path) -> None:
    save_vars({"a": np.ones(2)}, tmp_path / name)
    convert({"b": np.zeros(3)}, tmp_path / name)
    assert [*load_vars(tmp_path / name)] == ["b"]


@pytest.mark.parametrize("value", [np.ones(2, "f4"), np.array([b"a", b"b"], object)])
def test_a_tensor_called_as_the_graph_of_objects_is_kept(value: np.ndarray, tmp_path: Path) -> None:
    done = convert({"_CHECKPOINTABLE_OBJECT_GRAPH": value}, tmp_path / "m.npz")
    assert (done.tensors, done.left_out) == (1, ())


@pytest.mark.parametrize(
    ("name", "message"),
    [("x" * 300 + ".npz", "too long"), ("~nobody-of-this-name/m.npz", "no such user"),
     ("a\0b.npz", "has a NUL")],
)  # fmt: skip
def test_a_destination_that_cannot_be(name: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        convert({"a": np.ones(2)}, name)


GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize(
    ("name", "rule", "prefix"),
    [
        ("torch/checkpoint.pt", "drop optimizer/*", "optimizer/"),
        ("keras/sequential.keras", "drop layers/dense/*", "layers/dense/"),
        ("tf_objects/keras3-1", "drop optimizer/_variables/*", "optimizer/_variables/"),
    ],
)
def test_what_is_dropped_by_a_derived_name_is_gone(
    name: str, rule: str, prefix: str, tmp_path: Path
) -> None:
    with open_checkpoint(GOLDEN / name) as source:
        called = {n: n for n in source.specs} | dict(source.aliases)
        gone = {tensor for any_name, tensor in called.items() if any_name.startswith(prefix)}
        total = len(source.specs)
    done = convert(GOLDEN / name, tmp_path / "copy.npz", rules=rule)
    assert gone
    assert set(done.left_out) >= gone
    assert (done.tensors, done.under_others) == (total - len(done.left_out), ())
