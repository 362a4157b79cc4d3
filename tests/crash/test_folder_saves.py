"""Saves of folders, stopped at every point: the old checkpoint is found, or the new."""

from pathlib import Path

import pytest

from warmstart import formats
from warmstart.binary import folder as folders
from warmstart.binary import stream
from warmstart.binary.atomic import TEMPORARY, sweep
from warmstart.errors import CheckpointError
from warmstart.source import DictSource
from warmstart.testing.crashes import EXCHANGE, Fault, Trial, copied, record, trials, undurable

OLD = DictSource({"w": [1.0] * 3000})
NEW = DictSource({"w": [2.0] * 4000, "b": [3.0]}, metadata={"run": "{}"})


def save(folder: Path) -> None:
    formats.save_source(NEW, folder / "m.dcp")


def find(folder: Path) -> str:
    try:
        with formats.open_source(folder / "m.dcp") as source:
            found = {name: array.tolist() for name, array in source.read_all().items()}
    except CheckpointError:
        return "none"
    for name, source in {"old": OLD, "new": NEW}.items():
        if found == {n: a.tolist() for n, a in source.read_all().items()}:
            return name
    return f"a mix: {found}"


@pytest.fixture(params=["none", "old"])
def before(request: pytest.FixtureRequest) -> str:
    """Return what is found before the save."""
    return str(request.param)


@pytest.fixture
def template(before: str, tmp_path: Path) -> Path:
    folder = tmp_path / "template"
    folder.mkdir()
    for source in [OLD] * (before == "old"):
        formats.save_source(source, folder / "m.dcp")
    return folder


@pytest.fixture(params=["at once", "in steps"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Exchange the folders as this system does, and as one that cannot."""
    monkeypatch.setattr(stream, "LARGE", 1000)
    monkeypatch.setattr(stream, "WRITEBACK", 5000)
    cannot = {"in steps": lambda a, b: False}
    one = cannot.get(request.param, folders.exchange_at_once)
    monkeypatch.setattr(folders, "exchange_at_once", one)
    return str(request.param)


def tried(template: Path, fault: Fault) -> list[Trial]:
    return list(trials(template, save, find, fault, template.with_name("scratch")))


def commit(done: list[Trial]) -> int:
    """Return how many of the trials come before the one after which the new one is found."""
    return [trial.found for trial in done].index("new")


@pytest.mark.parametrize("fault", [Fault.KILLED, Fault.TORN])
def test_a_kill_at_every_point(fault: Fault, before: str, template: Path) -> None:
    found = [trial.found for trial in tried(template, fault)]
    last = len(found) - found[::-1].index(before)
    assert set(found[:last]) == {before}
    assert set(found[last:]) <= {"new"}


def test_the_new_one_is_found_from_the_exchange_on(before: str, template: Path) -> None:
    done = tried(template, Fault.KILLED)
    changes = [t.point.call for t in done[: commit(done)] if t.point.call in ("rename", EXCHANGE)]
    assert changes


def test_a_power_cut_undoes_nothing(template: Path) -> None:
    folder = copied(template, template.with_name("whole"))
    assert undurable(record(lambda: save(folder))) == []


def test_a_full_disk_at_every_point(before: str, template: Path) -> None:
    done = tried(template, Fault.FULL)
    assert {trial.found for trial in done} == {before}
    assert all("No space left on device" in str(trial.error) for trial in done)
    assert not any(TEMPORARY in file for trial in done for file in trial.files)


def test_the_next_save_and_a_sweep_leave_nothing_of_a_kill(template: Path) -> None:
    def found_after_another_save(folder: Path) -> tuple[str, list[str]]:
        save(folder)
        sweep(folder)
        left = sorted(path.name for path in folder.iterdir())
        return find(folder), [name for name in left if not name.endswith(folders.ASIDE)]

    scratch = template.with_name("scratch")
    done = trials(template, save, found_after_another_save, Fault.KILLED, scratch)
    assert {str(trial.found) for trial in done} == {"('new', ['m.dcp'])"}
