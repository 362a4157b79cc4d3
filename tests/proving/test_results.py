"""What two runs left is compared to the last bit, and what differs is named."""

import json
from pathlib import Path

import numpy as np
import pytest

from warmstart.files.variables import save_vars
from warmstart.proving.results import compare_runs, last_of
from warmstart.source import DictSource


def left(folder: Path, name: str = "model-2", run: object = None, **arrays: np.ndarray) -> Path:
    metadata = {} if run is None else {"run": json.dumps(run)}
    save_vars(DictSource({"w": np.ones(2), **arrays}, metadata=metadata), folder / name)
    return folder


@pytest.fixture
def both(tmp_path: Path) -> tuple[Path, Path]:
    for side in ("a", "b"):
        (tmp_path / side).mkdir()
    return tmp_path / "a", tmp_path / "b"


def lines(both: tuple[Path, Path]) -> list[str]:
    return list(compare_runs(*both).lines())


def test_equal_runs(both: tuple[Path, Path]) -> None:
    for side in both:
        left(side)
        (side / "stats.jsonl").write_text('{"loss": 1}\n')
        (side / "log.txt").write_text(str(side))
    found = compare_runs(*both)
    assert found.compared == ("model-2", "stats.jsonl")
    assert (found.differences, found.notes) == ((), ())


def test_a_tensor_is_named_with_its_first_difference(both: tuple[Path, Path]) -> None:
    left(both[0], m=np.zeros((2, 3)), n=np.array([np.nan, 1, 2]), s=np.array([b"a", b"b"], object))
    left(both[1], m=np.float64([[0, 0, 0], [0, 5, 6]]), n=np.array([np.nan, -0.0, 2]),
         s=np.array([b"a", b"c"], object))  # fmt: skip
    assert lines(both) == [
        "model-2: m: 0.0 against 5.0 at [1, 1]; 2 of 6 values differ; max abs 6, max rel 1",
        "model-2: n: 1.0 against -0.0 at [1]; 1 of 3 values differ; max abs 1, max rel 1",
        "model-2: s: b'b' against b'c' at [1]; 1 of 2 values differ",
    ]


def test_shapes_and_tensors_of_one_side(both: tuple[Path, Path]) -> None:
    left(both[0], m=np.zeros(3), n=np.zeros(1))
    left(both[1], m=np.zeros(4))
    assert lines(both) == [
        "model-2: m: float64 (3,) against float64 (4,)",
        "model-2: n: only one run has it",
    ]


def test_values_of_the_run_state_are_named(both: tuple[Path, Path]) -> None:
    left(both[0], run={"step": 2, "data": {"pass": 1}, "lost": []})
    left(both[1], run={"step": 2, "data": {"pass": 2, "more": 1}})
    assert lines(both) == [
        "model-2: run state data/pass: 1 against 2",
        "model-2: run state lost: [] against nothing",
        "model-2: run state data/more: nothing against 1",
    ]
    assert all(each.of_run_state for each in compare_runs(*both).differences)


def test_lines_of_statistics(both: tuple[Path, Path]) -> None:
    for side in both:
        left(side)
    (both[0] / "stats.jsonl").write_text("1\n2\n")
    (both[1] / "stats.jsonl").write_text("1\n3\n")
    assert lines(both) == ["stats.jsonl: line 2: 2 against 3"]
    (both[1] / "stats.jsonl").write_text("1\n2\n2\n")
    assert lines(both) == ["stats.jsonl: 2 lines against 3"]


def test_old_checkpoints_of_one_run_are_a_note_and_the_last_is_a_difference(
    both: tuple[Path, Path],
) -> None:
    for side in both:
        left(side, "model-10")
    left(both[0], "model-5")
    left(both[0], "min-loss")
    found = compare_runs(*both)
    assert found.notes == ("model-5: only the unkilled run left it",)
    assert lines(both) == ["min-loss: only the unkilled run left it"]
    left(both[1], "model-20")
    assert "model-20: only the killed run left it" in lines(both)


def test_a_torn_result_is_a_difference(both: tuple[Path, Path]) -> None:
    for side in both:
        left(side)
    data = both[1] / "model-2.data-00000-of-00001"
    data.write_bytes(b"x" * data.stat().st_size)
    (line,) = lines(both)
    assert line.startswith("model-2: the data of 'w' have the checksum") or "checksum" in line


def test_of_many_differences_some_are_told(both: tuple[Path, Path]) -> None:
    left(both[0], "model-2", **{f"v{n:02}": np.zeros(1) for n in range(15)})
    left(both[1], "model-2", **{f"v{n:02}": np.ones(1) for n in range(15)})
    left(both[0], "model-1", m=np.zeros(1), n=np.zeros(1))
    left(both[1], "model-1", m=np.ones(1), n=np.ones(1))
    found = lines(both)
    assert found[0].startswith("model-1: m: 0.0 against 1.0")
    assert found[0].endswith("; and 1 more")
    assert (len(found), found[-1]) == (12, "model-2: 5 more differences")


def test_folders_of_several_files_are_compared_file_by_file(both: tuple[Path, Path]) -> None:
    for side in both:
        for step in (1, 2):
            (side / f"checkpoint-{step}").mkdir()
            left(side / f"checkpoint-{step}", "model.safetensors")
            left(side / f"checkpoint-{step}", "optimizer.npz")
    left(both[1] / "checkpoint-2", "optimizer.npz", m=np.zeros(1))
    found = compare_runs(*both)
    assert len(found.compared) == 4
    assert list(found.lines()) == ["checkpoint-2/optimizer.npz: m: only one run has it"]


def test_what_differs_between_unkilled_runs_can_be_left_out(both: tuple[Path, Path]) -> None:
    left(both[0], a=np.zeros(1), b=np.zeros(1))
    left(both[1], a=np.ones(1), b=np.zeros(1))
    noise = compare_runs(*both)
    left(both[1], a=np.full(1, 2.0), b=np.ones(1))
    assert [each.key for each in compare_runs(*both).without(noise).differences] == ["b"]


def test_the_last_is_the_one_with_the_highest_number() -> None:
    assert last_of([]) is None
    assert last_of(["best"]) is None
    assert last_of(["model-9", "model-10", "best"]) == "model-10"
