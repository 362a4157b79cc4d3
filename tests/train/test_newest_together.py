"""Several processes, here threads, find the newest sound checkpoint, each reading its share."""

from pathlib import Path

import numpy as np
import pytest

from warmstart.errors import CheckpointError, ProcessError, ResumeError
from warmstart.formats.tf_bundle.reader import BundleSource
from warmstart.processes import Processes
from warmstart.testing.processes import run_together
from warmstart.testing.toy import ToyModel
from warmstart.train.data import Batches
from warmstart.train.newest import checkpoint_to_resume
from warmstart.train.saver import ModelSaver
from warmstart.train.trainer import Trainer


@pytest.fixture
def run(folder: Path) -> Path:
    """The folder of a run of three checkpoints."""
    data = Batches((np.ones((20, 3)), np.ones(20)), 4)
    Trainer(ToyModel()).train(data=data, max_epoch=3, callbacks=[ModelSaver()])
    return folder


def found(folder: Path, count: int = 3) -> list[Path | None]:
    return run_together(lambda processes: checkpoint_to_resume(folder, processes), count)


def test_process_0_has_it(run: Path) -> None:
    assert found(run) == [run / "model-15", None, None]


def test_each_tensor_is_read_once(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[int, str]] = []
    real = BundleSource.read

    def reading(self: BundleSource, name: str) -> np.ndarray:
        read.append((id(self), name))
        return real(self, name)

    def look(processes: Processes) -> None:
        checkpoint_to_resume(run, processes)

    with BundleSource(run / "model-15", verify=False) as source:
        names = set(source.specs)
    monkeypatch.setattr(BundleSource, "read", reading)
    run_together(look)
    plain = [name for _, name in read]
    assert set(plain) == names
    assert len(plain) <= len(names) + len([n for n in names if n.startswith("_RUN/")])


@pytest.mark.parametrize("byte", [0, -1])
def test_one_that_is_torn_is_passed_over_by_all(
    run: Path, byte: int, caplog: pytest.LogCaptureFixture
) -> None:
    data = run / "model-15.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[byte] ^= 1
    data.write_bytes(content)
    assert found(run) == [run / "model-10", None, None]
    assert "model-15: its checksum is" in caplog.text
    assert "the data are damaged" in caplog.text


def test_where_none_is_sound_all_raise(run: Path) -> None:
    for path in run.glob("*.index"):
        path.write_bytes(b"")
    first, *others = found(run)
    assert isinstance(first, ResumeError)
    assert [e for e in others if e is not None] == []


def test_a_folder_that_cannot_be_looked_into(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise CheckpointError("the folder is gone")

    monkeypatch.setattr("warmstart.train.newest.candidates", refuse)
    first, *others = found(run)
    assert str(first) == "the folder is gone"
    assert [(type(e), str(e)) for e in others] == [
        (ProcessError, "process 0 of 3 failed: the folder is gone")
    ] * 2
