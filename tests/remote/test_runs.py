"""Runs whose checkpoints are at a URL: saved, kept, found again after a kill, gone on from."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

import warmstart as ws
from warmstart.binary import mirror
from warmstart.errors import CheckpointError, SaveError
from warmstart.formats import expanded
from warmstart.processes import ALONE
from warmstart.testing.toy import ROLES, ToyModel
from warmstart.train import logger
from warmstart.train.saving import refuse_several_at_a_url

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


def train_with_two_savers(base: str, max_epoch: int) -> None:
    """Train with a saver of the best and one that saves beside the training, both into *base*."""
    falling = ws.Callback(after_epoch=lambda trainer: trainer.put("falling", -trainer.epoch))
    beside = ws.ModelSaver(every_steps=1, checkpoint_dir=base, max_to_keep=1, asynchronous=True)
    best = ws.MinSaver("falling", checkpoint_dir=base)
    ws.launch_train(
        ws.AutoResumeTrainConfig(
            model=ToyModel(),
            data=ws.Batches((INPUTS, TARGETS), 4),
            max_epoch=max_epoch,
            callbacks=[falling, best, beside],
        )
    )


def test_the_best_goes_up_by_itself(memory: str, forgotten: Callable[[], None]) -> None:
    config = ws.TrainConfig(
        model=ToyModel(),
        data=ws.Batches((INPUTS, TARGETS), 4),
        max_epoch=1,
        callbacks=[ws.MinSaver("loss", checkpoint_dir=memory)],
    )
    ws.launch_train(config)
    forgotten()
    assert ws.verify(f"{memory}/min-loss").sound


def test_no_saver_sends_up_half_of_anothers_save(
    memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands there whenever a file has gone up or gone away is whole."""
    upload, remove, torn = mirror.upload, mirror.remove, []

    def look() -> None:
        store = fsspec.filesystem("memory")
        shutil.rmtree(tmp_path / "there", ignore_errors=True)
        (tmp_path / "there").mkdir()
        for name in names(memory):
            if name.startswith("min-"):
                (tmp_path / "there" / name).write_bytes(store.cat_file(f"/run/{name}"))
        if (tmp_path / "there" / "min-falling.index").exists():
            try:
                torn.extend(ws.verify(tmp_path / "there" / "min-falling").faults)
            except CheckpointError as error:
                torn.append(str(error))

    def slowly(file: Path, *args: Any) -> None:
        upload(file, *args)
        time.sleep(0.002)
        look()

    def gone(*args: Any) -> None:
        remove(*args)
        look()

    monkeypatch.setattr(mirror, "upload", slowly)
    monkeypatch.setattr(mirror, "remove", gone)
    train_with_two_savers(memory, 6)
    assert torn == []


def test_statistics_begin_anew_on_another_machine(
    memory: str, tmp_path: Path, forgotten: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    train(memory, 2)
    forgotten()
    logger.set_logger_dir(tmp_path / "another")
    assert ws.diagnose(memory).exact
    train(memory, 3)
    assert "stats.jsonl begins anew: the run's statistics so far are not on this" in caplog.text
    lines = (tmp_path / "another" / "stats.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [3]


def test_a_folder_at_a_url_is_verified_and_put_in_order(
    memory: str, forgotten: Callable[[], None]
) -> None:
    train(memory, 2)
    found = ws.verify_deep(memory)
    assert (found.sound, found.path, found.resumes) == (True, memory, f"{memory}/model-10")
    forgotten()
    store = fsspec.filesystem("memory")
    store.rm_file("/run/checkpoint")
    store.pipe_file("/run/model-99.data-00000-of-00001", b"half")
    mended = ws.repair(memory)
    assert str(mended).endswith(f"{memory}: it is in order; a run goes on from {memory}/model-10")
    left = {name.split(".data-")[0] for name in names(memory)}
    assert left == {"checkpoint", "model-5", "model-5.index", "model-10", "model-10.index"}


def test_several_processes_do_not_save_together_to_a_url(memory: str) -> None:
    with pytest.raises(ValueError, match=f"{memory}: several processes save together into a fold"):
        refuse_several_at_a_url(expanded(memory), replace(ALONE, count=2))
