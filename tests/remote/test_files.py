"""Checkpoints at URLs: read in ranges, written whole, found, refused by the URL."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

import warmstart as ws
from warmstart.binary import mirror, remote
from warmstart.cli import run
from warmstart.errors import (
    CheckpointError,
    CheckpointNotFound,
    CorruptCheckpoint,
    MissingDependency,
    SaveError,
)

from .conftest import names

TRAINER = Path(__file__).parents[1] / "golden/trainers/transformers/checkpoint-2"
VALUES = {"w": np.arange(300_000.0).reshape(300, 1000), "b": np.ones(3, np.float32)}
NAMES = ("model-5", "m.safetensors", "m.npz", "m.pt", "m.dcp", "m.orbax")


def same(found: dict[str, Any]) -> bool:
    return found.keys() == VALUES.keys() and all(
        np.array_equal(found[name], VALUES[name]) for name in VALUES
    )


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_at_a_url_is_read_there(
    name: str, base: str, forgotten: Callable[[], None]
) -> None:
    ws.save_vars(VALUES, f"{base}/{name}")
    forgotten()
    assert same(ws.load_vars(f"{base}/{name}"))
    assert ws.verify(f"{base}/{name}").sound


def test_the_store_has_the_very_bytes_of_a_local_save(base: str, tmp_path: Path) -> None:
    ws.save_vars(VALUES, tmp_path / "m")
    ws.save_vars(VALUES, f"{base}/m")
    files, path = fsspec.core.url_to_fs(base)
    for file in tmp_path.iterdir():
        assert files.cat_file(f"{path}/{file.name}") == file.read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_one_small_tensor_does_not_cost_the_large_one(
    name: str, s3: str, forgotten: Callable[[], None], fetched_bytes: list[int]
) -> None:
    ws.save_vars(VALUES, f"{s3}/{name}")
    forgotten()
    with ws.open(f"{s3}/{name}") as source:
        assert np.array_equal(source.read("b"), VALUES["b"])
    assert sum(fetched_bytes) < 8 * remote.BLOCK < VALUES["w"].nbytes // 4


def test_a_slice_costs_its_own_bytes(
    s3: str, forgotten: Callable[[], None], fetched_bytes: list[int]
) -> None:
    large = np.arange(1_000_000.0).reshape(1000, 1000)
    ws.save_vars({"w": large}, f"{s3}/m")
    forgotten()
    with ws.open(f"{s3}/m") as source:
        fetched_bytes.clear()
        assert np.array_equal(source.read_slice("w", np.s_[10:12]), large[10:12])
    assert sum(fetched_bytes) <= 6 * remote.BLOCK < large.nbytes // 20


def test_another_content_is_read_the_next_time(base: str) -> None:
    ws.save_vars(VALUES, f"{base}/m.npz")
    first = ws.open(f"{base}/m.npz")
    files, path = fsspec.core.url_to_fs(base)
    ws.save_vars({"w": VALUES["w"] + 1}, f"{base}/other.npz")
    files.cp_file(f"{path}/other.npz", f"{path}/m.npz")
    assert ws.load_vars(f"{base}/m.npz")["w"][0, 0] == 1
    assert np.array_equal(first.read("b"), VALUES["b"])


def test_a_bundle_written_again_leaves_nothing_of_the_first(base: str) -> None:
    ws.save_vars(VALUES, f"{base}/m")
    ws.save_vars({"b": VALUES["b"]}, f"{base}/m")
    assert names(base) == ["m.data-00000-of-00002", "m.index"]
    assert list(ws.load_vars(f"{base}/m")) == ["b"]


def test_a_folder_stands_for_its_latest(base: str, tmp_path: Path) -> None:
    ws.save_vars(VALUES, f"{base}/model-5")
    ws.save_vars({"b": VALUES["b"]}, f"{base}/model-10")
    assert list(ws.load_vars(base)) == ["b"]
    assert ws.convert(base, tmp_path / "out.npz").tensors == 1


def test_file_urls_are_local_paths(tmp_path: Path) -> None:
    ws.save_vars(VALUES, f"file://{tmp_path}/m.npz")
    assert same(ws.load_vars(tmp_path / "m.npz"))


@pytest.mark.parametrize("name", ["nope", "nope/x.pt"])
def test_nothing_there_is_said_by_its_url(base: str, name: str) -> None:
    with pytest.raises(CheckpointNotFound, match=f"nothing is at {base}/{name}"):
        ws.open(f"{base}/{name}")


def test_a_broken_file_is_said_by_its_url(base: str) -> None:
    files, path = fsspec.core.url_to_fs(base)
    files.pipe_file(f"{path}/bad.pt", b"PK\3\4hello")
    with pytest.raises(CorruptCheckpoint) as raised:
        ws.open(f"{base}/bad.pt")
    assert raised.value.__notes__ == [f"while reading {base}/bad.pt"]


@pytest.mark.parametrize("command", ["ls", "doctor"])
def test_commands_say_what_is_broken_by_its_url_alone(
    command: str, memory: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fsspec.filesystem("memory").pipe_file("/run/bad.pt", b"PK\3\4hello")
    assert run([command, f"{memory}/bad.pt"]) == 2
    assert capsys.readouterr().err.splitlines()[1:] == [f"while reading {memory}/bad.pt"]


def test_a_folder_of_another_program_is_looked_through_at_a_url(base: str) -> None:
    files, path = fsspec.core.url_to_fs(base)
    files.put(f"{TRAINER}/", f"{path}/checkpoint-2/", recursive=True)
    found, here = ws.diagnose(f"{base}/checkpoint-2"), ws.diagnose(TRAINER)
    assert found.path == f"{base}/checkpoint-2"
    assert found.pieces == here.pieces


@pytest.mark.usefixtures("s3")
def test_a_url_without_a_bucket_is_no_traceback() -> None:
    with pytest.raises(CheckpointError, match=r"s3://: looking there failed: .*of S3"):
        ws.open("s3://")


def test_who_has_no_keys_is_told_at_once(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoCredentialsError(Exception):
        pass

    asked: list[str] = []

    def isdir(path: str) -> bool:
        asked.append(path)
        raise NoCredentialsError("no keys")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "isdir", staticmethod(isdir))
    with pytest.raises(CheckpointError, match="for want of keys: NoCredentialsError: no keys"):
        ws.open(f"{memory}/m.npz")
    assert len(asked) == 1


def test_a_store_nobody_knows() -> None:
    with pytest.raises(CheckpointError, match="nosuch://x: Protocol not known: nosuch"):
        ws.open("nosuch://x")


def test_a_client_that_is_not_installed_is_named() -> None:
    with pytest.raises(
        MissingDependency, match=r"gs://x: .* needs fsspec and gcsfs .*\[remote\]' gcsfs"
    ):
        ws.open("gs://x")


class Flaky:
    """The file system of memory, whose *method* fails so many times first."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, method: str, times: int) -> None:
        monkeypatch.setattr(remote, "DELAYS", (0, 0))
        files = fsspec.filesystem("memory")
        real = getattr(files, method)
        self.left = times

        def call(*args: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left >= 0:
                raise ConnectionError("the connection was reset")
            return real(*args, **options)

        monkeypatch.setattr(type(files), method, staticmethod(call))


@pytest.mark.parametrize("method", ["cat_file", "put_file", "isdir", "ls", "info"])
def test_a_network_that_fails_twice_is_asked_again(
    method: str, memory: str, forgotten: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ws.save_vars(VALUES, f"{memory}/first.npz")
    forgotten()
    flaky = Flaky(monkeypatch, method, 2)
    ws.save_vars(VALUES, f"{memory}/m.npz")
    forgotten()
    assert same(ws.load_vars(f"{memory}/m.npz"))
    assert flaky.left < 0


def test_a_network_that_goes_on_failing_is_told(
    memory: str, forgotten: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ws.save_vars(VALUES, f"{memory}/m.npz")
    forgotten()
    Flaky(monkeypatch, "cat_file", 100)
    with pytest.raises(CheckpointError, match="failed 3 times, at last with ConnectionError"):
        ws.open(f"{memory}/m.npz")


def test_a_save_that_fails_leaves_the_first_one(
    memory: str, forgotten: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ws.save_vars(VALUES, f"{memory}/m")
    with monkeypatch.context() as patched:
        Flaky(patched, "put_file", 100)
        with pytest.raises(SaveError, match=f"{memory} was not brought up to date: .*reset"):
            ws.save_vars({"b": VALUES["b"]}, f"{memory}/m")
    forgotten()
    assert same(ws.load_vars(f"{memory}/m"))


def test_an_upload_that_arrives_short_is_an_error(
    memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = fsspec.filesystem("memory")

    def half(local: str, path: str) -> None:
        data = Path(local).read_bytes()
        files.pipe_file(path, data[: len(data) // 2])

    monkeypatch.setattr(type(files), "put_file", staticmethod(half))
    with pytest.raises(SaveError, match=r"m\.npz has \d+ bytes there; \d+ were written"):
        ws.save_vars(VALUES, f"{memory}/m.npz")


def test_a_file_that_shrinks_while_it_is_read_is_an_error(
    memory: str, forgotten: Callable[[], None]
) -> None:
    ws.save_vars(VALUES, f"{memory}/m.npz")
    forgotten()
    with ws.open(f"{memory}/m.npz") as source:
        fsspec.filesystem("memory").pipe_file("/run/m.npz", b"short")
        with pytest.raises(CorruptCheckpoint, match="it was changed while it was read"):
            source.read("w")


def test_one_piece_of_work_looks_at_a_url_once(
    memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws.save_vars(VALUES, f"{memory}/m")
    look, looks = mirror.look, []

    def noted(url: str) -> Path:
        looks.append(url)
        return look(url)

    monkeypatch.setattr(mirror, "look", noted)
    ws.convert(f"{memory}/m", f"{memory}/m.npz")
    assert sorted(looks) == [f"{memory}/m", f"{memory}/m.npz"]
    looks.clear()
    assert ws.diff(f"{memory}/m", f"{memory}/m.npz").same
    assert sorted(looks) == [f"{memory}/m", f"{memory}/m.npz"]


def test_threads_save_beside_each_other(memory: str, forgotten: Callable[[], None]) -> None:
    def save(number: int) -> None:
        ws.save_vars({"n": np.array(number)}, f"{memory}/m{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(save, range(40)))
    forgotten()
    assert [int(ws.load_vars(f"{memory}/m{n}")["n"]) for n in range(40)] == list(range(40))


def test_what_commits_goes_up_last(memory: str) -> None:
    folder = mirror.look(memory)
    files = [folder / name for name in ("checkpoint", "m.index", "m.data-00000-of-00001")]
    assert [file.name for file in mirror.in_turn(files)] == [file.name for file in reversed(files)]
