from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmstart.formats.tf_bundle.state import write_state
from warmstart.train.retention import (
    Kept,
    decide,
    delete_bundle,
    read_kept,
    sweep_halves,
    write_kept,
)

HOUR = 3600.0


def run(times: list[float], max_to_keep: int, hours: float | None) -> tuple[set[str], set[str]]:
    """Return (saved, still there) after saves at *times*, by number."""
    kept, deleted = Kept((), 0.0), set()
    for number, when in enumerate(times):
        kept, doomed = decide(kept.with_latest(str(number), when), max_to_keep, hours)
        deleted.update(doomed)
    everything = {str(number) for number in range(len(times))}
    return everything, everything - deleted


def test_the_last_few_are_kept() -> None:
    assert run([1, 2, 3, 4], 2, None)[1] == {"2", "3"}


def test_one_every_so_often_is_kept_for_good() -> None:
    times = [0.25 * HOUR * number for number in range(1, 13)]
    assert run(times, 1, 1.0)[1] == {"3", "7", "11"}


def test_all_are_kept_when_there_is_no_limit() -> None:
    kept = Kept((("model-1", 1.0),), 0.0)
    assert decide(kept, None, None) == (kept, [])


def test_a_name_saved_again_counts_once() -> None:
    kept = Kept((("a", 1.0), ("b", 2.0)), 0.0).with_latest("a", 3.0)
    assert kept.saved == (("b", 2.0), ("a", 3.0))


@given(st.lists(st.floats(0, 1e6), min_size=1), st.integers(1, 5), st.none() | st.floats(0.1, 100))
def test_the_newest_ones_are_never_deleted(
    times: list[float], max_to_keep: int, hours: float | None
) -> None:
    saved, there = run(sorted(times), max_to_keep, hours)
    newest = {str(number) for number in range(len(times))[-max_to_keep:]}
    assert newest <= there <= saved


def test_what_is_kept_survives_in_the_file(tmp_path: Path) -> None:
    kept = Kept((("model-1", 1.5), ("model-2", 2.5)), 0.5)
    for name, _ in kept.saved:
        (tmp_path / f"{name}.index").touch()
    write_kept(tmp_path, kept)
    assert read_kept(tmp_path, 9.0) == kept


def test_what_is_gone_is_forgotten_and_no_time_is_later_than_now(tmp_path: Path) -> None:
    (tmp_path / "model-2.index").touch()
    write_kept(tmp_path, Kept((("model-1", 1.0), ("model-2", 20.0)), 15.0))
    assert read_kept(tmp_path, 9.0) == Kept((("model-2", 9.0),), 9.0)


def test_a_file_without_times_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "model-1.index").touch()
    write_state(tmp_path, "model-1", ["model-1"])
    assert read_kept(tmp_path, 9.0) == Kept((("model-1", 9.0),), 9.0)


def test_what_goes_by_another_name_is_not_ours_to_delete(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    others = ["model.ckpt-20", "pretrained", "elsewhere/model-4"]
    for name in (*others, "model-5"):
        (tmp_path / f"{name}.index").touch()
    write_kept(tmp_path, Kept(tuple((name, 1.0) for name in (*others, "model-5")), 0.5))
    assert read_kept(tmp_path, 9.0).saved == (("model-5", 1.0),)


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"model_checkpoint_path"])
def test_a_broken_file_lists_nothing(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "model-1.index").touch()
    (tmp_path / "checkpoint").write_bytes(content)
    assert read_kept(tmp_path, 9.0) == Kept((), 9.0)
    assert "checkpoints saved before now are not deleted any more: the file `check" in caplog.text


def test_deleting_one_touches_no_other(tmp_path: Path) -> None:
    mine = ["model-100.index", "model-100.data-00000-of-00002", "model-100.data-00001-of-00002"]
    others = ["model-1000.index", "model-1000.data-00000-of-00001", "model-10.index", "model-100"]
    for name in (*mine, *others):
        (tmp_path / name).touch()
    delete_bundle(tmp_path / "model-100")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


@pytest.mark.parametrize("delete", [lambda f: delete_bundle(f / "model-3"), sweep_halves])
def test_a_folder_in_the_place_of_an_index_is_warned_about(
    delete: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "model-3.data-00000-of-00001"
    data.touch()
    (tmp_path / "model-3.index").mkdir()
    delete(tmp_path)
    (message,) = caplog.messages
    assert "model-3.index was to be deleted and cannot be: Is a directory" in message
    assert data.exists()
