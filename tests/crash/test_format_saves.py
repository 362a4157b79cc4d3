"""Saves of every format, stopped at every point: the old checkpoint is found, or the new."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from warmstart import formats
from warmstart.binary import stream
from warmstart.binary.atomic import TEMPORARY
from warmstart.errors import CheckpointError, SaveError
from warmstart.formats.tf_bundle import writer
from warmstart.source import DictSource
from warmstart.testing.crashes import Fault, Point, Trial, copied, record, trials, undurable

NAMES = {"safetensors": "m.safetensors", "npz": "m.npz", "torch": "m.pt", "tf-bundle": "m"}
OLD = DictSource({"w": np.arange(3000.0), "b": np.zeros(3), "empty": np.zeros((0, 2))})
NEW = DictSource(
    {"w": -np.arange(4000.0), "b": np.ones(3), "n": np.array(1), "empty": np.zeros((0, 2))},
    metadata={"run": "{}"},
)


def save(name: str, folder: Path) -> None:
    formats.save_source(NEW, folder / name)


def find(name: str, folder: Path) -> str:
    """Return which of the two checkpoints is complete in *folder*, "none" where neither is."""
    try:
        with formats.open_source(folder / name) as source:
            found = source.read_all()
    except CheckpointError:
        return "none"
    sames = [n for n, s in {"old": OLD, "new": NEW}.items() if same(found, s.read_all())]
    return " and ".join(sames) or f"a mix: {found}"


def same(found: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    return found.keys() == expected.keys() and all(
        np.array_equal(found[name], expected[name]) for name in expected
    )


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return NAMES[request.param]


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """Return a folder without a checkpoint."""
    folder = tmp_path / "fresh"
    folder.mkdir()
    return folder


@pytest.fixture
def used(name: str, tmp_path: Path) -> Path:
    """Return a folder with a checkpoint that will be overwritten."""
    folder = tmp_path / "used"
    folder.mkdir()
    formats.save_source(OLD, folder / name)
    return folder


@pytest.fixture
def many_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the stream write these small tensors in many pieces, as it does large ones."""
    monkeypatch.setattr(stream, "LARGE", 1000)
    monkeypatch.setattr(stream, "WRITEBACK", 5000)


@pytest.fixture(params=["none", "old"])
def before(request: pytest.FixtureRequest) -> str:
    """Return what is found before the save."""
    return str(request.param)


@pytest.fixture
def template(before: str, fresh: Path, used: Path) -> Path:
    """Return the folder that the save finds."""
    return {"none": fresh, "old": used}[before]


def tried(template: Path, name: str, fault: Fault) -> list[Trial]:
    """Return a trial for each point of the save of *name* over *template*."""
    scratch = template.with_name("scratch")
    return list(trials(template, lambda f: save(name, f), lambda f: find(name, f), fault, scratch))


def points_of(template: Path, name: str) -> list[Point]:
    folder = copied(template, template.with_name("whole"))
    return record(lambda: save(name, folder))


def commit(points: list[Point]) -> int:
    """Return the number of the last rename: from there on the new checkpoint is found."""
    return max(point.index for point in points if point.call == "replace")


def expected(before: str, points: list[Point], fault: Fault) -> list[str]:
    """Return what must be found after each trial of *fault*."""
    last = commit(points)
    return [before if p.index <= last else "new" for p in points if p.allows(fault)]


CALLS = ["open", "fallocate", "writev", "fsync", "replace", "fsync"]
INDEX_CALLS = ["open", "write", "fsync", "replace", "fsync"]


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("m.safetensors", CALLS),
        ("m.npz", CALLS),
        ("m.pt", CALLS),
        ("m", [*CALLS, *INDEX_CALLS, "unlink"]),
    ],
)
def test_the_points_of_a_save(name: str, calls: list[str], used: Path) -> None:
    assert [p.call for p in points_of(used, name)] == calls


@pytest.mark.usefixtures("many_writes")
def test_no_write_is_missed(name: str, fresh: Path) -> None:
    points = points_of(fresh, name)
    files = list(fresh.with_name("whole").iterdir())
    assert sum(p.nbytes for p in points) == sum(file.stat().st_size for file in files)
    assert len([p for p in points if p.nbytes]) > 6


def test_a_power_cut_undoes_nothing(name: str, used: Path) -> None:
    assert undurable(points_of(used, name)) == []


@pytest.mark.usefixtures("many_writes")
@pytest.mark.parametrize("fault", [Fault.KILLED, Fault.TORN])
def test_a_kill_at_every_point(fault: Fault, before: str, name: str, template: Path) -> None:
    found = [trial.found for trial in tried(template, name, fault)]
    assert found == expected(before, points_of(template, name), fault)


@pytest.mark.usefixtures("many_writes")
def test_the_next_save_after_a_kill(name: str, used: Path) -> None:
    def found_after_another_save(folder: Path) -> str:
        save(name, folder)
        return find(name, folder)

    scratch = used.with_name("scratch")
    again = trials(used, lambda f: save(name, f), found_after_another_save, Fault.KILLED, scratch)
    assert {trial.found for trial in again} == {"new"}


@pytest.mark.usefixtures("many_writes")
def test_a_full_disk_at_every_point(before: str, name: str, template: Path) -> None:
    points = points_of(template, name)
    done = tried(template, name, Fault.FULL)
    assert [trial.found for trial in done] == expected(before, points, Fault.FULL)
    assert all(isinstance(trial.error, SaveError) for trial in done)
    assert all("No space left on device" in str(trial.error) for trial in done)
    assert {trial.files for trial in done if trial.found == before} == {files_of(template)}
    assert not any(TEMPORARY in file for trial in done for file in trial.files)


def test_a_folder_that_cannot_be_synced(used: Path, name: str) -> None:
    """The new checkpoint is there, and the error does not say otherwise."""
    last = tried(used, name, Fault.FULL)[-1]
    assert (last.point.call, last.found) == ("fsync", "new")
    assert "was written, but its folder could not be synced: No space left" in str(last.error)
    assert "a power cut may bring back what was there before" in str(last.error)


def files_of(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in folder.iterdir()))


@pytest.mark.usefixtures("many_writes")
def test_writes_that_are_taken_by_half(name: str, used: Path) -> None:
    done = tried(used, name, Fault.SHORT)
    assert [(trial.found, trial.error) for trial in done] == [("new", None)] * len(done)
    assert len(done) > 6


@contextmanager
def file_size_limit(nbytes: int) -> Iterator[None]:
    """Let the system itself refuse what goes beyond *nbytes* of a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("nbytes", [0, 1, 100, 5000, 30_000])
def test_a_file_that_may_not_grow(nbytes: int, name: str, used: Path) -> None:
    before = files_of(used)
    with file_size_limit(nbytes), pytest.raises(SaveError, match="File too large"):
        save(name, used)
    assert (find(name, used), files_of(used)) == ("old", before)


#: Fills a file system of 64 KiB that only this process sees, and saves there.
ON_A_FULL_DISK = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_format_saves import find, formats, OLD, save, SaveError
folder = Path(sys.argv[2])
for name in ("m.safetensors", "m.npz", "m.pt", "m"):
    formats.save_source(OLD, folder / name)
    (folder / "other").write_bytes(bytes(20_000))
    try:
        save(name, folder)
    except SaveError as error:
        print(find(name, folder), "No space left on device" in str(error))
    [path.unlink() for path in folder.iterdir()]
"""
NEW_DISK = 'mount -t tmpfs -o size=64k none "$0" && exec "$@"'
UNSHARE = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", NEW_DISK]


def can_mount(folder: str = "/tmp") -> bool:
    """Return whether this user may have a file system of his own, as most may on Linux."""
    try:
        return (
            subprocess.run([*UNSHARE, folder, "true"], capture_output=True, check=False).returncode
            == 0
        )
    except OSError:
        return False


@pytest.mark.skipif(not can_mount(), reason="no user namespace to mount a small disk in")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    script = [sys.executable, "-c", ON_A_FULL_DISK, str(Path(__file__).parent), str(tmp_path)]
    done = subprocess.run(
        [*UNSHARE, str(tmp_path), *script], capture_output=True, text=True, check=False
    )
    assert (done.stdout.splitlines(), done.stderr) == (["old True"] * 4, "")


class Slow(DictSource):
    """A source that says when it is read, and takes its time."""

    def __init__(self, said: int) -> None:
        super().__init__({"w": np.zeros(5000)})
        self._said = said

    def read(self, name: str) -> np.ndarray:
        os.write(self._said, b"1")
        time.sleep(0.3)
        return super().read(name)


def test_a_bundle_does_not_mix_with_that_of_a_process_killed_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, said = os.pipe()
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(writer, "commit", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        formats.save_source(Slow(said), tmp_path / "m")
    os.read(heard, 1)
    formats.save_source(NEW, tmp_path / "m")
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert find("m", tmp_path) == "new"
