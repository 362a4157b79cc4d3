"""Files that appear whole or not at all."""

import os
from pathlib import Path

import pytest

from warmstart.binary import atomic
from warmstart.binary.atomic import TEMPORARY, replacing, sweep, write_fully, write_whole
from warmstart.errors import SaveError


def test_a_new_file(tmp_path: Path) -> None:
    write_whole(tmp_path / "new", b"content")
    assert (tmp_path / "new").read_bytes() == b"content"
    assert os.listdir(tmp_path) == ["new"]


def test_a_failure_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail_on_the_way() -> None:
        with replacing(path) as file:
            write_fully(file, b"new")
            raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        fail_on_the_way()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_keeps_pointing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to("file")
    write_whole(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_link_that_is_itself_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"of another checkpoint")
    (tmp_path / "link").symlink_to("file")
    with replacing(tmp_path / "link", follow_link=False) as file:
        write_fully(file, b"new")
    assert (tmp_path / "link").read_bytes() == b"new"
    assert (tmp_path / "file").read_bytes() == b"of another checkpoint"


def test_the_other_name_of_a_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"of another checkpoint")
    os.link(tmp_path / "file", tmp_path / "name")
    write_whole(tmp_path / "name", b"new")
    assert (tmp_path / "file").read_bytes() == b"of another checkpoint"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match="was not written: No such file or directory; what was th"):
        write_whole(tmp_path / "absent" / "file", b"")


def test_a_pipe_is_kept(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SaveError, match="pipe was not written: it is a folder, a pipe or a devi"):
        write_whole(tmp_path / "pipe", b"content")
    assert (tmp_path / "pipe").is_fifo()


def test_a_folder_that_cannot_be_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(atomic, "sync", fail)
    with pytest.raises(SaveError, match="was written, but its folder could not be synced: Input"):
        write_whole(tmp_path / "file", b"content")
    assert (tmp_path / "file").read_bytes() == b"content"


def test_what_a_kill_left_is_swept(tmp_path: Path) -> None:
    for name in (f".m.index.1-ab{TEMPORARY}", f"kept{TEMPORARY}", "m.index"):
        (tmp_path / name).write_bytes(b"")
    sweep(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [f"kept{TEMPORARY}", "m.index"]
