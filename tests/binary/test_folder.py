"""Folders that appear whole or not at all."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from warmstart.binary import folder as folders
from warmstart.binary.atomic import TEMPORARY, sweep
from warmstart.binary.folder import ASIDE, refuse_strangers, replacing_folder, standing
from warmstart.errors import SaveError


def write(path: Path, content: str) -> None:
    with replacing_folder(path) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "file").write_text(content)


def content(path: Path) -> str:
    return (path / "sub" / "file").read_text()


@pytest.fixture
def at_once() -> None:
    """Exchange as this system does."""


@pytest.fixture
def in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exchange as where the system cannot do it at once."""
    monkeypatch.setattr(folders, "exchange_at_once", lambda a, b: False)


both_ways = pytest.mark.parametrize("way", ["at_once", "in_steps"])


def test_a_new_folder(tmp_path: Path) -> None:
    write(tmp_path / "new", "content")
    assert content(tmp_path / "new") == "content"
    assert os.listdir(tmp_path) == ["new"]


@both_ways
def test_a_folder_is_replaced(way: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(way)
    write(tmp_path / "folder", "old")
    (tmp_path / "folder" / "of the old one").touch()
    write(tmp_path / "folder", "new")
    assert content(tmp_path / "folder") == "new"
    assert os.listdir(tmp_path / "folder") == ["sub"]
    assert os.listdir(tmp_path) == ["folder"]


def test_this_system_exchanges_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    renames: list[object] = []
    monkeypatch.setattr(folders.os, "rename", lambda *names: renames.append(names))
    (tmp_path / "folder").mkdir()
    write(tmp_path / "folder", "new")
    assert (content(tmp_path / "folder"), renames) == ("new", [])


def test_a_system_without_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "c_function", lambda name, *arguments: None)
    write(tmp_path / "folder", "old")
    write(tmp_path / "folder", "new")
    assert content(tmp_path / "folder") == "new"


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EINVAL])
def test_a_file_system_that_cannot_exchange(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "c_function", lambda name, *arguments: lambda *values: -1)
    monkeypatch.setattr(folders.ctypes, "get_errno", lambda: code)
    write(tmp_path / "folder", "old")
    write(tmp_path / "folder", "new")
    assert content(tmp_path / "folder") == "new"


def test_a_failure_keeps_the_old_folder(tmp_path: Path) -> None:
    write(tmp_path / "folder", "old")

    def fail_on_the_way() -> None:
        with replacing_folder(tmp_path / "folder") as folder:
            (folder / "file").write_text("new")
            raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        fail_on_the_way()
    assert content(tmp_path / "folder") == "old"
    assert os.listdir(tmp_path) == ["folder"]


def test_a_link_keeps_pointing(tmp_path: Path) -> None:
    write(tmp_path / "folder", "old")
    (tmp_path / "link").symlink_to("folder")
    write(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "folder") == "new"


def test_a_folder_in_one_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match="was not written: No such file or directory; what was th"):
        write(tmp_path / "absent" / "folder", "")


def test_a_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("minutes")
    with pytest.raises(SaveError, match="file was not written: it is no folder, and stays"):
        write(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "minutes"


def test_an_exchange_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "c_function", lambda name, *arguments: lambda *values: -1)
    monkeypatch.setattr(folders.ctypes, "get_errno", lambda: errno.EACCES)
    write(tmp_path / "folder", "old")
    with pytest.raises(SaveError, match="folder was not written: Permission denied; what was the"):
        write(tmp_path / "folder", "new")
    assert content(tmp_path / "folder") == "old"
    assert os.listdir(tmp_path) == ["folder"]


def failing(real: Callable[..., None], fails: Callable[..., bool]) -> Callable[..., None]:
    """Return *real*, but raising where *fails* says so."""

    def do(*arguments: Path) -> None:
        if fails(*arguments):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(*arguments)

    return do


@pytest.mark.usefixtures("in_steps")
def test_a_step_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folder"
    write(path, "old")
    second = failing(os.rename, lambda a, b: a.name.endswith(TEMPORARY))
    monkeypatch.setattr(folders.os, "rename", second)
    with pytest.raises(SaveError, match="folder was not written: Input/output error; what was the"):
        write(path, "new")
    assert (content(path), os.listdir(tmp_path)) == ("old", ["folder"])


@both_ways
@pytest.mark.parametrize("before", [["old"], []])
def test_a_parent_that_cannot_be_synced(
    before: list[str],
    way: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request.getfixturevalue(way)
    for text in before:
        write(tmp_path / "folder", text)
    sync = failing(folders.sync, lambda place: place == tmp_path)
    monkeypatch.setattr(folders, "sync", sync)
    with pytest.raises(SaveError, match="folder was not written: Input/output error; what was the"):
        write(tmp_path / "folder", "new")
    assert [content(tmp_path / name) for name in os.listdir(tmp_path)] == before


def test_an_old_folder_that_cannot_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "folder", "old")
    removal = failing(folders.remove_replaced, lambda place: True)
    monkeypatch.setattr(folders, "remove_replaced", removal)
    with pytest.raises(
        SaveError,
        match=r"was written, but the folder that it replaced could not be removed: Input/output "
        rf"error; what is left of it is .*/\.folder\..*{TEMPORARY}",
    ):
        write(tmp_path / "folder", "new")
    assert content(tmp_path / "folder") == "new"
    sweep(tmp_path)
    assert os.listdir(tmp_path) == ["folder"]


class TestStanding:
    """What is found where the steps were cut short."""

    def test_a_folder_that_is_there(self, tmp_path: Path) -> None:
        write(tmp_path / "folder", "old")
        assert standing(tmp_path / "folder") == tmp_path / "folder"

    @pytest.mark.parametrize("name", ["folder", "a[b]*?"])
    def test_after_the_first_step(self, name: str, tmp_path: Path) -> None:
        (tmp_path / f".{name}.7-ab{ASIDE}").mkdir()
        (tmp_path / f".{name}.7-ab{TEMPORARY}").mkdir()
        assert standing(tmp_path / name) == tmp_path / f".{name}.7-ab{ASIDE}"
        assert standing(tmp_path / "other") == tmp_path / "other"

    def test_a_folder_that_was_replaced_and_then_removed(self, tmp_path: Path) -> None:
        (tmp_path / f".folder.7-ab{ASIDE}").mkdir()
        assert standing(tmp_path / "folder") == tmp_path / "folder"

    def test_nothing(self, tmp_path: Path) -> None:
        assert standing(tmp_path / "absent" / "folder") == tmp_path / "absent" / "folder"


class TestStrangers:
    """A folder that holds more than a checkpoint is not replaced."""

    def test_they_are_named(self, tmp_path: Path) -> None:
        for name in ("ours", "notes.txt", *"abcde"):
            (tmp_path / name).touch()
        with pytest.raises(
            SaveError,
            match="6 of the names in that folder are not of a checkpoint, and would be lost: "
            r"'a', 'b', 'c', 'd', 'e', \.\.\.; move them, or save under another name",
        ):
            refuse_strangers(tmp_path, lambda name: name == "ours")

    def test_only_ours(self, tmp_path: Path) -> None:
        (tmp_path / "ours").touch()
        refuse_strangers(tmp_path, lambda name: name == "ours")
        refuse_strangers(tmp_path / "absent", lambda name: False)
