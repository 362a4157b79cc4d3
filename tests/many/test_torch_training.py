"""Training in several processes: stopped, resumed, and the same bits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import warmstart as ws

Run = Callable[..., list[Any]]


@pytest.mark.parametrize(
    ("count", "kind", "asynchronous"),
    [(2, "ddp", False), (2, "fsdp", False), (2, "fsdp", True), (4, "hsdp", True)],
)
def test_a_run_goes_on_to_the_same_bits_in_every_process(
    count: int, kind: str, asynchronous: bool, together: Run, tmp_path: Path
) -> None:
    options = {"kind": kind, "saver": {"asynchronous": asynchronous}}
    whole = together("run", count, tmp_path / "whole", **options)
    together("run", count, tmp_path / "log", stop_at=7, **options)
    resumed = together("run", count, tmp_path / "log", **options)
    assert [each["resumed"] for each in resumed] == ["model-6"] * count
    for before, after in zip(whole, resumed, strict=True):
        assert before["losses"][6:] == after["losses"]
        for what in ("step", "values", "own", "generators", "metrics"):
            assert before[what] == after[what], what
    assert len({tuple(each["losses"]) for each in whole}) == count
    assert len({tuple(each["generators"]) for each in whole}) == count
    stats = [(tmp_path / name / "stats.jsonl").read_text() for name in ("whole", "log")]
    assert stats[0] == stats[1]
    assert len(stats[0].splitlines()) == 2


@pytest.mark.parametrize(
    ("before", "after"), [((2, "fsdp"), (4, "hsdp")), ((2, "ddp"), (1, "plain")),
                          ((1, "plain"), (2, "fsdp"))]
)  # fmt: skip
def test_another_number_of_processes_goes_on_with_the_same_values(
    before: tuple[int, str], after: tuple[int, str], together: Run, tmp_path: Path
) -> None:
    stopped = together("run", before[0], tmp_path, kind=before[1], stop_at=8)
    with ws.open(tmp_path / "model-6") as source:
        expected = {n: source.read(n) for n, spec in source.specs.items() if spec.role != "run"}
    resumed = together("run", after[0], tmp_path, kind=after[1])
    for each in resumed:
        assert each["resumed"] == "model-6"
        assert each["step"] == 16
        found = each["started"]["values"]
        assert found.keys() == expected.keys()
        for name, values in found.items():
            np.testing.assert_array_equal(np.asarray(values, "float32"), expected[name], name)
    generators = [str(each["started"]["random"]) for each in resumed]
    assert len(set(generators)) == after[0]
    assert [each["step"] for each in stopped] == [8] * before[0]


def test_the_clock_of_process_0_says_when_to_save(together: Run, tmp_path: Path) -> None:
    together("run", 2, tmp_path, every_steps=None, every_secs=1e-6, max_epoch=1)
    with ws.open(tmp_path) as source:
        state = source.read("_RUN/processes/1/state").item()
    assert b'"random"' in state
    assert sorted(path.name for path in tmp_path.glob("model-*.index")) == [
        "model-7.index", "model-8.index",
    ]  # fmt: skip


def test_what_a_resume_refuses_is_refused_by_all(outcomes: Run, tmp_path: Path) -> None:
    outcomes("run", 2, tmp_path, max_epoch=1)
    ended = outcomes("run", 2, tmp_path, steps_per_epoch=3)
    assert [each["raised"] for each in ended] == ["ResumeError"] * 2
    assert all("steps_per_epoch: here 3, in the checkpoint's run 8" in e["text"] for e in ended)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_save_that_fails_in_one_is_raised_by_all_at_one_step(
    asynchronous: bool, outcomes: Run, tmp_path: Path
) -> None:
    saver = {"asynchronous": asynchronous}
    first, second = outcomes("run", 2, tmp_path, kind="fsdp", full_at=6, saver=saver)
    assert first["raised"] == second["raised"] == "SaveError"
    assert second["text"].startswith("the disk is full")
    assert "model-6 was not saved: process 1 of 2 failed: the disk is full" in first["text"]
    assert [path.name for path in tmp_path.glob("model-*.index")] == ["model-3.index"]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_run_may_go_on_without_a_save(asynchronous: bool, together: Run, tmp_path: Path) -> None:
    saver = {"asynchronous": asynchronous, "on_error": "warn"}
    for each in together("run", 2, tmp_path, kind="fsdp", full_at=6, saver=saver):
        assert each["step"] == 16
    assert sorted(path.name for path in tmp_path.glob("model-*.index")) == [
        "model-12.index", "model-15.index",
    ]  # fmt: skip
