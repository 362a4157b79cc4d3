"""Two checkpoints, tensor by tensor."""

import json
from pathlib import Path

import numpy as np
import pytest

from warmstart.errors import RuleError
from warmstart.files.diff import diff
from warmstart.files.variables import save_vars
from warmstart.source import DictSource

W = np.arange(6, dtype="f4").reshape(2, 3)


@pytest.mark.parametrize("name", ["b", "b.npz", "b.safetensors"])
def test_formats_do_not_matter(name: str, tmp_path: Path) -> None:
    for path in ("a", name):
        save_vars({"w": W, "step": np.int64(1)}, tmp_path / path)
    found = diff(tmp_path / "a", tmp_path / name)
    assert (found.same, found.same_tensors) == (True, ("step", "w"))


@pytest.mark.parametrize(
    ("b", "line"),
    [
        ({"w": W + 1}, "w: float32 (2, 3), 6 of 6 values differ; max abs 1, max rel 1"),
        ({"w": W.astype("f8")}, "w: float32 (2, 3) against float64 (2, 3)"),
        ({"w": W.T}, "w: float32 (2, 3) against float32 (3, 2)"),
        ({"w": W, "v": W}, "only in dict: v float32 (2, 3)"),
    ],
    ids=["values", "dtype", "shape", "one-sided"],
)  # fmt: skip
def test_a_difference(b: dict[str, np.ndarray], line: str) -> None:
    found = diff({"w": W}, b, atol=0.1)
    assert not found.same
    assert line in str(found).splitlines()


def test_the_last_line_counts() -> None:
    found = diff({"w": W, "x": W, "y": W}, {"w": W, "x": -W, "z": W})
    assert str(found).splitlines()[-1] == (
        "1 tensors are the same, 1 differ, 1 only in dict, 1 only in dict"
    )


def test_tolerances() -> None:
    assert not diff({"w": W}, {"w": W + np.float32(0.01)}, atol=0.001).same
    assert diff({"w": W}, {"w": W + np.float32(0.01)}, atol=0.02).same
    assert diff({"w": W + 1}, {"w": W + np.float32(1.01)}, rtol=0.011).same


def test_renames_apply_to_the_first() -> None:
    assert diff({"fc.w": W}, {"fc/w": W}, rules="rename fc.* -> fc/*").same


def test_what_is_dropped_is_not_looked_for() -> None:
    assert diff({"w": W, "x": W}, {"w": W, "x": -W}, rules="drop x").same
    assert diff({"w": W}, {"w": W, "x": W}, rules="drop x").same
    assert diff({"w": W, "x": W}, {"w": W, "y": W}, rules="keep w").same
    rules = ["drop enc/b", "rename enc/* -> encoder/*"]
    assert diff({"enc/w": W, "enc/b": W}, {"encoder/w": W, "encoder/b": -W}, rules=rules).same


def test_slots_are_dropped_with_their_variable() -> None:
    roles = {"fc/w": "trainable", "fc/w/Adam": "slot"}
    a = DictSource({"fc/w": W, "fc/w/Adam": W, "x": W}, roles=roles)
    b = DictSource({"fc/w": W, "fc/w/Adam": -W, "x": W}, roles=roles)
    assert diff(a, b, rules="drop fc/w").same


def test_a_rule_that_matches_neither() -> None:
    with pytest.raises(RuleError, match=r"these rules match nothing:\n  drop z"):
        diff({"w": W}, {"w": W}, rules=["drop z"])


def test_a_rename_must_match_the_first() -> None:
    with pytest.raises(RuleError, match=r"these rules match nothing:\n  rename v -> w"):
        diff({"w": W}, {"v": W}, rules=["rename v -> w"])


TIED = DictSource({"enc/w": W}, aliases={"dec/w": "enc/w"})


@pytest.mark.parametrize(
    "other",
    [
        {"enc/w": W},
        {"dec/w": W},
        {"enc/w": W, "dec/w": W},
        DictSource({"dec/w": W}, aliases={"enc/w": "dec/w"}),
    ],
    ids=["one name", "the other", "both", "tied the other way"],
)
def test_a_tied_tensor_is_found_under_either_name(other: dict[str, np.ndarray]) -> None:
    assert diff(TIED, other).same
    assert diff(other, TIED).same


def test_a_tie_that_was_undone() -> None:
    found = diff(TIED, {"enc/w": W, "dec/w": -W})
    assert [change.name for change in found.changed] == ["dec/w"]


def test_run_state_is_compared_only_with_all(trained: Path) -> None:
    other = DictSource(
        {
            "fc/kernel": W,
            "fc/kernel/Adam": np.ones((2, 3), "f4"),
            "bn/mean": np.zeros(3, "f4"),
            "global_step": np.int64(7),
            "_RUN/random": np.zeros(4, "u4"),
        },
        metadata={"run": "{}"},
    )
    assert diff(trained, other).same
    found = diff(trained, other, all=True)
    assert ([c.name for c in found.changed], found.metadata) == (["_RUN/random"], ("note",))
    assert "metadata 'note' differs" in str(found)


def test_it_goes_into_json() -> None:
    found = diff({"w": W, "x": W}, {"w": -W, "y": W})
    value = json.loads(json.dumps(found.to_dict()))
    assert value["changed"][0]["values"]["differing"] == 6  # 0 and -0 too
    assert [spec["name"] for spec in value["only_a"] + value["only_b"]] == ["x", "y"]
    assert value["same"] is False


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    diff({"w": W}, {"w": W}, progress=lambda done, total: told.append((done, total)))
    assert told == [(24, 24)]


@pytest.mark.parametrize(
    ("tolerances", "message"),
    [
        ({"atol": -1}, "atol is -1; expected a number from 0 up"),
        ({"rtol": float("nan"), "atol": -0.5}, "rtol is nan and atol is -0.5; expected a number f"),
    ],
)
def test_a_tolerance_that_nothing_is_within(tolerances: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        diff({"w": W}, {"w": W}, **tolerances)


def test_checkpoints_of_tensorflow_1_and_2_are_the_same_by_the_variables_own_names() -> None:
    kernel = np.arange(6, dtype="f4").reshape(2, 3)
    key = "model/layer/kernel/.ATTRIBUTES/VARIABLE_VALUE"
    graph = {"_CHECKPOINTABLE_OBJECT_GRAPH": np.array(b"graph", object)}
    second = DictSource({key: kernel, **graph}, aliases={"dense/kernel": key})
    assert diff({"dense/kernel": kernel}, second).same
    assert diff(second, {"dense/kernel": kernel}).same
    assert not diff(second, {"dense/kernel": kernel}, all=True).same


def test_what_is_kept_before_a_rename_is_no_word_on_names_that_never_had_the_scope() -> None:
    training = {"model/w": W, "optimizer/w": W}
    rules = ["keep model/*", "rename model/* -> *"]
    assert diff(training, {"w": W}, rules=rules).same
    assert [spec.name for spec in diff(training, {"w": W, "v": W}, rules=rules).only_b] == ["v"]
    assert diff({"w": W, "v": W}, {"w": W, "u": W}, rules=["keep w"]).same
