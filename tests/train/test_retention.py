import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmstart.formats.tf_bundle.state import write_state
from warmstart.train.retention import (
    Best,
    Keep,
    Kept,
    Saved,
    decide,
    read_kept,
    values_in,
    write_kept,
)

HOUR = 3600.0


def run(items: list[Saved], keep: Keep) -> tuple[list[str], list[str]]:
    """Return (still there, still in the list) after saves of *items*, each at its time."""
    kept, deleted = Kept((), 0.0), set[str]()
    for each in items:
        kept, doomed = decide(kept.with_latest(each), keep)
        deleted.update(doomed)
    there = [each.name for each in items if each.name not in deleted]
    return there, [each.name for each in kept.saved]


def saved(*steps: int, hours: float = 0.0) -> list[Saved]:
    """Return a checkpoint at each of *steps*, so many *hours* after the one before."""
    return [Saved(f"model-{step}", hours * HOUR * n) for n, step in enumerate(steps, 1)]


def rated(*values: float) -> list[Saved]:
    """Return a checkpoint with each of *values*, none for NaN, at steps 1, 2, 3..."""
    keep = Keep(1, best=(Best("loss"),))
    return [Saved(f"model-{n}", n, keep.values({"loss": v})) for n, v in enumerate(values, 1)]


def numbers(names: list[str]) -> list[int]:
    return [int(name.removeprefix("model-")) for name in names]


def test_the_last_few_are_kept() -> None:
    assert numbers(run(saved(1, 2, 3, 4), Keep(2))[0]) == [3, 4]


def test_one_every_so_often_is_kept_for_good() -> None:
    there, listed = run(saved(*range(1, 13), hours=0.25), Keep(1, hours=1.0))
    assert numbers(there) == [4, 8, 12]
    assert numbers(listed) == [12]


@pytest.mark.parametrize(
    ("steps", "there"),
    [(range(5, 55, 5), [20, 40, 50]), ([30, 60, 90, 120], [30, 60, 90, 120]), ([7, 9], [9])],
    ids=str,
)
def test_one_every_so_many_steps_is_kept_for_good(steps: list[int], there: list[int]) -> None:
    assert numbers(run(saved(*steps), Keep(1, steps=20))[0]) == there


@pytest.mark.parametrize(
    ("best", "there"),
    [
        (Best("loss"), [4, 7]),
        (Best("loss", k=3), [2, 4, 6, 7]),
        (Best("loss", k=2, mode="max"), [1, 3, 7]),
        (Best("accuracy"), [7]),
    ],
    ids=repr,
)
def test_the_best_are_kept_as_long_as_they_are(best: Best, there: list[int]) -> None:
    items = rated(9, 2, 5, 1, math.nan, 2, 4)
    kept = Keep(1, best=(best,))
    assert numbers(run(items, kept)[0]) == there
    assert run(items, kept)[0] == run(items, kept)[1]


def test_the_best_by_several_metrics() -> None:
    values = [(1, 5), (2, 9), (3, 1), (4, 4)]
    items = [Saved(f"model-{n}", n, {"a": a, "b": b}) for n, (a, b) in enumerate(values)]
    best = (Best("a"), Best("b", mode="max"))
    assert numbers(run(items, Keep(1, best=best))[0]) == [0, 1, 3]


def test_one_of_the_best_that_is_kept_for_good_stays_when_it_is_beaten() -> None:
    keep = Keep(1, steps=2, best=(Best("loss"),))
    assert numbers(run(rated(5, 4, 3, 2), keep)[0]) == [2, 4]


def test_all_are_kept_when_there_is_no_limit() -> None:
    kept = Kept(tuple(saved(1)), 0.0)
    assert decide(kept, Keep(None)) == (kept, [])


def test_a_name_saved_again_counts_once() -> None:
    kept = Kept((Saved("a", 1.0), Saved("b", 2.0)), 0.0).with_latest(Saved("a", 3.0))
    assert kept.saved == (Saved("b", 2.0), Saved("a", 3.0))


def test_a_clock_set_back_is_taken_at_its_word() -> None:
    kept = Kept((Saved("model-1", 9 * HOUR),), 8 * HOUR).with_latest(Saved("model-2", HOUR))
    assert kept == Kept((Saved("model-1", HOUR), Saved("model-2", HOUR)), HOUR)


def test_after_a_day_forwards_and_back_one_every_hour_is_kept_again() -> None:
    times = [0, 24, *range(1, 5)]
    items = [Saved(f"model-{n}", time * HOUR) for n, time in enumerate(times)]
    assert numbers(run(items, Keep(1, hours=1.0))[0]) == [1, 3, 4, 5]


def test_what_is_gone_on_from_is_the_latest() -> None:
    kept = Kept(tuple(saved(5, 10, 15)), 0.0)
    assert [each.step for each in kept.going_on_from("model-5").saved] == [10, 15, 5]
    assert kept.going_on_from("elsewhere") == kept


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "least"}, "mode is 'least'; expected 'min' or 'max'"),
        ({"k": 0}, "k is 0; expected 1 or more"),
    ],
)
def test_an_odd_best_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Best("loss", **arguments)


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.floats()), min_size=1),
    st.integers(1, 5),
    st.none() | st.floats(0.1, 100),
    st.none() | st.integers(1, 5),
    st.integers(1, 3),
)
def test_the_newest_and_the_best_are_never_deleted(
    rows: list[tuple[float, float]], last: int, hours: float | None, steps: int | None, k: int
) -> None:
    best = Best("loss", k=k)
    keep = Keep(last, hours, steps, (best,))
    items = [
        Saved(f"model-{n}", when, keep.values({"loss": value}))
        for n, (when, value) in enumerate(rows)
    ]
    there, listed = run(items, keep)
    assert set(listed) <= set(there)
    assert {each.name for each in items[-last:]} <= set(there)
    assert best.among(items) <= set(there)


FULL = Kept((Saved("model-1", 1.5, {"loss": 0.1}), Saved("model-2", 2.5)), 0.5, 1)


def test_what_is_kept_survives_in_the_file(tmp_path: Path) -> None:
    for each in FULL.saved:
        (tmp_path / f"{each.name}.index").touch()
    write_kept(tmp_path, FULL)
    assert read_kept(tmp_path, 9.0) == FULL


def test_what_is_gone_is_forgotten_and_no_time_is_later_than_now(tmp_path: Path) -> None:
    (tmp_path / "model-2.index").touch()
    write_kept(tmp_path, Kept((Saved("model-1", 1.0), Saved("model-2", 20.0)), 15.0))
    assert read_kept(tmp_path, 9.0) == Kept((Saved("model-2", 9.0),), 9.0)


def test_a_file_without_times_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "model-1.index").touch()
    write_state(tmp_path, "model-1", ["model-1"])
    assert read_kept(tmp_path, 9.0) == Kept((Saved("model-1", 9.0),), 9.0)


def test_what_goes_by_another_name_is_not_ours_to_delete(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    others = ["model.ckpt-20", "pretrained", "elsewhere/model-4"]
    for name in (*others, "model-5"):
        (tmp_path / f"{name}.index").touch()
    write_kept(tmp_path, Kept(tuple(Saved(name, 1.0) for name in (*others, "model-5")), 0.5))
    assert read_kept(tmp_path, 9.0).saved == (Saved("model-5", 1.0),)


@pytest.mark.parametrize(
    "note",
    ["{", "[]", '{"values": 1}', '{"values": {"a": {"b": []}}}', '{"preserved_step": 1e999}'],
)
def test_a_broken_note_forgets_the_metrics_only(
    note: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "model-1.index").touch()
    write_state(tmp_path, "model-1", ["model-1"], timestamps=[1.0], note=note)
    assert read_kept(tmp_path, 9.0) == Kept((Saved("model-1", 1.0),), 9.0)
    assert "how good the checkpoints so far were is not known any more" in caplog.text


@pytest.mark.parametrize("note", ["", "{", "[]", '{"loss": []}', "1"])
def test_a_broken_note_on_one_checkpoint_is_none(note: str) -> None:
    assert values_in(note) == {}


def test_a_note_on_one_checkpoint() -> None:
    assert values_in(json.dumps({"loss": 0.25})) == {"loss": 0.25}


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"model_checkpoint_path"])
def test_a_broken_file_lists_nothing(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "model-1.index").touch()
    (tmp_path / "checkpoint").write_bytes(content)
    assert read_kept(tmp_path, 9.0) == Kept((), 9.0)
    assert "checkpoints saved before now are not deleted any more: the file `check" in caplog.text


def test_a_file_that_cannot_be_read_lists_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "checkpoint").mkdir()
    assert read_kept(tmp_path, 9.0) == Kept((), 9.0)
    assert "are not deleted any more: " in caplog.text
    assert "checkpoint cannot be read: Is a directory" in caplog.text
