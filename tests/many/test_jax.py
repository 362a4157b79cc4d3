"""Training in several processes of JAX: saved, loaded divided in other ways, killed, resumed.

One point at which each process is killed is tried here; all with WARMSTART_CRASH_STRIDE=1.
"""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import warmstart as ws

from .points import SOON, newest, tried

SCENARIOS = "jax_scenarios"

Run = Callable[..., list[Any]]


@pytest.fixture(scope="module")
def whole(outcomes_of: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What comes of runs that are not killed: their folder, and what each process says."""
    found: dict[str, Any] = {}
    for kind in ("nnx", "tree"):
        folder = tmp_path_factory.mktemp(kind)
        ended = outcomes_of("run_watched", 2, folder, rank=-1, point=-1, kind=kind)
        assert all("returned" in each for each in ended), ended
        found[kind] = folder, [each["returned"] for each in ended]
    return found


def same(before: list[Any], after: list[Any]) -> bool:
    """Return whether two runs ended with the same bits in every process."""
    return all(
        old["losses"][16 - len(new["losses"]) :] == new["losses"]
        and all(old[what] == new[what] for what in ("step", "values", "generators"))
        for old, new in zip(before, after, strict=True)
    )


@pytest.mark.parametrize("kind", ["nnx", "tree"])
def test_one_checkpoint_of_all(kind: str, whole: dict[str, Any]) -> None:
    folder, ended = whole[kind]
    assert any("kernel" in name for name in ended[0]["pieces"])
    assert len(list(folder.glob("model-15.data-*"))) == 2
    with ws.open(folder / "min-loss") as source:
        assert source.specs["one/kernel"].shape == (8, 16)
        assert source.specs["one/kernel/mu"].role == "slot"
        step = int(source.read("opt_state/ScaleByAdamState/count"))
    assert step in (8, 16)
    assert ws.verify(folder / "model-15").sound


def test_a_run_goes_on_to_the_same_bits_in_every_process(
    whole: dict[str, Any], together: Run, tmp_path: Path
) -> None:
    together("run", 2, tmp_path, kind="nnx", stop_at=12)
    resumed = together("run", 2, tmp_path, kind="nnx")
    assert [each["resumed"] for each in resumed] == ["model-10"] * 2
    folder, ended = whole["nnx"]
    assert same(ended, resumed)
    assert (tmp_path / "stats.jsonl").read_text() == (folder / "stats.jsonl").read_text()


@pytest.mark.parametrize("count", [1, 4])
def test_any_number_of_processes_loads_it(count: int, whole: dict[str, Any], together: Run) -> None:
    folder, _ = whole["tree"]
    with ws.open(folder / "model-15") as source:
        roles = {name: spec.role for name, spec in source.specs.items()}
        expected = {name: source.read(name) for name, role in roles.items() if role != "run"}
    for result in together("load", count, folder, kind="tree", checkpoint="model-15"):
        for name, values in expected.items():
            np.testing.assert_array_equal(np.float32(result["values"][name]), values, name)
        assert result["read"] <= 1.05 * result["needed"]


@pytest.mark.parametrize("rank", [0, 1])
def test_killed_in_a_save_and_resumed(
    rank: int, whole: dict[str, Any], outcomes: Run, together: Run, tmp_path: Path
) -> None:
    folder, ended = whole["tree"]
    points = ended[rank]["points"]
    for number, point in enumerate(tried(len(points), [len(points) * 2 // 3])):
        again = tmp_path / str(number)
        more = {"rank": rank, "point": point, "timeout": SOON, "kind": "tree"}
        killed = outcomes("run_watched", 2, again, **more)
        assert killed[rank] == {"killed": 9}, points[point]
        told_of_it(killed[1 - rank], rank, ended[1 - rank])
        resumed = together("run", 2, again, kind="tree")
        assert same(ended, resumed), points[point]
        if rank == 0:
            assert {str(each["resumed"]) for each in resumed} <= newest(points[:point])
        assert (again / "stats.jsonl").read_text() == (folder / "stats.jsonl").read_text()
    print(f"process {rank}: {number + 1} of {len(points)} points")


def told_of_it(survivor: dict[str, Any], rank: int, whole: dict[str, Any]) -> None:
    """Check that the process that was not killed ended, and said which one did not answer.

    In the middle of a step it is JAX that says so, and it ends what is left at once when its
    service, in process 0, is gone.  Past the last thing that they did together it has ended well.
    """
    if "returned" in survivor:
        assert survivor["returned"]["values"] == whole["values"]
        return
    words = ("which is in process 0, does not answer", "process 1 of 2 did not answer")
    aborted = rank == 0 and survivor == {"killed": signal.SIGABRT}
    assert aborted or words[rank] in str(survivor) or "onnection" in str(survivor), survivor


def test_what_needs_all_of_an_array_is_refused(together: Run, tmp_path: Path) -> None:
    first, second = together("refusals", 2, tmp_path)
    assert first["read"] == (
        "CheckpointError: 'one/kernel' is in several processes, and only part of it in this one: "
        "read_slice gives that, and saving the model saves all of it"
    )
    assert second["slice"] == (
        "CheckpointError: 'one/kernel' is in several processes: [0:8, 0:16] was asked for, and "
        "this one has [4:6, 0:16], [6:8, 0:16]"
    )
    assert first["npz"].startswith("CannotHold: the model is in 2 processes, of which each writes")
    assert first["own"] == "[2, 16]"
