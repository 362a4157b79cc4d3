"""Training in several processes: stopped, resumed, and the same bits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., list[Any]]


@pytest.mark.parametrize(("count", "kind"), [(2, "ddp"), (2, "fsdp"), (4, "hsdp")])
def test_a_run_goes_on_to_the_same_bits_in_every_process(
    count: int, kind: str, together: Run, tmp_path: Path
) -> None:
    whole = together("run", count, tmp_path / "whole", kind=kind)
    together("run", count, tmp_path / "log", kind=kind, stop_at=7)
    resumed = together("run", count, tmp_path / "log", kind=kind)
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
