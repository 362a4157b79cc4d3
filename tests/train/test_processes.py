"""What each process of a run has of its own, without an engine."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from warmstart.errors import CorruptCheckpoint
from warmstart.processes import ALONE, Processes
from warmstart.source import DictSource
from warmstart.testing.processes import MemoryStore, run_together
from warmstart.testing.toy import ToyModel
from warmstart.train.epoch_metrics import EpochMetrics
from warmstart.train.processes import agree_on, do_together, mean_over, own_part, state_of

STATE = {
    "step": 3,
    "random": {"numpy": {"key": np.arange(3)}},
    "session": {"rng": np.arange(2), "optimizer": {"lr": 0.1}},
    "callbacks": {"best": {"best": 1.0}},
    "data": {"position": 2},
}


def state(rank: int) -> dict[str, Any]:
    """Return the run state of a process: random states are its own."""
    own = {"random": {"numpy": {"key": np.arange(3) + rank}}}
    return {**STATE, **own, "session": {**STATE["session"], "rng": np.arange(2) + rank}}


def parts(count: int = 3) -> list[Any]:
    def do(processes: Processes) -> Any:
        return own_part(ToyModel().session, state(processes.rank), processes)

    return run_together(do, count)


def source_of(part: Any) -> DictSource:
    return DictSource({name: part.read(name) for name in part.specs})


def at(rank: int, count: int) -> Processes:
    return Processes(rank, count, MemoryStore())


def test_a_process_adds_what_is_other_than_in_process_0() -> None:
    first, second, third = parts()
    assert first is None
    assert {name for name in second.specs if name.startswith("_RUN/")} == {
        "_RUN/processes/1/random/numpy/key",
        "_RUN/processes/1/session/rng",
        "_RUN/processes/1/state",
    }
    assert "optimizer" not in third.read("_RUN/processes/2/state").item().decode()


@pytest.mark.parametrize(("rank", "key"), [(0, 0), (1, 1), (2, 2)])
def test_it_gets_it_back(rank: int, key: int) -> None:
    source = source_of(parts()[rank]) if rank else DictSource({})
    found = state_of(source, {**state(0), "processes": 3}, at(rank, 3), state(9))
    np.testing.assert_array_equal(found["random"]["numpy"]["key"], np.arange(3) + key)
    np.testing.assert_array_equal(found["session"]["rng"], np.arange(2) + key)
    assert found["session"]["optimizer"] == {"lr": 0.1}
    assert found["data"] == {"position": 2}


@pytest.mark.parametrize(("rank", "key"), [(0, 0), (1, 1), (3, 9)])
def test_of_another_number_each_has_random_states_of_its_own(
    rank: int, key: int, caplog: pytest.LogCaptureFixture
) -> None:
    source = source_of(parts()[rank]) if 0 < rank < 3 else DictSource({})
    found = state_of(source, {**state(0), "processes": 3}, at(rank, 4), state(9))
    np.testing.assert_array_equal(found["random"]["numpy"]["key"], np.arange(3) + key)
    assert "the run so far had 3 processes, now it has 4" in caplog.text


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.arange(3), "'_RUN/processes/1/state' is not one string, as it should be"),
        (np.array(b"{}", object), "'_RUN/processes/1/state' is not the state of process 1"),
        (np.array(b"\xff{}", object), "'_RUN/processes/1/state' is not UTF-8 text"),
    ],
)
def test_an_own_state_that_is_none(value: np.ndarray, message: str) -> None:
    source = DictSource({"_RUN/processes/1/state": value})
    with pytest.raises(CorruptCheckpoint, match=message):
        state_of(source, {**state(0), "processes": 2}, at(1, 2), state(9))


@pytest.mark.parametrize("count", [0, "2", None])
def test_a_number_of_processes_that_is_none(count: Any) -> None:
    with pytest.raises(CorruptCheckpoint, match=f"says that the run had {count!r} processes"):
        state_of(DictSource({}), {**state(0), "processes": count}, at(0, 2), state(9))


def measured(values: Mapping[str, float]) -> EpochMetrics:
    metrics = EpochMetrics()
    metrics.add(values)
    return metrics


def test_metrics_are_means_over_all_and_any_may_stop() -> None:
    def do(processes: Processes) -> Any:
        metrics = measured({"loss": processes.rank} | ({"only": 5.0} if processes.rank else {}))
        if processes.first:
            metrics.put("accuracy", 0.5)
        stopping = mean_over(processes, metrics, processes.rank == 2)
        agree_on(processes, metrics)
        return metrics.values(), stopping

    assert run_together(do) == [({"loss": 1.0, "only": 5.0, "accuracy": 0.5}, True)] * 3
    metrics = measured({"loss": 2.0})
    assert mean_over(ALONE, metrics, False) is False
    assert metrics.values() == {"loss": 2.0}


def test_what_raises_in_one_raises_in_all() -> None:
    def do(processes: Processes) -> None:
        def work() -> None:
            if processes.rank == 1:
                raise KeyError("lost")

        do_together(processes, "working", work)

    first, second, _ = run_together(do)
    assert isinstance(second, KeyError)
    assert str(first) == "process 1 of 3 failed: KeyError('lost')"
