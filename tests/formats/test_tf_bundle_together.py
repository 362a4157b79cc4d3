"""One bundle written by several processes, here threads."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import warmstart as ws
from warmstart.boxes import Box
from warmstart.errors import CannotHold, SaveError
from warmstart.formats.tf_bundle import together
from warmstart.formats.tf_bundle.reader import BundleSource
from warmstart.formats.tf_bundle.together import save_together, writers_of
from warmstart.processes import Processes
from warmstart.source import DictSource
from warmstart.spec import TensorSpec
from warmstart.testing.processes import run_together

ROWS = np.arange(28, dtype=np.float32).reshape(7, 4)
SAME = np.arange(9, dtype=np.int64)


class Shared(DictSource):
    """What one process of several has: some arrays as a whole, and pieces of others."""

    def __init__(
        self,
        whole: Mapping[str, Any],
        parts: Mapping[str, tuple[np.ndarray, Sequence[Box]]],
        **more: Any,
    ) -> None:
        super().__init__({**whole, **{name: array for name, (array, _) in parts.items()}}, **more)
        self._parts = {name: tuple(boxes) for name, (_, boxes) in parts.items()}
        self.asked: list[tuple[str, Any]] = []

    @property
    def pieces(self) -> Mapping[str, Sequence[Box]]:
        return self._parts

    def read(self, name: str) -> np.ndarray:
        assert name not in self._parts
        self.asked.append((name, None))
        return super().read(name)

    def read_slice(self, name: str, index: Any) -> np.ndarray:
        assert index in self._parts[name]
        self.asked.append((name, index))
        return super().read(name)[index]


def rows(rank: int, count: int) -> Box:
    """Return the rows of ROWS that one process has; the last one has fewer."""
    each = -(-len(ROWS) // count)
    return (slice(rank * each, min((rank + 1) * each, 7)), slice(0, 4))


def source_of(processes: Processes, values: float = 1) -> Shared:
    """Return what one of the processes has of the tensors of the tests."""
    rank = processes.rank
    return Shared(
        {"same": SAME, "big": np.full(1000, values), f"own/{rank}": np.int32(rank)},
        {"w": (ROWS * values, [rows(rank, processes.count)])},
        roles={"w": "trainable", f"own/{rank}": "run"},
        aliases={"tied": "w"},
        metadata={"from": f"process {rank}"},
    )


def saved(prefix: Path, count: int = 3, values: float = 1, **more: Any) -> list[Any]:
    return run_together(lambda p: save_together(source_of(p, values), prefix, p), count, **more)


def test_what_the_processes_have_is_one_checkpoint(tmp_path: Path) -> None:
    assert saved(tmp_path / "m") == [None] * 3
    with BundleSource(tmp_path / "m", verify=True) as source:
        found = source.read_all()
        assert list(source.unclaimed()) == []
        assert source.aliases == {"tied": "w"}
        assert source.metadata == {"from": "process 0"}
        assert source.specs["w"] == TensorSpec("w", "float32", (7, 4), "trainable")
        np.testing.assert_array_equal(source.read("tied"), ROWS, strict=True)
    assert sorted(found) == ["big", "own/0", "own/1", "own/2", "same", "w"]
    np.testing.assert_array_equal(found["w"], ROWS, strict=True)
    np.testing.assert_array_equal(found["same"], SAME, strict=True)
    assert [int(found[f"own/{rank}"]) for rank in range(3)] == [0, 1, 2]
    assert sorted(os.listdir(tmp_path)) == [
        *(f"m.data-0000{rank}-of-00003" for rank in range(3)),
        "m.index",
    ]


def test_tensorflow_reads_it(tmp_path: Path) -> None:
    import tensorflow as tf

    saved(tmp_path / "m")
    reader = tf.train.load_checkpoint(str(tmp_path / "m"))
    for name in ("w", "tied"):
        np.testing.assert_array_equal(reader.get_tensor(name), ROWS, strict=True)
    np.testing.assert_array_equal(reader.get_tensor("same"), SAME, strict=True)


def test_each_writes_its_own_and_what_all_have_is_written_once(tmp_path: Path) -> None:
    sources: dict[int, Shared] = {}

    def do(processes: Processes) -> None:
        sources[processes.rank] = source_of(processes)
        save_together(sources[processes.rank], tmp_path / "m", processes)

    run_together(do)
    asked = [name for rank in range(3) for name, _ in sources[rank].asked]
    assert asked.count("same") == asked.count("big") == 1
    for rank, source in sources.items():
        assert ("w", rows(rank, 3)) in source.asked
        assert (f"own/{rank}", None) in source.asked


def test_bytes_are_divided_evenly() -> None:
    def have(names: str, kib: int) -> dict[str, Any]:
        return {name: ["float32", [256 * kib], None, [""], [[256 * kib]]] for name in names}

    claims = [have("abcd", 1) | have("e", 3), have("abcd", 1) | have("f", 1)]
    writers = {name: by[""] for name, by in writers_of(claims).items()}
    assert sorted(writers.values()) == [0, 1, 1, 1]


@pytest.mark.parametrize("count", [2, 3])
def test_a_bundle_is_replaced_by_that_of_any_number(tmp_path: Path, count: int) -> None:
    saved(tmp_path / "m", 3)
    assert saved(tmp_path / "m", count, values=2) == [None] * count
    with ws.open(tmp_path / "m") as source:
        np.testing.assert_array_equal(source.read("w"), 2 * ROWS)
    shards = {3: 4, 2: 2}[count]
    assert sorted(os.listdir(tmp_path)) == [
        *(f"m.data-0000{rank}-of-0000{shards}" for rank in range(count)),
        "m.index",
    ]


@pytest.mark.parametrize("failing", [0, 1])
def test_a_write_that_fails_leaves_the_old_one_and_is_told_to_all(
    tmp_path: Path, failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path / "m", 2)
    before = sorted(os.listdir(tmp_path))
    real = together.write_shard

    def write_shard(source: Any, data: Path, *args: Any, **options: Any) -> Any:
        found = real(source, data, *args, **options)
        if options["shard"] == failing:
            raise SaveError("the disk is full")
        return found

    monkeypatch.setattr(together, "write_shard", write_shard)
    results = saved(tmp_path / "m", 2, values=2)
    assert [str(e) for e in results[failing : failing + 1]] == ["the disk is full"]
    other = results[1 - failing]
    assert isinstance(other, SaveError)
    assert str(other) == (
        f"{tmp_path}/m was not saved: process {failing} of 2 failed: the disk is full"
    )
    assert sorted(os.listdir(tmp_path)) == before
    with ws.open(tmp_path / "m") as source:
        np.testing.assert_array_equal(source.read("w"), ROWS)


def test_one_that_dies_leaves_the_old_one_and_is_named(tmp_path: Path) -> None:
    saved(tmp_path / "m", 3)

    def do(processes: Processes) -> None:
        if processes.rank == 2:
            processes.settle("choosing who writes what, saving m", together.Divided(
                source_of(processes), tmp_path / "m", processes).say)  # fmt: skip
            return  # killed before it has written
        save_together(source_of(processes, 2), tmp_path / "m", processes)

    results = run_together(do, timeout=0.3)
    text = (
        f"{tmp_path}/m was not saved: process 2 of 3 did not answer within 0.3 s while saving m: "
        "it died, or cannot go on"
    )
    assert [(type(e), str(e)) for e in results[:2]] == [(SaveError, text)] * 2
    with ws.open(tmp_path / "m") as source:
        np.testing.assert_array_equal(source.read("w"), ROWS)


def test_an_answer_that_never_comes_leaves_what_was_written(tmp_path: Path) -> None:
    """Process 0 might have written the index before it died, or be about to."""

    def do(processes: Processes) -> None:
        if processes.rank == 0:
            saving = together.Divided(source_of(processes), tmp_path / "m", processes)
            processes.settle("choosing who writes what, saving m", saving.say, saving.choose)
            return
        save_together(source_of(processes), tmp_path / "m", processes)

    _, error = run_together(do, 2, timeout=0.3)
    assert "process 0 of 2 did not answer within 0.3 s" in str(error)
    assert os.listdir(tmp_path) == ["m.data-00001-of-00002"]


def test_folders_that_are_not_one_are_refused(tmp_path: Path) -> None:
    for rank in range(2):
        (tmp_path / str(rank)).mkdir()

    def do(processes: Processes) -> None:
        save_together(source_of(processes), tmp_path / str(processes.rank) / "m", processes)

    first, second = run_together(do, 2)
    assert str(first) == (
        "process 0 does not see what others have written; all have to save into one folder that "
        f"they share:\n  {tmp_path}/0/m.data-00001-of-00002, of process 1"
    )
    assert "process 0 of 2 failed: process 0 does not see" in str(second)
    assert os.listdir(tmp_path / "0") == os.listdir(tmp_path / "1") == []


@pytest.mark.parametrize(
    ("other", "text"),
    [
        (Shared({"a": np.zeros(3)}, {}), "a: float64 (2,) in process 0, float64 (3,) in process 1"),
        (
            Shared({}, {"a": (np.zeros(2), [(slice(0, 1),)])}),
            "a: as a whole in one of the processes 0 and 1, in pieces in the other",
        ),
    ],
)
def test_tensors_that_differ_are_refused(tmp_path: Path, other: Shared, text: str) -> None:
    sources = [Shared({"a": np.zeros(2)}, {}), other]
    results = run_together(lambda p: save_together(sources[p.rank], tmp_path / "m", p), 2)
    assert str(results[0]) == f"processes have different tensors of one name:\n  {text}"
    assert os.listdir(tmp_path) == []


def test_pieces_that_leave_a_gap_are_refused(tmp_path: Path) -> None:
    def do(processes: Processes) -> None:
        box = (slice(processes.rank * 3, processes.rank * 3 + 2), slice(0, 4))
        save_together(Shared({}, {"w": (ROWS, [box])}), tmp_path / "m", processes)

    results = run_together(do, 2)
    assert "'w': its 2 pieces leave 12 of 28 elements without a value" in str(results[0])
    assert os.listdir(tmp_path) == []


def test_what_a_bundle_cannot_hold_is_refused_by_name(tmp_path: Path) -> None:
    def do(processes: Processes) -> None:
        name = "a\0" if processes.rank else "a"
        save_together(Shared({"\0" + name: SAME}, {}), tmp_path / "m", processes)

    results = run_together(do, 2)
    assert all(isinstance(e, SaveError | CannotHold) for e in results)
    assert os.listdir(tmp_path) == []


def test_a_process_may_have_several_pieces_of_a_tensor_or_none(tmp_path: Path) -> None:
    boxes: list[list[Box]] = [
        [(slice(0, 2), slice(0, 4)), (slice(5, 7), slice(0, 4))],
        [],
        [(slice(2, 5), slice(0, 4))],
    ]

    def do(processes: Processes) -> None:
        save_together(Shared({}, {"w": (ROWS, boxes[processes.rank])}), tmp_path / "m", processes)

    assert run_together(do) == [None] * 3
    with ws.open(tmp_path / "m") as source:
        np.testing.assert_array_equal(source.read("w"), ROWS)
        piece = source.read_piece("w", (slice(1, 6), slice(1, 3)))
        np.testing.assert_array_equal(piece, ROWS[1:6, 1:3])
