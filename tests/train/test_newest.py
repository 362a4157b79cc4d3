"""Which checkpoint of a folder a run goes on from."""

import errno
import io
import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import warmstart as ws
from warmstart.binary.holder import this_process
from warmstart.binary.lock import NAME
from warmstart.errors import ResumeError
from warmstart.files.variables import save_vars
from warmstart.formats.tf_bundle.state import read_state, write_state
from warmstart.train import newest
from warmstart.train.newest import checkpoint_to_resume
from warmstart.train.saver import ModelSaver
from warmstart.train.trainer import Trainer

Train = Callable[..., Trainer]


def test_nothing_to_resume_from_begins_anew(folder: Path) -> None:
    assert checkpoint_to_resume(None) is None


def test_the_named_checkpoint_is_taken_even_if_a_newer_one_is_there(
    folder: Path, train: Train, caplog: pytest.LogCaptureFixture
) -> None:
    train()
    write_state(folder, "model-10", ["model-10"])
    assert checkpoint_to_resume(None) == folder / "model-10"
    assert caplog.text == ""


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def foldered(path: Path) -> None:
    path.unlink()
    path.mkdir()


def looped(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)


DAMAGES = [os.unlink, cut, flip, empty, foldered, looped, piped]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("file", ["model-15.index", "model-15.data-00000-of-00001"])
def test_a_torn_checkpoint_gives_way_to_the_newest_sound_one(
    folder: Path,
    train: Train,
    damage: Callable[[Path], None],
    file: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    train()
    damage(folder / file)
    assert checkpoint_to_resume(None) == folder / "model-10"
    assert "model-10, the newest sound one:" in caplog.text
    assert "model-15" in caplog.text


def test_without_a_pointer_the_newest_sound_one_is_taken(
    folder: Path, train: Train, caplog: pytest.LogCaptureFixture
) -> None:
    train()
    (folder / "checkpoint").unlink()
    assert checkpoint_to_resume(None) == folder / "model-15"
    assert "there is no file `checkpoint`" in caplog.text


POINTERS = [b"", b"\0" * 40, b'model_checkpoint_path: "model', b'model_checkpoint_path: "gone"']


@pytest.mark.parametrize("text", POINTERS)
def test_a_damaged_pointer_gives_way_to_the_newest_sound_one(
    folder: Path, train: Train, text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    train()
    (folder / "checkpoint").write_bytes(text)
    assert checkpoint_to_resume(None) == folder / "model-15"
    assert "the newest sound one:\n  checkpoint: " in caplog.text


def test_a_folder_without_a_sound_checkpoint_is_not_begun_anew(folder: Path, train: Train) -> None:
    train(max_epoch=1)
    cut(folder / "model-5.index")
    with pytest.raises(ResumeError, match=r"nor a model-STEP is sound in .*; to go on") as caught:
        checkpoint_to_resume(None)
    assert "model-5: " in str(caught.value)


def killed_while_saving(folder: Path, name: str, after: str, listed: list[str]) -> None:
    """Leave *folder* as a kill does that comes before `checkpoint` names the new *name*."""
    holder = replace(this_process(), saving=name, after=after, note='{"loss": 0.5}')
    (folder / NAME).write_text(json.dumps(asdict(holder)))
    write_state(folder, after, listed)


def test_what_was_saved_but_not_yet_named_is_not_lost(
    folder: Path, train: Train, caplog: pytest.LogCaptureFixture
) -> None:
    train()
    killed_while_saving(folder, "model-15", "model-10", ["model-5", "model-10"])
    assert checkpoint_to_resume(None) == folder / "model-15"
    assert caplog.text == ""
    train(resume_from=folder / "model-15", callbacks=[ModelSaver(keep_best=ws.Best("loss"))])
    state = read_state(folder)
    assert state is not None
    assert (state.latest, state.all_paths[-1]) == ("model-15", "model-15")
    assert json.loads(state.note)["values"] == {"model-15": {"loss": 0.5}}


def test_what_was_begun_and_not_saved_does_not_count(folder: Path, train: Train) -> None:
    train(max_epoch=2)
    killed_while_saving(folder, "model-15", "model-10", ["model-5", "model-10"])
    assert checkpoint_to_resume(None) == folder / "model-10"


def test_who_points_elsewhere_after_a_kill_is_obeyed(folder: Path, train: Train) -> None:
    train()
    killed_while_saving(folder, "model-15", "model-10", ["model-5", "model-10"])
    write_state(folder, "model-5", ["model-5", "model-10"])
    assert checkpoint_to_resume(None) == folder / "model-5"


def test_what_is_listed_comes_before_what_another_run_left(folder: Path, train: Train) -> None:
    train()
    cut(folder / "model-10.index")
    write_state(folder, "model-10", ["model-5", "model-10"])
    assert checkpoint_to_resume(None) == folder / "model-5"


@pytest.mark.parametrize("metadata", [{}, {"run": "{}"}, {"run": "["}], ids=str)
def test_a_bundle_that_is_no_run_is_passed_over(
    folder: Path, train: Train, metadata: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    train()
    save_vars(ws.DictSource({"w": np.ones(3)}, metadata=metadata), folder / "model-20")
    write_state(folder, "model-20", ["model-10", "model-15", "model-20"])
    assert checkpoint_to_resume(None) == folder / "model-15"
    assert "model-15, the newest sound one:\n  model-20: " in caplog.text


def test_variables_alone_are_better_than_nothing(folder: Path) -> None:
    save_vars({"w": np.ones(3)}, folder / "model-20")
    save_vars({"w": np.ones(3)}, folder / "model-30")
    (folder / "model-30.index").write_bytes(b"")
    assert checkpoint_to_resume(None) == folder / "model-20"


def test_what_the_disk_cannot_read_any_more_is_passed_over(
    folder: Path, train: Train, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(io.FileIO):
        def readinto(self, room: object) -> int:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def opened(path: Path, *args: object, **options: object) -> io.FileIO:
        return (Broken if path.name.startswith("model-15.data") else io.FileIO)(path)

    train()
    monkeypatch.setattr(newest, "open", opened, raising=False)
    assert checkpoint_to_resume(None) == folder / "model-10"
    assert "model-15.data-00000-of-00001 cannot be read: Input/output error" in caplog.text


@pytest.fixture(params=["model-15.index", "model-15.data-00000-of-00001", "checkpoint"])
def unreadable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a file that may not be read; root, who may be running this, may read all."""
    name = str(request.param)

    def refusing(real: Callable[..., Any]) -> Callable[..., Any]:
        def opened(path: Any, flags: Any = "r", *args: Any, **options: Any) -> Any:
            if not isinstance(path, int) and Path(path).name == name and flags in READING:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return real(path, flags, *args, **options)

        return opened

    monkeypatch.setattr(io, "open", refusing(io.open))
    monkeypatch.setattr(os, "open", refusing(os.open))
    monkeypatch.setattr(newest, "open", refusing(open), raising=False)
    return name


READING = ("rb", os.O_RDONLY, os.O_RDONLY | os.O_NONBLOCK)


def test_what_may_not_be_read_is_passed_over(
    folder: Path, train: Train, unreadable: str, caplog: pytest.LogCaptureFixture
) -> None:
    train()
    expected = "model-15" if unreadable == "checkpoint" else "model-10"
    assert checkpoint_to_resume(None) == folder / expected
    assert f"{unreadable} cannot be read: Permission denied" in caplog.text


def test_a_folder_that_cannot_be_looked_into_is_not_begun_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> list[str]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(newest.os, "listdir", refuse)
    with pytest.raises(ResumeError, match="cannot be looked into for checkpoints: Permission den"):
        checkpoint_to_resume(None)


def test_of_what_memory_cannot_hold_one_tensor_is_read_at_a_time(
    folder: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    train()
    monkeypatch.setattr(newest, "memory", lambda: 0)
    flip(folder / "model-15.data-00000-of-00001")
    assert checkpoint_to_resume(None) == folder / "model-10"


def test_a_linked_folder_and_a_linked_pointer(folder: Path, train: Train, tmp_path: Path) -> None:
    train()
    (folder / "checkpoint").rename(tmp_path / "elsewhere")
    (folder / "checkpoint").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to("log")
    found = checkpoint_to_resume(tmp_path / "link")
    assert found is not None
    assert found.parent.samefile(folder)
    assert found.name == "model-15"
