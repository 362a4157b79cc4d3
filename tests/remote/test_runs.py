"""Runs whose checkpoints are at a URL: saved, kept, found again after a kill, gone on from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

import warmstart as ws
from warmstart.binary import mirror
from warmstart.errors import SaveError
from warmstart.testing.toy import ROLES, ToyModel
from warmstart.train import logger

from .conftest import names

GENERATOR = np.random.default_rng(0)
INPUTS = GENERATOR.standard_normal((20, 3))
TARGETS = INPUTS @ np.array([1.0, -2.0, 0.5])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logger, "_folder", None)
    logger.set_logger_dir(tmp_path / "log")


def train(
    base: "str | Path", max_epoch: int, *, model: ToyModel | None = None, **options: Any
) -> np.ndarray:
    np.random.seed(0)
    model = model or ToyModel()
    saver = ws.ModelSaver(checkpoint_dir=base, max_to_keep=2, **options)
    ws.launch_train(
        ws.AutoResumeTrainConfig(
            model=model,
            data=ws.Batches((INPUTS, TARGETS), 4),
            max_epoch=max_epoch,
            callbacks=[saver],
        )
    )
    return model.session.arrays["w"]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_run_goes_on_from_a_url(
    asynchronous: bool, base: str, tmp_path: Path, forgotten: Callable[[], None]
) -> None:
    train(base, 2, asynchronous=asynchronous)
    forgotten()
    resumed = train(base, 4, asynchronous=asynchronous)
    logger.set_logger_dir(tmp_path / "other")
    assert np.array_equal(resumed, train(tmp_path / "local", 4))
    expected = {"checkpoint", "model-15.index", "model-20.index"}
    assert {name for name in names(base) if ".data-" not in name} == expected
    forgotten()
    for step in (15, 20):
        assert ws.verify(f"{base}/model-{step}").sound


def test_what_has_not_changed_is_copied_by_the_store(
    s3: str, monkeypatch: pytest.MonkeyPatch, forgotten: Callable[[], None]
) -> None:
    sent: list[tuple[str, int]] = []
    upload = mirror.upload

    def noted(file: Path, fs: Any, path: str, url: str) -> None:
        sent.append((file.name, 0 if mirror.hole_at(file) else file.stat().st_size))
        upload(file, fs, path, url)

    monkeypatch.setattr(mirror, "upload", noted)
    model = ToyModel()
    model.session.arrays["large"] = large = np.arange(100_000.0)
    monkeypatch.setitem(ROLES, "large", "model")
    train(s3, 3, asynchronous=True, model=model)
    later = [size for name, size in sent if name.startswith("model-15.data")]
    assert later
    assert sum(later) < 100_000 < max(size for _, size in sent)
    forgotten()
    assert np.array_equal(ws.open(f"{s3}/model-15").read("large"), large)


@pytest.mark.parametrize("stop", range(1, 4))
def test_a_save_that_breaks_off_leaves_the_last_one(
    stop: int, memory: str, monkeypatch: pytest.MonkeyPatch, forgotten: Callable[[], None]
) -> None:
    train(memory, 1)
    upload, done = mirror.upload, []

    def broken(file: Path, *args: Any) -> None:
        done.append(file)
        if len(done) >= stop:
            raise OSError("the network is gone")
        upload(file, *args)

    with monkeypatch.context() as patched:
        patched.setattr(mirror, "upload", broken)
        with pytest.raises(SaveError, match=f"{memory} was not brought up to date"):
            train(memory, 2)
    forgotten()
    assert ws.verify(f"{memory}/model-5").sound
    resumed = train(memory, 3)
    assert np.array_equal(resumed, train(f"{memory}2", 3))
    left = {name for name in names(memory) if name.endswith((".index", "checkpoint"))}
    assert left == {"checkpoint", "model-10.index", "model-15.index"}


def test_the_folder_of_a_run_is_a_local_one() -> None:
    with pytest.raises(ValueError, match=r"ws\.ModelSaver\(checkpoint_dir='s3://bucket/run'\)"):
        logger.set_logger_dir("s3://bucket/run")


def test_it_says_by_the_url_what_it_goes_on_from(
    memory: str, capsys: pytest.CaptureFixture[str], forgotten: Callable[[], None]
) -> None:
    train(memory, 1)
    forgotten()
    train(memory, 2)
    assert f"going on from {memory}/model-5 at step 5" in capsys.readouterr().err


def test_another_kind_of_source_starts_from_a_url(memory: str) -> None:
    ws.save_vars({"w": np.arange(3.0)}, f"{memory}/w.npz")
    session = ToyModel().session
    ws.SmartInit(f"{memory}/w.npz").init(session)
    assert session.arrays["w"].tolist() == [0, 1, 2]
    ws.SaverRestore(f"{memory}/w.npz").init(session)
    assert fsspec.filesystem("memory").exists("/run/w.npz")
