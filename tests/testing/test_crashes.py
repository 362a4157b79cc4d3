"""The crash harness finds saves that are not safe."""

import os
from pathlib import Path

import pytest

from warmstart.testing.crashes import Fault, Watch, record, trials, undurable, watching

OLD, NEW = "old " * 10, "new " * 10


def careless(folder: Path) -> None:
    """Save as one should not: in place."""
    (folder / "file").write_text(NEW)


def hasty(folder: Path) -> None:
    """Save beside and rename, but sync nothing."""
    (folder / "file.new").write_text(NEW)
    (folder / "file.new").rename(folder / "file")


def careful(folder: Path) -> None:
    with (folder / "file.new").open("w") as file:
        file.write(NEW)
        file.flush()
        os.fsync(file.fileno())
    (folder / "file.new").replace(folder / "file")
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def find(folder: Path) -> str:
    return (folder / "file").read_text()


@pytest.fixture
def template(tmp_path: Path) -> Path:
    folder = tmp_path / "template"
    folder.mkdir()
    (folder / "file").write_text(OLD)
    return folder


def test_points_tell_call_and_bytes(template: Path) -> None:
    points = record(lambda: careful(template))
    assert [(p.index, p.call, Path(p.path).name, p.nbytes, Path(p.to).name) for p in points] == [
        (0, "open", "file.new", 0, ""),
        (1, "write", "file.new", 40, ""),
        (2, "fsync", "file.new", 0, ""),
        (3, "replace", "file.new", 0, "file"),
        (4, "fsync", "template", 0, ""),
    ]


def test_calls_of_os_are_seen(tmp_path: Path) -> None:
    def save() -> None:
        descriptor = os.open(tmp_path / "a", os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, b"12")
        os.writev(descriptor, [b"345", b"6"])
        os.pwrite(descriptor, b"1", 0)
        os.ftruncate(descriptor, 4)
        os.close(descriptor)
        os.unlink(tmp_path / "a")

    points = record(save)
    assert [(p.call, p.nbytes) for p in points] == [
        ("open", 0), ("write", 2), ("writev", 4), ("pwrite", 1), ("ftruncate", 0), ("unlink", 0),
    ]  # fmt: skip


@pytest.mark.parametrize("mode", ["wb", "ab", "xb", "r+b"])
@pytest.mark.parametrize("buffering", [-1, 0])
def test_files_of_every_mode_are_seen(mode: str, buffering: int, tmp_path: Path) -> None:
    path = tmp_path / mode
    {"r+b": path.touch}.get(mode, lambda: None)()

    def save() -> None:
        with path.open(mode, buffering) as file:
            file.write(b"12")
            file.flush()
            file.truncate(1)

    assert [p.call for p in record(save)] == ["open", "write", "ftruncate"]
    assert path.read_bytes() == b"1"


def test_a_save_in_place_is_found_out(template: Path, tmp_path: Path) -> None:
    killed = trials(template, careless, find, Fault.KILLED, tmp_path / "scratch")
    assert [trial.found for trial in killed] == [OLD, ""]
    torn = trials(template, careless, find, Fault.TORN, tmp_path / "scratch")
    assert [trial.found for trial in torn] == [NEW[:20]]


def test_a_save_that_keeps_the_old_file_is_found_good(template: Path, tmp_path: Path) -> None:
    killed = trials(template, careful, find, Fault.KILLED, tmp_path / "scratch")
    assert [trial.found for trial in killed] == [OLD, OLD, OLD, OLD, NEW]


def test_what_a_power_cut_undoes_is_found_out(template: Path) -> None:
    assert undurable(record(lambda: careful(template))) == []
    assert undurable(record(lambda: hasty(template))) == [
        f"{template}/file got its name before it was synced",
        f"the folder {template} was not synced",
    ]


def test_a_removal_before_the_commit_is_safe_is_found_out(template: Path) -> None:
    def save() -> None:
        hasty(template)
        (template / "other").touch()
        (template / "other").unlink()

    assert f"{template}/other was removed before {template}/file was safe" in undurable(
        record(save)
    )


def test_a_full_disk_raises_what_the_save_lets_through(template: Path, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left on device"):
        next(trials(template, careless, find, Fault.FULL, tmp_path / "scratch"))


def test_a_failing_disk_raises_at_a_removal_and_then_goes_on(template: Path) -> None:
    watch = Watch(Fault.FAILING, 0)
    with watching(watch):
        with pytest.raises(OSError, match="Input/output error"):
            (template / "file").unlink()
        (template / "file").unlink()


def test_a_disk_that_became_read_only_stays_so(template: Path) -> None:
    watch = Watch(Fault.READ_ONLY, 1)
    with watching(watch):
        (template / "other").touch()
        for _ in range(2):
            with pytest.raises(OSError, match="Read-only file system"):
                (template / "file").unlink()
    assert find(template) == OLD


def test_what_cannot_be_forked_is_cut_off_without_tidying_up(
    template: Path, tmp_path: Path
) -> None:
    def tidy(folder: Path) -> None:
        try:
            careful(folder)
        finally:
            (folder / "file.new").unlink(missing_ok=True)

    scratch = tmp_path / "scratch"
    cut = list(trials(template, tidy, find, Fault.CUT_OFF, scratch))
    assert [trial.found for trial in cut] == [OLD, OLD, OLD, OLD, NEW, NEW]
    assert [trial.files for trial in cut][1:4] == [("file", "file.new")] * 3
    every_third = trials(template, tidy, find, Fault.CUT_OFF, scratch, stride=3)
    assert [trial.point.index for trial in every_third] == [0, 3]


def test_half_a_write_is_gone_on_with(template: Path, tmp_path: Path) -> None:
    halved = trials(template, careful, find, Fault.SHORT, tmp_path / "scratch")
    assert [trial.found for trial in halved] == [NEW]


def test_a_save_that_is_not_the_same_twice(template: Path, tmp_path: Path) -> None:
    runs = iter([careless])

    def once(folder: Path) -> None:
        next(runs, lambda folder: None)(folder)

    with pytest.raises(RuntimeError, match="was not killed at its point; its exit status is 256"):
        next(trials(template, once, find, Fault.KILLED, tmp_path / "scratch"))
