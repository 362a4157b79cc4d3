"""What a folder shows from outside: when it changes, and that a save was cut short."""

import os
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from warmstart.binary.atomic import TEMPORARY
from warmstart.files.variables import save_vars
from warmstart.formats.tf_bundle.state import write_state
from warmstart.proving.kills import Kill, Pace, aims, pace_of
from warmstart.proving.watching import Watch, cut_short, save_lengths, seen_in


def whole(folder: Path) -> Path:
    """Fill *folder* with two checkpoints, and return it."""
    for step in (1, 2):
        save_vars({"w": np.ones(3)}, folder / f"model-{step}")
    write_state(folder, "model-2", ["model-1", "model-2"])
    return folder


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    """The watch on a folder with two checkpoints that has been there all the while."""
    watch = Watch(tmp_path)
    whole(tmp_path)
    return watch


def test_a_whole_folder_was_not_cut_short(watch: Watch) -> None:
    assert cut_short(watch) == ""


def test_a_temporary_file_is_the_sign_of_a_save(watch: Watch) -> None:
    (watch.folder / "below").mkdir()
    (watch.folder / f"below/.model-3.index.1-a{TEMPORARY}").touch()
    assert cut_short(watch) == f".model-3.index.1-a{TEMPORARY}"
    assert cut_short(Watch(watch.folder)) == "", "what an earlier kill left is no sign"


def test_so_are_data_without_an_index(watch: Watch) -> None:
    save_vars({"w": np.ones(3)}, watch.folder / "model-3")
    (watch.folder / "model-3.index").unlink()
    assert cut_short(watch) == "model-3 is torn"
    assert cut_short(Watch(watch.folder)) == ""


def test_so_is_a_checkpoint_that_is_not_pointed_to(watch: Watch) -> None:
    write_state(watch.folder, "model-1", ["model-1"])
    assert cut_short(watch) == "model-2 is whole, and `checkpoint` does not point to it yet"


def test_a_folder_that_cannot_be_read_shows_nothing(watch: Watch) -> None:
    (watch.folder / "checkpoint").unlink()
    (watch.folder / "checkpoint").write_bytes(b"\xff")
    assert cut_short(watch) == ""


def test_changes_are_seen(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    assert not watch.look(0.5)
    (tmp_path / "a").mkdir()
    assert watch.look(1.0)
    (tmp_path / "a/b").write_text("b")
    assert watch.look(2.0)
    (tmp_path / "a/b").unlink()
    assert watch.look(3.0)
    assert not watch.look(4.0)
    assert watch.times == [1.0, 2.0, 3.0]


def test_saves_are_told_apart_by_gaps() -> None:
    assert save_lengths([]) == []
    assert save_lengths([1.0]) == [0.0]
    assert save_lengths([1.0, 1.04, 1.08, 3.0]) == [0.08, 0.0]


def test_files_that_are_there_for_a_moment_are_remembered(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    for name in ("new.tmp.npz", "old.npz"):
        np.savez(tmp_path / name, w=1)
    watch.look(1.0)
    (tmp_path / "new.tmp.npz").rename(tmp_path / "last.npz")
    watch.look(1.01)
    (tmp_path / "old.npz").unlink()
    watch.look(2.0)
    assert watch.passing == {"new.tmp.npz"}
    assert cut_short(watch, watch.passing) == ""
    (tmp_path / "new.tmp.npz").touch()
    assert cut_short(watch, watch.passing) == "new.tmp.npz"
    watch.look(3.0)
    assert watch.passing == frozenset(), "one that stays is none"


def test_a_file_that_goes_while_it_is_looked_at_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone:
        path = "gone"

        def is_dir(self, *, follow_symlinks: bool) -> bool:
            return False

        def stat(self, *, follow_symlinks: bool) -> None:
            raise FileNotFoundError

    (tmp_path / "a").touch()
    with os.scandir(tmp_path) as entries:
        there = list(entries)
    monkeypatch.setattr(os, "scandir", lambda path: nullcontext([Gone(), *there]))
    assert list(seen_in(tmp_path)) == [str(tmp_path / "a")]


def test_a_pace_begins_with_the_first_file(tmp_path: Path) -> None:
    watch = Watch(tmp_path, [1.0, 1.01, 2.0, 2.03, 3.0, 3.02])
    assert pace_of(watch, 4.0) == Pace(1.0, 4.0, 0.02)
    assert pace_of(Watch(tmp_path), 4.0) == Pace(0.0, 4.0, 0.0)
    assert Pace(1.0, 4.0, 0.02).at_twice_the_speed() == Pace(0.5, 2.0, 0.01)


def test_aims_are_drawn_by_the_seed_for_steps_and_saves_in_turn() -> None:
    pace = Pace(1.0, 5.0, 0.02)
    first = list(aims(pace, 4, 7))
    assert first == list(aims(pace, 4, 7)) != list(aims(pace, 4, 8))
    assert [aim.in_save for aim in first] == [False, True, False, True]
    assert all(0 <= aim.seconds <= 1.2 and 0 <= aim.into_save <= 0.02 for aim in first)


def test_a_kill_says_where_it_hit() -> None:
    assert str(Kill(1.234, "")) == "after 1.23 s, in a step"
    assert str(Kill(1.0, "model-3 is torn")) == "after 1.00 s, in a save (model-3 is torn)"
