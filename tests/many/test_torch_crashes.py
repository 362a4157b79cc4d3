"""One of two processes is killed at a change of a file: resumed, the same bits, and no work lost.

Some of the changes are tried here; all of them with WARMSTART_CRASH_STRIDE=1, in a quarter of an
hour.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .points import SOON, newest, tried

Run = Callable[..., list[Any]]

ARGUMENTS = {"every_steps": 5}  # three saves, and two of the lowest loss


@pytest.fixture(scope="module")
def whole(outcomes_of: Run, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What comes of a run that is not killed, in each process."""
    folder = tmp_path_factory.mktemp("whole")
    found = outcomes_of("run_watched", 2, folder, rank=-1, point=-1, **ARGUMENTS)
    stats = (folder / "stats.jsonl").read_text()
    return [{**each["returned"], "stats": stats} for each in found]


@pytest.mark.parametrize("rank", [0, 1])
def test_killed_and_resumed(
    rank: int, whole: list[Any], outcomes: Run, together: Run, tmp_path: Path
) -> None:
    points = whole[rank]["points"]
    stride = len(points) // (4 - rank)
    for number, point in enumerate(tried(len(points), range(stride - 1, len(points), stride))):
        folder = tmp_path / str(number)
        more = {"rank": rank, "point": point, "timeout": SOON}
        ended = outcomes("run_watched", 2, folder, **more, **ARGUMENTS)
        assert ended[rank] == {"killed": 9}, points[point]
        told_of_it(ended[1 - rank], rank, points[point], whole[1 - rank])
        resumed = together("run", 2, folder, **ARGUMENTS)
        if rank == 0:
            assert {str(each["resumed"]) for each in resumed} <= newest(points[:point])
        for before, after in zip(whole, resumed, strict=True):
            assert before["losses"][16 - len(after["losses"]) :] == after["losses"]
            for what in ("step", "values", "own", "generators", "metrics"):
                assert before[what] == after[what], (what, points[point])
        assert (folder / "stats.jsonl").read_text() == whole[0]["stats"]
    print(f"process {rank}: {number + 1} of {len(points)} points")


def told_of_it(
    survivor: dict[str, Any], rank: int, point: list[str], whole: dict[str, Any]
) -> None:
    """Check that the process that was not killed ended, and said which one did not answer.

    In the middle of a step it is gloo that says so.  Past the last thing that they did together it
    has ended as it would have.
    """
    if "returned" in survivor:
        assert survivor["returned"]["values"] == whole["values"], point
        return
    text = survivor["text"]
    assert f"process {rank} of 2 did not answer" in text or "onnection" in text, (text, point)
